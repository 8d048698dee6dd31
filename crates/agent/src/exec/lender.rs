//! Permits of an agent's children, lent while they wait for answers.
//!
//! A child is another process, so it says over a Unix socket that it waits: it connects, names its
//! run, is told that its permit is lent, and has the connection open for as long as it waits. When
//! it closes it, or dies, the permit is taken back, and then the connection is closed from this
//! side. The socket is in a directory that only this user may enter. Whoever connects is believed
//! nothing but the token of a run that is under way, and says no more than that: connections and
//! bytes are bounded.

use crate::Task;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

/// What a child is told when its permit is lent.
pub(super) const LENT: &[u8; 5] = b"lent\n";

/// Most connections of all children of an agent; one more is closed at once.
const MOST_CONNECTIONS: usize = 8192;
/// How long a child may take to name its run.
const PROMPT: Duration = Duration::from_secs(5);
/// How long the lender rests when the system has no more descriptors.
const REST: Duration = Duration::from_millis(100);

/// Names a run. The directory of the socket keeps others out; this tells children apart, and those
/// of a run that is over from those that are under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Token(u128);

impl Token {
    const DIGITS: usize = 32;

    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == Self::DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }

    /// What a child says first.
    pub(super) fn line(self) -> String {
        format!("{self}\n")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Listens for children that wait.
pub(super) struct Lender {
    path: PathBuf,
    runs: Arc<Runs>,
    listening: AbortHandle,
}

/// The runs that are under way.
type Runs = Mutex<HashMap<Token, Run>>;

struct Run {
    task: Task,
    /// Ends with the run.
    over: watch::Receiver<()>,
}

/// A run that may lend, for as long as this lives.
pub(super) struct Registered {
    runs: Arc<Runs>,
    token: Token,
    _over: watch::Sender<()>,
}

impl Lender {
    /// Listens in a directory that only this user may enter.
    ///
    /// # Errors
    /// The socket cannot be made, such as because its path is too long.
    pub(super) fn listen(directory: &Path) -> io::Result<Self> {
        let path = directory.join("lend");
        let listener = UnixListener::bind(&path)?;
        let runs = Arc::new(Runs::default());
        let listening = tokio::spawn(listen(listener, Arc::clone(&runs))).abort_handle();
        Ok(Self { path, runs, listening })
    }

    /// Lets the child of a run lend its permit. Returns what its environment says of it too.
    pub(super) fn register(&self, task: &Task) -> (Registered, String) {
        let (over, is_over) = watch::channel(());
        let token = Token(fastrand::u128(..));
        self.runs.lock().insert(token, Run { task: task.clone(), over: is_over });
        let mut lending = String::new();
        let _ = write!(lending, "{token}:{}", self.path.display());
        (Registered { runs: Arc::clone(&self.runs), token, _over: over }, lending)
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.token);
    }
}

async fn listen(listener: UnixListener, runs: Arc<Runs>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let runs = Arc::clone(&runs);
        tokio::spawn(async move {
            serve(stream, &runs).await;
            drop(place);
        });
    }
}

/// Lends a permit until the child closes its connection or its run is over.
async fn serve(mut stream: UnixStream, runs: &Runs) {
    let token = tokio::time::timeout(PROMPT, named(&mut stream)).await;
    let Ok(Some(token)) = token else { return };
    let run = runs.lock().get(&token).map(|run| (run.task.clone(), run.over.clone()));
    let Some((task, mut over)) = run else { return };
    let loan = task.lend();
    drop(task);
    let lent = async {
        if stream.write_all(LENT).await.is_ok() {
            // Whatever it says, it no longer only waits.
            let _ = stream.read(&mut [0]).await;
        }
        loan.end().await;
    };
    tokio::select! {
        () = lent => {}
        _ = over.changed() => {}
    }
}

/// The run that a child names.
async fn named(stream: &mut UnixStream) -> Option<Token> {
    let mut line = [0; Token::DIGITS + 1];
    stream.read_exact(&mut line).await.ok()?;
    let (digits, end) = line.split_at(Token::DIGITS);
    let token = Token::parse(std::str::from_utf8(digits).ok()?)?;
    (end == b"\n").then_some(token)
}
