//! Inboxes and what lies in them.

mod delay;
mod droppable;
mod entry;
mod inbox;
mod keys;
mod list;
mod messages;
mod missed;
mod place;
mod returned;

pub(crate) use droppable::{Droppable, is_event_like};
pub(crate) use entry::{AT_ONCE, Entry, Lease, Moment, Place, Standing};
pub(crate) use inbox::{ALL_LANES, Inbox, LANES, Owner, lane_of};
pub(crate) use list::List;
pub(crate) use messages::{EndedCopy, Messages};
