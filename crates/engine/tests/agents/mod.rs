//! Agents as operators and senders see them: what is set about them, how they are found, who gets
//! what, who gets nothing for a while, and how long a handler may run.

mod breakers;
mod control;
mod directory;
mod inboxes;
mod mixed;
#[cfg(feature = "defects")]
mod planted;
mod routing;
mod runs;
mod world;
