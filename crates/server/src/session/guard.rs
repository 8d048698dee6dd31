//! What clients may not do to the broker's own agents.
//!
//! Their work says where others are called and with what, so that it is the server's alone to give
//! them, to answer and to call off. What it makes itself does not come through here.

use futures_util::future::join_all;
use std::sync::Arc;
use trunkline_a2a::{PROXIER, is_own};
use trunkline_types::session::{ClientFrame, Connector, Operation, Redrive};
use trunkline_types::{
    AgentId, Answer, DeadLetterFilter, Destination, Envelope, InboxAddress, Kind, MessageId,
    Partition, Payload, Publish, Query, Refusal, RefusalCode,
};

/// The numbers of operations that are refused, and why.
pub(super) type Refused = Vec<(u64, Refusal)>;

/// Whether a message may be sent.
pub(crate) fn check_publish(publish: &Publish) -> Result<(), Refusal> {
    check_agent(own(&publish.envelope.destination), "sends it nothing")
}

/// Whether a client may have an operation done, as far as that says itself whom it is about.
fn check(operation: &Operation) -> Result<(), Refusal> {
    match operation {
        Operation::Publish(publish) => check_publish(publish),
        Operation::SetSchedule(schedule) => check_publish(&schedule.publish),
        Operation::Redrive(redrive) => {
            let to = redrive.destination.as_ref().and_then(own);
            check_agent(to, "redrives nothing to it")
        }
        Operation::SetAgent { agent, .. } => {
            check_agent(Some(agent).filter(|agent| is_ours(agent)), "sets nothing about it")
        }
        Operation::Unregister { agent } => {
            check_agent(Some(agent).filter(|agent| is_ours(agent)), "does not unregister it")
        }
        Operation::SetInbox { inbox: InboxAddress::Agent(agent), .. } => {
            check_agent(Some(agent).filter(|agent| is_ours(agent)), "sets nothing about its inbox")
        }
        _ => Ok(()),
    }
}

/// Whether a message has to be looked at to tell whom an operation is about.
fn is_asked_about(operation: &Operation) -> bool {
    match operation {
        Operation::Cancel { .. } | Operation::Continue { .. } => true,
        Operation::Redrive(redrive) => is_changed(redrive),
        _ => false,
    }
}

/// Whether a client may have an operation done.
///
/// # Errors
/// A [`Refusal`]: it is about one of the broker's own agents, or that cannot be told now.
pub(crate) async fn check_operation(
    connector: &dyn Connector,
    operation: &Operation,
) -> Result<(), Refusal> {
    check(operation)?;
    let (id, what) = match operation {
        Operation::Cancel { id, .. } => (*id, "does not call its work off"),
        Operation::Continue { task, .. } => (*task, "does not answer it"),
        Operation::Redrive(redrive) => return check_change(connector, redrive).await,
        _ => return Ok(()),
    };
    match connector.query(Query::Message(id)).await {
        Ok(Answer::Message(status)) => check_agent(status.destination.as_ref().and_then(own), what),
        Ok(_) => Ok(()),
        Err(refusal) => unless_unknown(refusal),
    }
}

/// Whether a dead letter may be redriven as something else: what is an agent elsewhere is only
/// said by adding it, and what a webhook is called with is told to nobody else. Another payload for
/// a webhook is an operator's to give: its URL is looked at before it is called.
async fn check_change(connector: &dyn Connector, redrive: &Redrive) -> Result<(), Refusal> {
    if !is_changed(redrive) {
        return Ok(());
    }
    let id = Some(redrive.letter.id);
    let filter = DeadLetterFilter { id, ..DeadLetterFilter::default() };
    let page = match connector.query(Query::DeadLetters(filter)).await {
        Ok(Answer::DeadLetters(page)) => page,
        Ok(_) => return Ok(()),
        Err(refusal) => return unless_unknown(refusal),
    };
    let elsewhere = redrive.destination.is_some();
    let mut agents =
        page.letters.iter().filter_map(|letter| own(&letter.publish.envelope.destination));
    let kept = agents.find(|agent| elsewhere || agent.as_str() == PROXIER);
    check_agent(kept, "redrives its letters only as they are")
}

fn is_changed(redrive: &Redrive) -> bool {
    redrive.payload.is_some() || redrive.destination.is_some()
}

/// What is not there is nobody's; what cannot be looked at now is not let through.
fn unless_unknown(refusal: Refusal) -> Result<(), Refusal> {
    if refusal.code == RefusalCode::Unavailable { Err(refusal) } else { Ok(()) }
}

/// The broker's own agent that something goes to.
fn own(to: &Destination) -> Option<&AgentId> {
    match to {
        Destination::Agent(agent) => Some(agent).filter(|agent| is_ours(agent)),
        Destination::Agents(agents) => agents.iter().find(|agent| is_ours(agent)),
        // They offer no skill and have no subscription; what goes to all they let be.
        Destination::Skill(_) | Destination::Topic(_) | Destination::All => None,
    }
}

fn is_ours(agent: &AgentId) -> bool {
    is_own(agent.as_str())
}

fn check_agent(own: Option<&AgentId>, what: &str) -> Result<(), Refusal> {
    let Some(agent) = own else { return Ok(()) };
    let message = format!("the agent {agent} is the broker's own; a client {what}");
    Err(Refusal::new(RefusalCode::Forbidden, message))
}

/// Replaces operations that are refused. Whether there are others that have to be asked about.
pub(super) fn replace(first: u64, operations: &mut [Operation]) -> (Refused, bool) {
    let (mut refused, mut asks) = (Refused::new(), false);
    for (number, operation) in (first..).zip(operations) {
        if let Err(refusal) = check(operation) {
            refused.push((number, refusal));
            *operation = stand_in();
        }
        asks |= is_asked_about(operation);
    }
    (refused, asks)
}

/// Replaces operations that are refused once their messages have been looked at.
pub(super) async fn ask(
    connector: Arc<dyn Connector>,
    mut frame: ClientFrame,
) -> (ClientFrame, Refused) {
    let mut refused = Refused::new();
    if let ClientFrame::Operations { first, operations } = &mut frame {
        let checks = operations.iter().map(|it| check_operation(connector.as_ref(), it));
        let checks = join_all(checks).await;
        for (number, (operation, checked)) in (*first..).zip(operations.iter_mut().zip(checks)) {
            // What was replaced before is still refused as what it was.
            if let Err(refusal) = checked {
                refused.push((number, refusal));
                *operation = stand_in();
            }
        }
    }
    (frame, refused)
}

/// What takes the place of an operation that is refused, because their numbers have no gaps: the
/// broker refuses it as well, since no client is the agent that is named as its source.
fn stand_in() -> Operation {
    let id = MessageId::from_parts(0, Partition(0), 0);
    let mut envelope = Envelope::new(id, Kind::Event, Destination::All, Payload::text(""));
    envelope.source = AgentId::new(PROXIER).ok();
    Operation::Publish(Arc::new(Publish::new(envelope)))
}
