//! The worker pool of an agent: what waits locally, who works on it, how much more is wanted.

mod cell;
mod credit;
mod handlers;
mod holding;
mod lending;
mod pace;
mod queue;
mod running;
mod worker;

pub(crate) use handlers::Handlers;
pub(crate) use queue::{Pool, PoolOptions};
pub(crate) use running::{Loan, Running};
