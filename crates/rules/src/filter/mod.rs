//! Filters: conditions on an event in CEL.
//!
//! A filter is checked when somebody subscribes (`check`), and then evaluated on every event of
//! its topics (`program`), which must not take long whatever the filter and the event:
//!
//! - A filter has at most 4 KiB, [`check::NODES`] parts and [`check::DEEPEST`] levels.
//! - Its only loops are `all`, `exists` and `exists_one`; they do not stand within each other, and
//!   what they do to each element must not look at the whole payload again.
//! - Patterns of `matches` are fixed, bounded in size when compiled, outside loops, and read at
//!   most 16 KiB of text.
//! - The work that a filter may have with an event is known before it begins, from the number of
//!   values in the payload and of parts in the filter that may go through them. Beyond
//!   [`program::MOST_WORK`] the event is not wanted.
//! - All filters together may have [`program::EVENT_WORK`] with an event before it gets to the
//!   engine. Those with the least work are evaluated first; those for which nothing is left do not
//!   want it, which is told to whoever asked.
//!
//! What the filter sees of an event is in `event`.

mod cache;
mod check;
mod event;
mod program;

pub(crate) use cache::Programs;
pub(crate) use event::{Event, Read};
pub(crate) use program::EVENT_WORK;
