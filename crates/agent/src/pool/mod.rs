//! The worker pool of an agent: what waits locally, who works on it, how much more is wanted.

mod attend;
mod batches;
mod cell;
mod credit;
mod executor;
mod figures;
mod grow;
mod handlers;
mod holding;
mod lanes;
mod lending;
mod pace;
mod queue;
mod rest;
mod restart;
mod running;
mod sample;
mod scale;
mod worker;

pub(crate) use executor::Executor;
pub use executor::WorkerFuture;
pub(crate) use handlers::Handlers;
pub(crate) use queue::{Pool, PoolOptions};
pub(crate) use running::{Loan, Running};
