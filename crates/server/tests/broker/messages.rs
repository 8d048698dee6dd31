//! What is sent.

use trunkline_proto::v1;
use trunkline_types::session::{Credit, Hello};
use trunkline_types::{
    Destination, Envelope, Kind, MessageId, Partition, Payload, Publish, SessionId,
};

/// A hello of a client that is no agent.
pub(crate) fn hello(session: u128) -> Hello {
    Hello {
        session: SessionId(session),
        card: None,
        credit: Credit::default(),
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    }
}

/// A request to a skill, as a task or not; its id is left to the server.
pub(crate) fn request(skill: &str, text: &str, task: bool) -> v1::Publish {
    let to = Destination::skill(skill).unwrap();
    let mut publish = Publish::new(Envelope::new(new_id(), Kind::Request, to, Payload::text(text)));
    publish.options.task = task;
    without_id(&publish)
}

/// An event on a topic; its id is left to the server.
pub(crate) fn event(topic: &str, text: &str) -> v1::Publish {
    let to = Destination::topic(topic).unwrap();
    without_id(&Publish::new(Envelope::new(new_id(), Kind::Event, to, Payload::text(text))))
}

fn without_id(publish: &Publish) -> v1::Publish {
    let mut publish = v1::Publish::from(publish);
    publish.envelope.as_mut().unwrap().id.clear();
    publish
}

/// An id that nothing has.
pub(crate) fn new_id() -> MessageId {
    MessageId::from_parts(1, Partition(0), 1)
}

/// An id from the wire.
pub(crate) fn message_id(bytes: &[u8]) -> MessageId {
    MessageId::from_bytes(bytes.try_into().unwrap()).unwrap()
}
