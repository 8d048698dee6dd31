//! The index of idempotency keys on disk: a table in SQLite beside the log, from which keys are
//! found once they have left the engine's memory.
//!
//! It holds nothing that the log does not hold: what is missing, behind or damaged is made again
//! from the log. So nobody waits for it, its commits need not reach the disk at once, and a commit
//! says in itself how far it goes. [`store`] is the file, [`feed`] the thread that fills it,
//! [`reader`] what the engine asks, [`rows`] what is taken from a record, [`inspect`] looks at it
//! while no broker runs. Why SQLite is in
//! `docs/adr/0001-key-index.md`.

mod feed;
pub(crate) mod inspect;
mod opened;
mod reader;
mod rows;
mod store;

pub(crate) use feed::IndexThread;
pub(crate) use opened::Index;
pub(crate) use rows::row_of;
