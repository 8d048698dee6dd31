//! The inside of a session: numbered operations, who waits for what, and the sink that the
//! broker calls.

mod book;
mod connection;
mod hub;
mod sink;
mod wanting;
mod watchers;

pub(crate) use book::{Entry, ReplySignal, Waiter};
pub(crate) use connection::{Core, now};
pub(crate) use hub::{Feed, FeedItem};
pub(crate) use watchers::Watcher;
