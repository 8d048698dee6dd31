//! The laws, one small file each. Every one looks at the model and at one thing that was seen,
//! and says how the two disagree.

pub(crate) mod answers;
pub(crate) mod deliveries;
mod durable;
pub(crate) mod ending;
pub(crate) mod events;
mod facts;
pub(crate) mod fence;
pub(crate) mod leases;
pub(crate) mod order;
pub(crate) mod overdue;
pub(crate) mod reads;
pub(crate) mod replies;
pub(crate) mod returns;
pub(crate) mod routing;
pub(crate) mod silence;
pub(crate) mod tasks;

pub(crate) use durable::survived;
pub(crate) use facts::fact;
