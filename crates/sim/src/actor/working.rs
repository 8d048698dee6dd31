//! How an agent works: on time, late, twice, with stale tokens, or not at all.

use super::person::{Held, skill};
use crate::totals::Count;
use crate::world::{Event, World};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{Delivery, Operation, Update, UpdateBody};
use trunkline_types::{
    ArtifactChunk, Destination, Durability, Kind, MessageId, Outcome, PauseReason, Payload,
    Progress, Publish, PublishOptions, Settle, Token,
};

impl World {
    /// A delivery reaches an actor.
    pub(crate) fn delivered(&mut self, number: usize, delivery: Delivery) {
        let token = delivery.token;
        let stalled =
            !self.quiet && !self.actors[number].steady && self.chance(self.plan.work.stall);
        let mut span = self.rng.u64(100_000..=self.plan.work.span.max(200_000));
        if stalled {
            span = self.lease() / 2 + self.rng.u64(0..=self.lease() * 2);
        }
        if self.quiet {
            span = span.min(20_000_000);
        }
        let mut operations = Vec::new();
        if self.chance(700) {
            operations.push(update(token, UpdateBody::Started));
        }
        while self.chance(self.plan.work.update) && operations.len() < 4 {
            operations.push(update(token, self.news_of_work()));
        }
        // A chain of requests that each make another would never come to its end.
        let first = delivery.publish.envelope.causation_id.is_none();
        if !self.quiet && (first || self.rng.bool()) && self.chance(self.plan.traffic.nested) {
            let nested = self.nested(number, &delivery);
            operations.push(nested);
        }
        self.actors[number].held.insert(token, Held { delivery, stalled });
        if !operations.is_empty() {
            self.operate(number, operations);
        }
        self.calendar.plan(self.clock.time + span, Event::Work { actor: number, token });
        if !self.actors[number].beating {
            self.actors[number].beating = true;
            self.plan_beat(number);
        }
    }

    /// A handler is done.
    pub(crate) fn work(&mut self, number: usize, token: Token) {
        if self.actors[number].link().is_none() {
            // It says so when it is back, if it still holds it then.
            if self.actors[number].held.contains_key(&token) {
                let at = self.clock.time + self.lease() / 10;
                self.calendar.plan(at, Event::Work { actor: number, token });
            }
            return;
        }
        let Some(held) = self.actors[number].held.remove(&token) else { return };
        let outcome = self.outcome(&held.delivery);
        let mut operations = vec![Operation::Settle(Settle { token, outcome })];
        if !self.quiet && self.chance(self.plan.work.twice) {
            let outcome = self.outcome(&held.delivery);
            operations.push(Operation::Settle(Settle { token, outcome }));
        }
        let old = &mut self.actors[number].old_tokens;
        old.push(token);
        if old.len() > 40 {
            old.remove(0);
        }
        if !self.quiet && self.chance(self.plan.work.stale) {
            let old = &self.actors[number].old_tokens;
            let token = old[self.rng.usize(..old.len())];
            let outcome = Outcome::Complete { reply: None };
            operations.push(Operation::Settle(Settle { token, outcome }));
        }
        self.operate(number, operations);
    }

    /// A request made while handling something, now and then one that would wait for itself.
    fn nested(&mut self, number: usize, cause: &Delivery) -> Operation {
        self.did(Count::Nested);
        let Operation::Publish(publish) = self.publish(number) else {
            unreachable!("an actor publishes publishes")
        };
        let mut publish = Publish::clone(&publish);
        let envelope = &mut publish.envelope;
        let cause = &cause.publish.envelope;
        envelope.kind = Kind::Request;
        envelope.destination = cause.destination.clone();
        if !matches!(envelope.destination, Destination::Agent(_) | Destination::Skill(_)) {
            envelope.destination = Destination::Skill(skill(0));
        }
        envelope.causation_id = Some(cause.id);
        envelope.root_id = cause.root_id.or(Some(cause.id));
        envelope.ordering_key.clone_from(&cause.ordering_key);
        envelope.idempotency_key = None;
        publish.options = PublishOptions {
            reply: true,
            durability: Some(Durability::Synced),
            ..PublishOptions::default()
        };
        Operation::Publish(Arc::new(publish))
    }

    fn outcome(&mut self, delivery: &Delivery) -> Outcome {
        let work = self.plan.work.clone();
        let task = delivery.publish.is_task();
        if !self.quiet {
            if self.chance(work.retry) {
                let delay = self.chance(300).then(|| Duration::from_millis(self.rng.u64(0..200)));
                return Outcome::Retry { reason: "not now".into(), delay };
            }
            if self.chance(work.release) {
                return Outcome::Release;
            }
            if self.chance(work.pause) && (task || self.chance(100)) {
                let reason = if self.rng.bool() { PauseReason::Input } else { PauseReason::Auth };
                let message = self.rng.bool().then(|| Payload::text("which one?"));
                return Outcome::Pause { reason, message };
            }
            if self.chance(work.dead_letter) {
                return Outcome::DeadLetter { reason: "poison".into() };
            }
        }
        if self.chance(work.fail) {
            let reason = "it cannot be".to_owned();
            return if self.rng.bool() {
                Outcome::Fail { reason }
            } else {
                Outcome::Reject { reason }
            };
        }
        let data = delivery.publish.envelope.payload.to_text().into_owned();
        let reply = (delivery.publish.options.reply || self.rng.bool())
            .then(|| Payload::text(format!("done {data}")));
        Outcome::Complete { reply }
    }

    fn news_of_work(&mut self) -> UpdateBody {
        if self.rng.bool() {
            return UpdateBody::Progress(Progress {
                percent: self.rng.u8(0..=100),
                text: String::new(),
            });
        }
        UpdateBody::Artifact(ArtifactChunk {
            name: "out".into(),
            append: self.rng.bool(),
            last: self.rng.bool(),
            payload: Payload::text(format!("chunk {}", self.rng.u16(..))),
        })
    }

    /// Somebody answers what a paused task waits for.
    pub(crate) fn answer_pause(&mut self, number: usize, task: MessageId) {
        let payload = Payload::text("that one");
        self.operate(number, vec![Operation::Continue { task, payload }]);
    }
}

fn update(token: Token, body: UpdateBody) -> Operation {
    Operation::Update(Update { token, body })
}
