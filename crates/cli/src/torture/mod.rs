//! `trunkline torture`: kills a real broker under load, again and again, and says which promises
//! held.
//!
//! Owns the load, the record of what was promised to it (`ledger`), and the comparison of that
//! record with what the broker says in the end (`verdict`). It refuses to look into the broker: it
//! knows it by its process, its port and its protocol. Read `run` first, then `witness`.

mod args;
mod evidence;
mod ledger;
mod load;
mod plan;
pub(crate) mod process;
mod promise;
mod report;
mod round;
mod run;
mod traffic;
mod verdict;
mod witness;

pub(crate) use args::TortureArgs;
pub(crate) use run::run;
