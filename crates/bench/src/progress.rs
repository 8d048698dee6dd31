//! Tells on standard error how far a benchmark is.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often it tells.
const EVERY: Duration = Duration::from_secs(1);

/// One line on standard error.
pub(crate) fn tell(text: &str) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tells every second while it lives.
#[derive(Debug)]
pub(crate) struct Progress(JoinHandle<()>);

impl Progress {
    /// Begins; `count` gives the figure to tell.
    pub(crate) fn start(
        what: &'static str,
        unit: &'static str,
        count: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let count = Arc::new(count);
        Self(tokio::spawn(async move {
            let begun = Instant::now();
            let before = count();
            let mut ticks = tokio::time::interval(EVERY);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let done = count() - before;
                tell(&format!("  {what}: {} s, {done} {unit}", begun.elapsed().as_secs()));
            }
        }))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.abort();
    }
}
