//! The laws, one small file each. Every one looks at the model and at one thing that was seen,
//! and says how the two disagree.

mod able;
pub(crate) mod answers;
pub(crate) mod bounds;
pub(crate) mod breakers;
pub(crate) mod choice;
pub(crate) mod deliveries;
pub(crate) mod directory;
pub(crate) mod draining;
pub(crate) mod drops;
mod durable;
pub(crate) mod ending;
pub(crate) mod events;
mod facts;
mod family;
pub(crate) mod fence;
pub(crate) mod gathers;
pub(crate) mod groups;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod letters;
pub(crate) mod nested;
pub(crate) mod numbers;
pub(crate) mod order;
pub(crate) mod outside;
pub(crate) mod overdue;
mod overrun;
pub(crate) mod pending;
pub(crate) mod pressure;
pub(crate) mod reads;
pub(crate) mod replies;
pub(crate) mod returns;
pub(crate) mod routing;
pub(crate) mod schedules;
pub(crate) mod shares;
pub(crate) mod silence;
pub(crate) mod tasks;
pub(crate) mod waiting;

pub(crate) use durable::survived;
pub(crate) use facts::fact;
