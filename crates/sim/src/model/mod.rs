//! The reference model: what the records and the clients' view say, kept apart from the engine.
//! It knows the vocabulary of `trunkline_types` and nothing else of the product.

mod book;
mod entry;
mod fact;
mod observe;
mod operations;
mod reference;
mod restart;
mod rules;
mod session;
mod tell;
pub(crate) mod wants;

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use book::{Book, Letter, Recurring, pending};
pub(crate) use entry::{Entry, Place};
pub(crate) use fact::{AcceptedFact, Ending, Fact, ReturnedFact};
pub(crate) use reference::{Admitted, Cause, Fleeting, Gathering, Grant, Model};
pub(crate) use rules::{Moment, Rules, nanos};
pub(crate) use session::{Asked, Directory, Fence, Session};
