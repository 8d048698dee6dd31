//! Which inboxes: tenants, their agents, skills and topics.

mod card;
mod directory;
mod follow;
mod pending;
mod subscribe;
mod subscribers;
mod targets;
mod tenant;
mod topics;

pub(crate) use card::wants;
pub(crate) use directory::Agent;
pub(crate) use targets::Targets;
pub(crate) use tenant::Tenant;
pub(crate) use topics::Subscriber;
