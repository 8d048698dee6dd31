//! Agents in a process of their own, to be killed: SIGKILL ends it with work in its hands, and what it
//! had done by then has to be known all the same.
//!
//! So it says on its standard output what it does, a line for each thing and before the broker can
//! know of it: what a process has written into a pipe outlives it. `process` is the side that starts,
//! kills and listens, `work` the side that is killed, `told` what is said between them.

mod process;
mod told;
mod work;

pub(crate) use process::Crew;
pub(crate) use told::Told;
pub use work::CrewArgs;
pub(crate) use work::work;
