//! The broker's own end in order: nothing more is taken or handed out, what is held is finished,
//! and every session is sent away as soon as it has no part in that.

use crate::command::ConnectionKey;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::table::SessionKey;
use std::collections::BTreeSet;
use std::time::Duration;
use trunkline_types::session::{ClientFrame, SessionItem};
use trunkline_types::{Durability, Refusal, RefusalCode, SessionId};

/// When whoever is refused may try again: about the time that a restart takes.
const BACK_AFTER: Duration = Duration::from_secs(1);

impl Engine {
    /// Drains: lets nothing more out, and sends away, each once, the sessions that neither hold a
    /// delivery nor wait for the reply to one that is held. Those that remain are looked at again
    /// by the next call.
    pub(crate) fn drain(&mut self, now: Now, out: &mut Output) {
        let mut connected: Vec<_> =
            self.connections.iter().map(|(&key, &row)| (key, row)).collect();
        connected.sort_unstable_by_key(|&(connection, _)| connection);
        if self.sent_away.is_none() {
            self.sent_away = Some(BTreeSet::new());
            for &(connection, _) in &connected {
                self.frame(now, connection, ClientFrame::Drain, Vec::new(), out);
            }
        }
        let told = self.sent_away.get_or_insert_default();
        connected.retain(|(connection, _)| !told.contains(connection));
        if connected.is_empty() {
            return;
        }
        let involved = self.involved();
        for (connection, session) in connected {
            let row = &self.sessions[session];
            if row.active && !involved.contains(&row.id) {
                self.send_away(now, connection, out);
            }
        }
    }

    /// Behind everything that the session is still to be told of what has been done.
    fn send_away(&mut self, now: Now, connection: ConnectionKey, out: &mut Output) {
        self.sent_away.get_or_insert_default().insert(connection);
        let reason = "the broker is shutting down".to_owned();
        let item = SessionItem::GoAway { reason, reconnect: true };
        self.hold_item(now, Durability::Synced, (connection, item), out);
    }

    /// The sessions that hold a delivery, and those that await the reply to one that is held. A
    /// session that is lost cannot end what it holds before the next broker is there.
    fn involved(&self) -> BTreeSet<SessionId> {
        let mut involved = BTreeSet::new();
        for (_, row) in self.sessions.iter().filter(|(_, row)| row.connection.is_some()) {
            for key in row.leases.iter(&self.entries) {
                let entry = &self.entries[key];
                involved.insert(row.id);
                if entry.body.options().reply {
                    involved.insert(entry.sender);
                }
            }
        }
        involved
    }

    /// Whether new work is taken.
    pub(crate) fn check_not_draining(&mut self, session: SessionKey) -> Result<(), Refusal> {
        if self.sent_away.is_none() {
            return Ok(());
        }
        let tenant = self.sessions[session].tenant;
        self.tenants[tenant].tally.refused += 1;
        Err(Self::draining())
    }

    /// What a draining broker says to whoever brings new work or a new session.
    pub fn draining() -> Refusal {
        let message =
            "the broker is shutting down and takes nothing new; try again once it is back";
        Refusal::new(RefusalCode::Draining, message).retry_after(BACK_AFTER)
    }
}
