//! From records to facts: the only place where the model's words meet the engine's.

use crate::model::{AcceptedFact, Ending, Fact, ReturnedFact};
use trunkline_engine::{AcceptedRecord, Carried, End, Record};
use trunkline_types::AttemptNote;

/// Says in the model's words what a record says.
pub(crate) fn fact(record: &Record) -> Fact {
    match record {
        Record::Boot { epoch, .. } => Fact::Boot { epoch: *epoch },
        Record::Agent(record) => Fact::Agent(Box::new(record.card.clone())),
        Record::Subscribed { agent, subscription, .. } => {
            Fact::Subscribed { agent: agent.clone(), subscription: subscription.clone() }
        }
        Record::Unsubscribed { agent, subscription, .. } => {
            Fact::Unsubscribed { agent: agent.clone(), subscription: subscription.clone() }
        }
        Record::Accepted(record) => Fact::Accepted(Box::new(accepted(record))),
        Record::Leased { entry, token, session, .. } => {
            Fact::Leased { entry: entry.0, token: *token, session: *session }
        }
        Record::Begun { entry } => Fact::Begun { entry: entry.0 },
        Record::Ran { entry, ran } => Fact::Ran { entry: entry.0, ran: *ran },
        Record::Returned(record) => Fact::Returned(ReturnedFact {
            entry: record.entry.0,
            attempts: record.attempts,
            losses: record.losses,
            due: record.due,
            at: record.at,
            token_stays: record.token_stays,
            called_off: record.called_off,
            said: bytes_of(record.note.as_ref()),
        }),
        Record::Paused { entry, .. } => Fact::Paused { entry: entry.0 },
        Record::Continued { entry, session, operation, .. } => {
            Fact::Continued { entry: entry.0, session: *session, operation: *operation }
        }
        Record::Settled { entry, end, .. } => {
            Fact::Ended { entry: entry.0, how: ending(end), said: said(end) }
        }
        Record::Artifact { session, operation, .. } => {
            Fact::Artifact { session: *session, operation: *operation }
        }
        Record::Lost { .. } => Fact::Lost,
        Record::Carried(carried) => Fact::Carried {
            entry: match &**carried {
                Carried::Entry(said) => Some(said.entry.0),
                _ => None,
            },
        },
        Record::AgentSet { agent, control, session, operation, .. } => Fact::AgentSet {
            agent: agent.clone(),
            control: *control,
            session: *session,
            operation: *operation,
        },
        Record::AgentGone { agent, session, operation, .. } => {
            Fact::AgentGone { agent: agent.clone(), session: *session, operation: *operation }
        }
        Record::InboxSet { inbox, settings, session, operation, .. } => Fact::InboxSet {
            inbox: inbox.clone(),
            settings: settings.clone(),
            session: *session,
            operation: *operation,
        },
        Record::Scheduled(record) => Fact::Scheduled {
            schedule: Box::new(record.schedule.clone()),
            next: record.next,
            session: record.session,
            operation: record.operation,
        },
        Record::Unscheduled { name, session, operation, .. } => {
            Fact::Unscheduled { name: name.clone(), session: *session, operation: *operation }
        }
        Record::Fired { name, due, next, accepted: record } => Fact::Fired {
            name: name.clone(),
            due: *due,
            next: *next,
            accepted: Box::new(accepted(record)),
        },
        Record::Redriven { letter, inbox, accepted: record } => Fact::Redriven {
            letter: *letter,
            inbox: inbox.clone(),
            accepted: Box::new(accepted(record)),
        },
        Record::Purged { letter, inbox, session, operation, .. } => Fact::Purged {
            letter: *letter,
            inbox: inbox.clone(),
            session: *session,
            operation: *operation,
        },
        Record::Routed { entry, first_entry, inboxes, .. } => {
            Fact::Routed { entry: entry.0, first_entry: first_entry.0, inboxes: inboxes.clone() }
        }
    }
}

fn accepted(record: &AcceptedRecord) -> AcceptedFact {
    AcceptedFact {
        publish: record.publish.clone(),
        session: record.session,
        operation: record.operation,
        at: record.at,
        first_entry: record.first_entry.0,
        inboxes: record.inboxes.clone(),
        pending: record.pending,
    }
}

fn ending(end: &End) -> Ending {
    match end {
        End::Completed { reply } => Ending::Completed(reply.clone()),
        End::Failed { .. } => Ending::Failed,
        End::Rejected { .. } => Ending::Rejected,
        End::Expired => Ending::Expired,
        End::Canceled { .. } => Ending::Canceled,
        End::DeadLettered { .. } => Ending::DeadLettered,
        End::Dropped => Ending::Dropped,
    }
}

/// How much a dead letter keeps of what the end of its entry says.
fn said(end: &End) -> u64 {
    match end {
        End::DeadLettered { reason, note } => reason.len() as u64 + bytes_of(note.as_ref()),
        _ => 0,
    }
}

fn bytes_of(note: Option<&AttemptNote>) -> u64 {
    note.map_or(0, |note| note.reason.len() as u64)
}
