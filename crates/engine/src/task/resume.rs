//! A continued task goes back to the agent that paused it, which may still have in mind what it
//! was about. It is no more than a preference: who is away, is draining or has no credit at this
//! moment is not waited for, and whoever serves the inbox gets it. A payload that has left memory
//! is read then and there, so that it makes no difference; so is that of what came back before it,
//! which is delivered before it.

use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::gate::Staged;
use crate::now::Now;
use crate::queue::lane_of;
use crate::table::{EntryKey, SessionKey};

impl Engine {
    /// Lets a continued task go on.
    pub(crate) fn resume(&mut self, now: Now, staged: Staged, out: &mut Output) {
        let key = staged.key;
        while self.may_go_back(now, key)
            && let Some(first) = self.first_out(key)
        {
            match self.recall_payload(first) {
                Ok(()) => self.dispatch_inbox(now, self.entries[key].inbox, out),
                Err(why) => self.end_unreadable(now, first, &why, out),
            }
            // What ends may have called this off.
            if !self.is_still(staged) {
                return;
            }
        }
        let former = self.former_holder(key).filter(|_| self.may_go_back(now, key));
        let Some(session) = former else { return self.make_ready(now, key, out) };
        match self.recall_payload(key) {
            Ok(()) => self.deliver(now, key, session, out),
            Err(why) => self.end_unreadable(now, key, &why, out),
        }
    }

    /// Whether a continued task may be delivered now.
    fn may_go_back(&self, now: Now, key: EntryKey) -> bool {
        let entry = &self.entries[key];
        !entry.waits(now)
            && !entry.expires_at.is_over(now.wall)
            && !self.congested
            && !self.key_blocks(key)
            && !self.planted(Defect::ForgottenHolder)
    }

    /// What came back to its lane before a continued task and waits for its payload, while the
    /// agent that held the task would take some of it.
    fn first_out(&self, key: EntryKey) -> Option<EntryKey> {
        let entry = &self.entries[key];
        let inbox = &self.inboxes[entry.inbox];
        let first = inbox.first(lane_of(entry)).filter(|&first| self.entries[first].is_away())?;
        let before = !inbox.goes_first(&self.entries, entry);
        self.former_takers(key).next().filter(|_| before).map(|_| first)
    }

    /// The session that would take a task now, of the agent that held it last.
    fn former_holder(&self, key: EntryKey) -> Option<SessionKey> {
        let entry = &self.entries[key];
        let (inbox, lane) = (&self.inboxes[entry.inbox], 1 << lane_of(entry));
        // Whatever waits there already goes first, for it is about to be delivered; but if it waits
        // for a payload, what came back goes before what never left.
        if inbox.filled() & lane != 0 {
            let waits = inbox.deliverable(&self.entries) & lane == 0;
            if !waits || !inbox.goes_first(&self.entries, entry) {
                return None;
            }
        }
        let takers = self.former_takers(key);
        takers.reduce(|best, other| if self.is_lighter(other, best) { other } else { best })
    }

    /// The sessions of the agent that held a task last which would take it now.
    fn former_takers(&self, key: EntryKey) -> impl Iterator<Item = SessionKey> {
        let entry = &self.entries[key];
        let (inbox, lane) = (&self.inboxes[entry.inbox], 1 << lane_of(entry));
        let agent = entry.task.get().and_then(|task| self.tasks.rows[task].more().agent.as_ref());
        let agent = agent.and_then(|agent| self.tenants[inbox.tenant].agent(agent));
        inbox.servers.iter().copied().filter(move |&session| {
            let own = agent.is_some() && self.sessions[session].agent == agent;
            own && self.lanes_of(entry.inbox, session) & lane != 0
        })
    }
}
