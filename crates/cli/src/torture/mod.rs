//! `trunkline torture`: does to a real broker under load all that may happen to one, again and
//! again, and says which promises held under what.
//!
//! Owns what goes wrong (`fault`, `script`, `strike`, `damage`, `proxy`,
//! `link`, `room`), the load, the
//! record of what was promised to it (`ledger`), and the comparison of that record with what the
//! broker says in the end (`verdict`). It refuses to look into the broker: it knows it by its
//! process, its port, its protocol and the documented layout of its segments. Read `run` first,
//! then `round` and `witness`.

mod args;
mod counts;
mod damage;
mod evidence;
mod fault;
mod ledger;
mod link;
mod load;
mod place;
mod plan;
pub(crate) mod process;
mod promise;
mod proxy;
mod pulse;
mod report;
pub(crate) mod room;
mod rot;
mod round;
mod run;
mod script;
mod site;
mod strike;
mod traffic;
mod verdict;
mod witness;

pub(crate) use args::TortureArgs;
pub(crate) use run::run;
