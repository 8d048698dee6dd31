//! What comes of those who were asked, and the end of a gathering.

use super::{Gathering, PartState};
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::queue::Owner;
use crate::record::{End, EntryId};
use crate::table::{EntryKey, GatherKey, InboxKey};
use trunkline_types::session::SessionItem;
use trunkline_types::{
    Durability, Failure, FailureCode, GatherRule, Gathered, GatheredPart, Payload,
};

impl Engine {
    /// The entry of an agent that was asked has ended.
    pub(crate) fn gathered_part(
        &mut self,
        now: Now,
        key: GatherKey,
        inbox: InboxKey,
        result: Result<Payload, Failure>,
        out: &mut Output,
    ) {
        let Owner::Agent(agent) = self.inboxes[inbox].owner else { return };
        let agent = &self.agents[agent].id;
        let unbounded = self.planted(Defect::UnboundedAnswers);
        let Some(gathering) = self.gathers.get_mut(key) else { return };
        let held = &mut self.tenants[gathering.tenant].gathered_bytes;
        let all = Bound { held, limit: self.config.gather_bytes, unbounded };
        let Ok(at) = gathering.parts.binary_search_by(|part| part.agent.cmp(agent)) else { return };
        gathering.end_part(at, result, all);
        if gathering.closing {
            return;
        }
        if gathering.has_enough() {
            gathering.closing = true;
            for (entry, id) in gathering.open_entries() {
                if self.entries.get(entry).is_some_and(|entry| entry.id == id) {
                    let reason = "enough answers have come".to_owned();
                    self.end_entry(now, entry, End::Canceled { reason }, out);
                }
            }
        } else if gathering.open > 0 {
            return;
        }
        self.finish_gathering(now, key, out);
    }

    /// Tells the sender what came.
    fn finish_gathering(&mut self, now: Now, key: GatherKey, out: &mut Output) {
        let mut gathering = self.gathers.remove(key);
        self.tenants[gathering.tenant].gathered_bytes -= gathering.held();
        if self.planted(Defect::GatherForgets) && self.rng.u8(..) < 64 {
            gathering.forget_answer();
        }
        let Gathering { tenant, sender, .. } = gathering;
        let item = Box::new(SessionItem::Gathered(gathering.into_gathered()));
        self.hold(now, Durability::Ephemeral, Held::Reply(tenant, sender, item), out);
    }
}

/// What all requests of a tenant that gather answers hold together, and may hold.
struct Bound<'a> {
    held: &'a mut u64,
    limit: u64,
    /// The defect that lets each request have more than its own bound.
    unbounded: bool,
}

impl Gathering {
    /// How many bytes of answers it holds.
    pub(crate) fn held(&self) -> u64 {
        u64::from(self.gather.reply_bytes) - self.room
    }

    /// Fills a part. An answer for which there is no room is left out.
    fn end_part(&mut self, at: usize, result: Result<Payload, Failure>, all: Bound<'_>) {
        let result = result.and_then(|payload| {
            let size = payload.data.len() as u64;
            let Bound { held, limit, unbounded } = all;
            let room = self.room.checked_sub(size).or(unbounded.then_some(0));
            let Some(room) = room else {
                let reason = format!(
                    "its answer has {size} bytes, the bound on all answers together is {}, of \
                     which {} are left",
                    self.gather.reply_bytes, self.room
                );
                return Err(Failure { code: FailureCode::LeftOut, reason });
            };
            if size > limit.saturating_sub(*held) {
                let reason = format!(
                    "its answer has {size} bytes, the bound on the answers that all requests of \
                     the tenant hold together is {limit}, of which {} are left",
                    limit.saturating_sub(*held)
                );
                return Err(Failure { code: FailureCode::LeftOut, reason });
            }
            *held += self.room - room;
            self.room = room;
            self.answers += 1;
            Ok(payload)
        });
        let before = std::mem::replace(&mut self.parts[at].state, PartState::Ended(result));
        self.open -= u32::from(matches!(before, PartState::Open(..)));
    }

    fn wanted(&self) -> u32 {
        match self.gather.rule {
            GatherRule::First => 1,
            GatherRule::Quorum(wanted) => wanted,
            GatherRule::All => u32::try_from(self.parts.len()).unwrap_or(u32::MAX),
        }
    }

    fn has_enough(&self) -> bool {
        self.answers >= self.wanted()
    }

    /// The entries that have not ended.
    pub(crate) fn open_entries(&self) -> Vec<(EntryKey, EntryId)> {
        let open = self.parts.iter().filter_map(|part| match part.state {
            PartState::Open(key, id) => Some((key, id)),
            PartState::Ended(_) => None,
        });
        open.collect()
    }

    fn into_gathered(self) -> Gathered {
        let complete = self.has_enough();
        let parts = self.parts.into_iter().filter_map(|part| match part.state {
            PartState::Ended(result) => Some(GatheredPart { agent: part.agent, result }),
            PartState::Open(..) => None,
        });
        Gathered { request: self.request, complete, parts: parts.collect() }
    }

    /// The defect that drops an answer.
    fn forget_answer(&mut self) {
        let answer = |part: &super::Part| matches!(part.state, PartState::Ended(Ok(_)));
        if let Some(at) = self.parts.iter().position(answer) {
            self.parts.remove(at);
        }
    }
}
