//! A continued task goes back to the agent that paused it, which may still have in mind what it
//! was about. It is no more than a preference: who is away, is draining or has no credit at this
//! moment is not waited for, and whoever serves the inbox gets it. So it is if its payload has to be
//! read first, or that of something that came back before it.

use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::lane_of;
use crate::table::{EntryKey, SessionKey};

impl Engine {
    /// Lets a continued task go on.
    pub(crate) fn resume(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let entry = &self.entries[key];
        // After a step back of the wall clock it waits for its time like any other.
        let may_go = entry.due <= now.wall && !self.congested && !self.key_blocks(key);
        let may_go = may_go && !entry.is_away() && !self.planted(Defect::ForgottenHolder);
        match self.former_holder(key).filter(|_| may_go) {
            Some(session) => self.deliver(now, key, session, out),
            None => self.make_ready(now, key, out),
        }
    }

    /// The session that would take a task now, of the agent that held it last.
    fn former_holder(&self, key: EntryKey) -> Option<SessionKey> {
        let entry = &self.entries[key];
        let (inbox, lane) = (&self.inboxes[entry.inbox], 1 << lane_of(entry));
        let agent = self.tasks.rows[entry.task.get()?].more().agent.as_ref()?;
        let agent = self.tenants[inbox.tenant].agent(agent)?;
        // Whatever waits there already goes first, for it is about to be delivered; but if it waits
        // for a payload, what came back goes before what never left.
        if inbox.filled() & lane != 0 {
            let waits = inbox.deliverable(&self.entries) & lane == 0;
            if !waits || !inbox.goes_first(&self.entries, entry) {
                return None;
            }
        }
        let takers = inbox.servers.iter().copied().filter(|&session| {
            let own = self.sessions[session].agent == Some(agent);
            own && self.lanes_of(entry.inbox, session) & lane != 0
        });
        takers.reduce(|best, other| if self.is_lighter(other, best) { other } else { best })
    }
}
