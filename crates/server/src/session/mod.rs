//! Sessions as the server keeps them: what waits for a stream, and who waits for an answer.

mod answers;
mod calls;
mod guard;
mod lasting;
mod outbox;
mod pool;
mod stream;
mod streams;
mod weight;
mod welcomes;

pub(crate) use answers::{Ended, More};
pub(crate) use calls::{CallSession, Requested};
pub(crate) use guard::{check_operation, check_publish};
pub(crate) use outbox::{BrokerSide, Outbox};
pub(crate) use pool::{Lent, Pool};
pub(crate) use stream::{Opened, SessionStream, open};
pub(crate) use streams::{Place, Streams};
pub(crate) use welcomes::Welcomes;
