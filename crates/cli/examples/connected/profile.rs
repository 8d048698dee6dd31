//! Every byte that is allocated from some moment on and still there later, with the function that
//! asked for it. A program that has this module allocates so.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Hands everything on to the system's allocator, and remembers who asked.
struct Remembering;

#[global_allocator]
static ALLOCATOR: Remembering = Remembering;

static ON: AtomicBool = AtomicBool::new(false);
static LIVE: LazyLock<Mutex<HashMap<usize, (usize, Backtrace)>>> = LazyLock::new(Mutex::default);

/// Crates that allocate for whoever uses them; the first four are the standard library.
const HELPERS: [&str; 9] =
    ["std", "core", "alloc", "backtrace", "bytes", "hashbrown", "indexmap", "slab", "smallvec"];

thread_local! {
    /// Whether this thread is remembering just now, so that what that takes is not remembered.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Does something with what is remembered, unless this is part of doing so.
fn apart(with: impl FnOnce(&mut HashMap<usize, (usize, Backtrace)>)) {
    // A thread that ends has nothing more to say.
    if BUSY.try_with(|busy| busy.replace(true)).unwrap_or(true) {
        return;
    }
    with(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner));
    let _ = BUSY.try_with(|busy| busy.set(false));
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Remembering {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { System.alloc(layout) };
        if ON.load(Ordering::Relaxed) {
            apart(|live| {
                live.insert(pointer as usize, (layout.size(), Backtrace::force_capture()));
            });
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if ON.load(Ordering::Relaxed) {
            apart(|live| {
                live.remove(&(pointer as usize));
            });
        }
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Remembers from now on.
pub(crate) fn begin() {
    ON.store(true, Ordering::SeqCst);
}

/// Bytes and allocations, by the crate that asked for them and the line of it.
pub(crate) type Found = BTreeMap<(String, String), (usize, usize)>;

/// What is still there of all that was remembered. What the standard library and the like asked for is
/// their caller's.
pub(crate) fn end() -> Found {
    ON.store(false, Ordering::SeqCst);
    let mut sums = Found::new();
    let live = std::mem::take(&mut *LIVE.lock().unwrap_or_else(PoisonError::into_inner));
    for (size, stack) in live.into_values() {
        let sum = sums.entry(asker(&stack.to_string())).or_default();
        sum.0 += size;
        sum.1 += 1;
    }
    sums
}

/// The innermost place of a stack that is no helper's: the crate, and the line of its source.
fn asker(stack: &str) -> (String, String) {
    for line in stack.lines() {
        let Some(place) = line.trim().strip_prefix("at ") else { continue };
        // A crate's sources are below a folder with its name.
        let Some((folder, file)) = place.rsplit_once("/src/") else { continue };
        let krate = folder.rsplit('/').next().unwrap_or(folder);
        let is_helper = HELPERS.iter().any(|helper| krate.starts_with(helper));
        if !is_helper && !place.contains("/examples/") {
            return (krate.to_owned(), file.to_owned());
        }
    }
    ("unknown".into(), stack.to_owned())
}
