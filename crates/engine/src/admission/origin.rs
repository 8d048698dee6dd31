//! Where an envelope comes from that asks for admission: a session, a schedule, a dead letter.

use crate::record::{AcceptedRecord, Record};
use crate::table::{SessionKey, TenantKey};
use trunkline_types::{InboxAddress, MessageId, ScheduleName, SessionId, WallTime};

/// The session of what no session sent.
pub(crate) const NO_SESSION: SessionId = SessionId(0);

/// Where an envelope comes from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) tenant: TenantKey,
    /// The session to which a reply goes; [`NO_SESSION`] for a schedule.
    pub(crate) session: SessionId,
    /// The number of its operation.
    pub(crate) operation: u64,
    /// When it came. Its time to live counts from here, also while it waits outside a full inbox.
    pub(crate) at: WallTime,
    /// The session's row, if what it sends may wait outside a full inbox.
    pub(crate) sender: Option<SessionKey>,
    /// Whether it has waited outside and its turn has come.
    pub(crate) in_turn: bool,
    pub(crate) cause: Cause,
}

/// Why there is an envelope. Cause and acceptance are one record, so that no crash parts them.
#[derive(Debug)]
pub(crate) enum Cause {
    /// A session published it.
    Sender,
    /// A schedule was due.
    Schedule { name: ScheduleName, due: WallTime, next: Option<WallTime> },
    /// A dead letter is sent again.
    Letter { letter: MessageId, inbox: InboxAddress },
}

impl Origin {
    pub(crate) fn is_schedule(&self) -> bool {
        matches!(self.cause, Cause::Schedule { .. })
    }

    /// What is written of the acceptance.
    pub(crate) fn record(&self, accepted: AcceptedRecord) -> Record {
        let accepted = Box::new(accepted);
        match &self.cause {
            Cause::Sender => Record::Accepted(accepted),
            Cause::Schedule { name, due, next } => {
                Record::Fired { name: name.clone(), due: *due, next: *next, accepted }
            }
            Cause::Letter { letter, inbox } => {
                Record::Redriven { letter: *letter, inbox: inbox.clone(), accepted }
            }
        }
    }
}
