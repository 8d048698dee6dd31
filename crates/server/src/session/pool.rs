//! The sessions behind unary calls, one for each principal that calls.
//!
//! Principals name themselves, so their number is bounded: idle sessions make room.

use super::calls::CallSession;
use crate::entropy::Ids;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OnceCell;
use trunkline_types::session::Connector;
use trunkline_types::{Principal, Refusal, RefusalCode};

/// Most principals whose calls are served at a time.
const MOST_SESSIONS: usize = 1_024;

/// The call sessions of a server.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// A lock, because calls come on every connection; never held while a session is opened.
    sessions: Mutex<HashMap<Principal, Arc<Slot>>>,
}

/// A session that the first of several calls opens and the others wait for.
type Slot = OnceCell<CallSession>;

/// A session in use; holding it keeps it from making room.
#[derive(Debug, Clone)]
pub(crate) struct Lent(Arc<Slot>);

impl Pool {
    /// The session of a principal, opened if there is none.
    pub(crate) async fn session(
        &self,
        principal: &Principal,
        connector: &dyn Connector,
        ids: &Ids,
    ) -> Result<Lent, Refusal> {
        let slot = self.slot(principal)?;
        slot.get_or_try_init(|| CallSession::open(connector, ids.session())).await?;
        Ok(Lent(slot))
    }

    /// Waits until no call waits for anything and says goodbye for all sessions.
    pub(crate) async fn finish(&self) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        for session in sessions.iter().filter_map(|slot| slot.get()) {
            session.finish().await;
        }
    }

    /// Says goodbye for all sessions.
    pub(crate) fn close(&self) {
        let sessions = std::mem::take(&mut *self.sessions.lock());
        for session in sessions.values().filter_map(|slot| slot.get()) {
            session.close();
        }
    }

    /// Whether no call waits for anything.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        let sessions = self.sessions.lock();
        sessions.values().filter_map(|slot| slot.get()).all(CallSession::is_idle)
    }

    fn slot(&self, principal: &Principal) -> Result<Arc<Slot>, Refusal> {
        let mut sessions = self.sessions.lock();
        if let Some(slot) = sessions.get(principal)
            && !slot.get().is_some_and(CallSession::is_over)
        {
            return Ok(slot.clone());
        }
        let mut idle = Vec::new();
        if sessions.len() >= MOST_SESSIONS {
            sessions.retain(|_, slot| {
                let is_idle = Arc::strong_count(slot) == 1;
                if is_idle {
                    idle.push(slot.clone());
                }
                !is_idle
            });
        }
        if sessions.len() >= MOST_SESSIONS {
            let message = format!(
                "{} principals have calls in flight, the limit is {MOST_SESSIONS}",
                sessions.len()
            );
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        let slot = Arc::<Slot>::default();
        sessions.insert(principal.clone(), slot.clone());
        drop(sessions);
        for session in idle.iter().filter_map(|slot| slot.get()) {
            session.close();
        }
        Ok(slot)
    }
}

impl Lent {
    /// The session.
    pub(crate) fn get(&self) -> Result<&CallSession, Refusal> {
        let gone = || Refusal::new(RefusalCode::Unavailable, "the session was not opened");
        self.0.get().ok_or_else(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::tests::scripted::{Ended, broker};

    #[tokio::test]
    async fn idle_sessions_make_room_and_busy_ones_do_not() {
        let (broker, mut script) = broker();
        let connector = broker.connector(Principal::default());
        let (pool, ids) = (Pool::default(), Ids::new());
        let session = async |name: String| {
            pool.session(&Principal::named(name), connector.as_ref(), &ids).await
        };
        let busy = session("busy".into()).await.unwrap();
        for number in 1..MOST_SESSIONS {
            session(number.to_string()).await.unwrap();
        }
        session("one-more".into()).await.unwrap();
        let _kept = script.session().await;
        assert_eq!(script.session().await.ended().await, Ended::Closed);
        assert!(Arc::ptr_eq(&busy.0, &session("busy".into()).await.unwrap().0));

        let mut all = vec![busy];
        for number in 2..MOST_SESSIONS {
            all.push(session(number.to_string()).await.unwrap());
        }
        all.push(session("last".into()).await.unwrap());
        let refusal = session("too-many".into()).await.unwrap_err();
        assert!(refusal.message.contains("the limit is 1024"), "{refusal}");
    }
}
