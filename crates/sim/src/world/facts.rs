//! From records to facts: the only place where the model's words meet the engine's.

use crate::model::{AcceptedFact, Ending, Fact, ReturnedFact};
use trunkline_engine::{End, Record};

/// Says in the model's words what a record says.
pub(crate) fn fact(record: &Record) -> Fact {
    match record {
        Record::Boot { epoch, .. } => Fact::Boot { epoch: *epoch },
        Record::Agent(record) => {
            Fact::Agent { agent: record.card.id.clone(), skills: record.card.skills.clone() }
        }
        Record::Subscribed { agent, pattern, .. } => {
            Fact::Subscribed { agent: agent.clone(), pattern: pattern.clone() }
        }
        Record::Unsubscribed { agent, pattern, .. } => {
            Fact::Unsubscribed { agent: agent.clone(), pattern: pattern.clone() }
        }
        Record::Accepted(record) => Fact::Accepted(Box::new(AcceptedFact {
            publish: record.publish.clone(),
            session: record.session,
            operation: record.operation,
            at: record.at,
            first_entry: record.first_entry.0,
            inboxes: record.inboxes.clone(),
        })),
        Record::Leased { entry, token, session, .. } => {
            Fact::Leased { entry: entry.0, token: *token, session: *session }
        }
        Record::Begun { entry } => Fact::Begun { entry: entry.0 },
        Record::Returned(record) => Fact::Returned(ReturnedFact {
            entry: record.entry.0,
            attempts: record.attempts,
            losses: record.losses,
            due: record.due,
            token_stays: record.token_stays,
        }),
        Record::Paused { entry, .. } => Fact::Paused { entry: entry.0 },
        Record::Continued { entry, session, operation, .. } => {
            Fact::Continued { entry: entry.0, session: *session, operation: *operation }
        }
        Record::Settled { entry, end, .. } => Fact::Ended { entry: entry.0, how: ending(end) },
        Record::Artifact { session, operation, .. } => {
            Fact::Artifact { session: *session, operation: *operation }
        }
        Record::Lost { .. } => Fact::Lost,
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
    }
}
