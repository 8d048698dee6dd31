//! Inboxes and what lies in them.

mod entry;
mod inbox;
mod keys;
mod list;
mod place;

pub(crate) use entry::{Entry, Lease, Place};
pub(crate) use inbox::{Inbox, Owner};
pub(crate) use list::{Link, List};
