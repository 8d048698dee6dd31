//! Every byte that is allocated, counted. A program that has this module allocates so.

#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Hands everything on to the system's allocator and counts it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
/// Allocations by their size in steps of 16 bytes; the last are the larger ones.
static SIZES: [AtomicUsize; 128] = [const { AtomicUsize::new(0) }; 128];

fn class(bytes: usize) -> &'static AtomicUsize {
    &SIZES[(bytes.div_ceil(16)).min(127)]
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        class(layout.size()).fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        class(layout.size()).fetch_sub(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What is allocated at some moment.
pub(crate) struct Heap {
    bytes: usize,
    sizes: [usize; 128],
}

impl Heap {
    pub(crate) fn now() -> Self {
        let sizes = std::array::from_fn(|index| SIZES[index].load(Ordering::Relaxed));
        Self { bytes: BYTES.load(Ordering::Relaxed), sizes }
    }

    /// How much more is allocated by now for each of so many things: bytes, and in how many
    /// allocations of which sizes, without those that few of the things have.
    pub(crate) fn grown_for(&self, count: usize) -> String {
        let now = Self::now();
        let more = |index: usize| now.sizes[index].saturating_sub(self.sizes[index]);
        let each = |number: usize| number as f64 / count as f64;
        let bytes = now.bytes.saturating_sub(self.bytes) / count;
        let many = each((0..128).map(more).sum());
        let mut text = format!("{bytes} bytes in {many:.2} allocations\n");
        for (index, many) in (0..128).map(|index| (index, more(index))) {
            if many * 50 > count {
                let each = each(many);
                let _ = writeln!(text, "{each:.2} allocations of up to {} bytes each", index * 16);
            }
        }
        text
    }
}
