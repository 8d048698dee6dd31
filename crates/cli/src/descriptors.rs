//! Open files: a process that holds thousands of connections takes what the system allows it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files besides connections: segments, the index, the listener, timers.
const OTHERS: u64 = 128;

/// Raises the limit on open files to the most that the system allows this process, because the
/// usual soft limit of 1,024 is one for programs that call `select`. Returns the limit now;
/// `None` if there is none.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }
}

/// Raises the limit, and tells whoever reads the log if it is too low for so many connections.
pub(crate) fn raise_for(connections: usize) {
    if let Some(limit) = raise()
        && limit < connections as u64 + OTHERS
    {
        tracing::info!(limit, connections, "fewer open files are allowed than connections are");
    }
}
