//! What the broker tells, checked by every law that concerns it.

use super::{Grant, Model};
use crate::check::Check;
use crate::laws::{self, reads::Question};
use trunkline_types::session::{SessionItem, Welcome};
use trunkline_types::{Answer, Filter, MessageId, Refusal};

impl Model {
    /// A session is welcomed.
    pub(crate) fn welcome(
        &mut self,
        connection: u64,
        result: &Result<Box<Welcome>, Refusal>,
    ) -> Check {
        laws::identity::answered(self, connection, result)?;
        let Ok(welcome) = result else {
            self.disconnected(connection);
            return Ok(());
        };
        laws::fence::welcome(self, connection, welcome)?;
        let Some(&id) = self.connections.get(&connection) else { return Ok(()) };
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        session.welcomed = true;
        // What is no longer its own it need not be told to stop.
        self.stopped.extend(welcome.revoked.iter().map(|token| (id, *token)));
        session.eased = self.command;
        // It could not renew its leases before, so they run from here.
        let held = |grant: &&mut Grant| grant.session == id && grant.connection == Some(connection);
        for grant in self.granted.values_mut().filter(held) {
            grant.renewed = self.now.mono;
            grant.touched = self.now.mono;
            grant.absent = self.absent;
        }
        if welcome.resumed {
            session.events.again = Some(session.events.acknowledged + 1);
        } else {
            session.events = super::session::Events::default();
        }
        Ok(())
    }

    /// A session is told something.
    pub(crate) fn item(&mut self, connection: u64, item: &SessionItem) -> Check {
        let Some(id) = self.connections.get(&connection).copied() else { return Ok(()) };
        match item {
            SessionItem::Done { first, last } => {
                for number in *first..=*last {
                    laws::answers::done(self, id, number, None)?;
                }
                Ok(())
            }
            SessionItem::Accepted(accepted) => {
                laws::answers::done(self, id, accepted.operation, Some(accepted))
            }
            SessionItem::Canceled(canceled) => {
                laws::answers::done(self, id, canceled.operation, None)
            }
            SessionItem::Refused { operation, refusal } => {
                laws::answers::refused(self, id, *operation, refusal)
            }
            SessionItem::Delivery(delivery) => laws::deliveries::delivered(self, id, delivery),
            SessionItem::Event(event) => laws::events::told(self, id, event),
            SessionItem::Reply(reply) => laws::replies::told(self, id, reply),
            SessionItem::Task { task, update } => laws::tasks::told(self, id, *task, update),
            SessionItem::Cancel { token, .. } => {
                self.cancels.remove(&(id, *token));
                self.stopped.insert((id, *token));
                Ok(())
            }
            SessionItem::Gathered(gathered) => laws::gathers::told(self, id, gathered),
            SessionItem::Agent(news) => laws::directory::told(self, id, news),
            SessionItem::Pressure(pressure) => laws::pressure::told(self, id, pressure),
            SessionItem::GoAway { reconnect: true, .. } => {
                laws::draining::sent_away(self, id, connection)
            }
            SessionItem::Drain { .. } | SessionItem::GoAway { .. } => Ok(()),
        }
    }

    /// A filter is not evaluated on an event.
    pub(crate) fn leave_out(&mut self, id: MessageId, filter: &Filter) {
        self.costly.insert((id, filter.clone()), self.command);
    }

    /// A question is answered.
    pub(crate) fn answered(&self, question: &Question, result: &Result<Answer, Refusal>) -> Check {
        laws::reads::answered(self, question, result)
    }
}
