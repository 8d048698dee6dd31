//! The inside of a session: numbered operations, who waits for what, and the sink that the
//! broker calls.

mod book;
mod connection;
mod directory;
mod ending;
mod hub;
mod pressure;
mod sink;
mod waiter;
mod wanting;
mod watchers;

pub use connection::now;
pub(crate) use connection::{Core, CoreOptions};
pub(crate) use hub::{Feed, FeedItem, Missed};
pub(crate) use waiter::{Entry, ReplySignal, Waiter};
pub(crate) use watchers::Watcher;
