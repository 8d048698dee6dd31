//! The index on disk: tables in SQLite beside the log, in which idempotency keys, ended tasks and
//! dead letters are found once they have left the engine's memory.
//!
//! It holds nothing that the log did not hold, but it may be all that is left of that: the log gives
//! records up once the index is on disk. So nothing here ever deletes an index: one that is damaged
//! or another log's is put aside, one that cannot be opened now is refused. What is missing or behind
//! is made again from the log, as far back as that reaches, so nobody waits for it, its commits need
//! not reach the disk at once, and a commit says in itself how far it goes. [`store`] is the file,
//! [`thread`] fills it from the [`feed`], [`reader`] what the engine asks, [`filter`] what spares it a question, [`keys`], [`tasks`]
//! and [`letters`] its tables, [`table`] what the last two have in common, [`kinds`] what all have, [`lists`] and [`changes`] what is listed from
//! them over a [`pool`] of connections, [`rows`] what is taken in, [`room`] what is done on a full disk, [`seal`] how rows are known to
//! be whole, [`scrub`] looks at all of them and [`heal`] takes out what is not; while no broker runs
//! [`inspect`] handles the file and [`examine`] checks it. The file has the name that it had when it held keys alone, so that older directories
//! open. Why SQLite is in `docs/adr/0001-key-index.md`, why the tables are as they are in
//! `docs/adr/0002-history.md`.

mod changes;
pub(crate) mod examine;
mod feed;
mod filter;
pub(crate) mod fuzzing;
mod heal;
pub(crate) mod inspect;
mod keys;
mod kinds;
mod letters;
mod lists;
mod opened;
mod pool;
mod reader;
mod room;
mod rows;
mod scrub;
mod seal;
mod store;
mod table;
mod tasks;
mod thread;

pub(crate) use feed::{Feed, Keep, Retention};
pub(crate) use lists::Lists;
pub(crate) use opened::{Fit, Index};
pub(crate) use rows::{Entry, row_of};
pub(crate) use seal::BadRow;
pub(crate) use thread::IndexThread;
