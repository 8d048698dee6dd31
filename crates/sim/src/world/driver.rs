//! The driver: commands in, records to the log, effects to the wire, as a broker does it.

use super::broker::{DriverDefect, Mood};
use super::tenants::IMPOSTOR;
use super::wire::{ToBroker, ToClient};
use super::{Event, World, facts, principal};
use crate::check::{Check, Violation};
use crate::laws::{self, reads::Question};
use crate::model::{Ending, Fact, Model};
use crate::totals::Count;
use trunkline_engine::{
    Command, ConnectionKey, Effect, EndedTask, Engine, LetterHead, Now, Output, Past, QueryKey,
    Record,
};
use trunkline_log::{Space, WriteError};
use trunkline_types::session::SessionItem;
use trunkline_types::{Kind, RefusalCode, Sequence};

impl World {
    /// A packet has reached the broker's socket.
    pub(crate) fn at_broker(&mut self, link: u64, packet: ToBroker) -> Check {
        match self.broker.mood {
            Mood::Down => Ok(()),
            Mood::Paused { .. } => {
                self.broker.sockets.push_back((link, packet));
                Ok(())
            }
            Mood::Up => self.take_in(link, packet),
        }
    }

    /// The broker takes a packet from a socket.
    pub(crate) fn take_in(&mut self, link: u64, packet: ToBroker) -> Check {
        let open = self.links.get(&link).is_some_and(|row| row.broker_open);
        self.at_moment();
        let tenant = self.tenant_on(link);
        let connection = ConnectionKey(link);
        let command = match packet {
            ToBroker::Ask(query) => return self.ask(tenant, query),
            _ if !open => return Ok(()),
            ToBroker::Hello(..) if self.broker.draining.is_some() => {
                self.turn_away(link);
                return Ok(());
            }
            ToBroker::Hello(hello, principal) if principal.subject == IMPOSTOR => {
                return self.refuse_impostor(link, principal, hello);
            }
            ToBroker::Hello(hello, principal) => {
                let steady = self.links.get(&link).is_some_and(|row| self.actors[row.actor].steady);
                self.models[tenant].connecting(link, &hello, steady);
                Command::Connect { connection, principal, hello }
            }
            ToBroker::Frame(frame) => {
                self.models[tenant].frame(link, &frame);
                let verdicts = self.verdicts(tenant, &frame);
                Command::Frame { connection, frame, verdicts }
            }
            ToBroker::Gone => {
                self.models[tenant].disconnected(link);
                Command::Disconnect { connection }
            }
        };
        self.command(command)
    }

    /// Hands a command to the engine.
    pub(crate) fn command(&mut self, command: Command) -> Check {
        self.trace.line(format_args!("{:?} {command:?}", self.clock.now()));
        self.drive(|engine, now, out| engine.handle(now, command, out))
    }

    /// Tells the engine the time.
    pub(crate) fn tick(&mut self) -> Check {
        self.at_moment();
        self.notice(Model::ticking);
        self.trace.line(format_args!("{:?} tick", self.clock.now()));
        self.drive(Engine::tick)?;
        self.check_each(|model| {
            laws::overdue::nothing(model)?;
            laws::waiting::nobody_too_long(model)?;
            laws::pending::nothing_overdue(model)
        })
    }

    /// A broker at its end in order opens no session.
    fn turn_away(&mut self, link: u64) {
        if let Some(row) = self.links.get_mut(&link) {
            row.broker_open = false;
        }
        self.send_back(link, ToClient::Welcome(Err(Engine::draining())));
    }

    fn ask(&mut self, tenant: usize, query: trunkline_types::Query) -> Check {
        self.broker.asked += 1;
        let key = QueryKey(self.broker.asked);
        let question = Question::new(&self.models[tenant], query.clone());
        self.broker.questions.insert(key, (tenant, question));
        let principal = principal(tenant);
        self.command(Command::Ask { query: key, principal, question: Box::new(query) })
    }

    /// Lets the engine do something, and takes care of what comes of it.
    pub(crate) fn drive(&mut self, call: impl FnOnce(&mut Engine, Now, &mut Output)) -> Check {
        let mut out = std::mem::take(&mut self.broker.out);
        call(&mut self.broker.engine, self.clock.now(), &mut out);
        let flush = out.flush;
        for (at, record) in out.records.drain(..) {
            self.append(at, record)?;
        }
        for effect in out.effects.drain(..) {
            self.perform(effect)?;
        }
        out.clear();
        self.broker.out = out;
        self.plan_commit(flush);
        self.check_each(|model| {
            laws::spilling::nothing_in_silence(model)?;
            laws::handing::none_kept_back(model)?;
            laws::following::nobody_forgotten(model)?;
            laws::shares::nobody_starves(model)?;
            laws::outside::nobody_overtaken(model)?;
            laws::pressure::nobody_untold(model)
        })
    }

    fn append(&mut self, at: Sequence, record: Record) -> Check {
        self.trace.line(format_args!("  record {} {record:?}", at.0));
        self.totals.add(Count::Records);
        self.check_readable(&record)?;
        let trace = &mut self.trace;
        let mut write = |body: &mut Vec<u8>| {
            let start = body.len();
            record.encode(body);
            trace.bytes(&body[start..]);
        };
        let pushed = if record.is_carried() {
            self.totals.add(Count::Carried);
            self.broker.batch.push_carried(0, at.0, record.tag(), &mut write)
        } else {
            self.broker.batch.push(0, at.0, record.tag(), &mut write)
        };
        if let Err(error) = pushed {
            return Err(Violation::new("log", format!("record {} does not fit: {error}", at.0)));
        }
        let fact = facts::fact(&record);
        let whose = self.tenant_of(&record);
        self.count(whose.unwrap_or_default(), &fact);
        self.broker.journal.push((at, record));
        for tenant in 0..self.models.len() {
            let own = whose.is_none_or(|whose| whose == tenant);
            let fact = if own { fact.clone() } else { Fact::Elsewhere };
            self.models[tenant].fact(at, fact)?;
        }
        Ok(())
    }

    fn count(&mut self, tenant: usize, fact: &Fact) {
        let entries = &self.models[tenant].book.entries;
        if tenant > 0 && matches!(fact, Fact::Accepted(_)) {
            self.totals.add(Count::Strangers);
        }
        let count = match fact {
            Fact::Accepted(fact) if fact.pending => Count::Pending,
            Fact::Accepted(_) => Count::Accepted,
            Fact::Routed { .. } => Count::Routed,
            Fact::Fired { .. } => Count::Fired,
            Fact::Leased { entry, .. } => {
                let again = entries.get(entry).is_some_and(|e| e.leases > 0);
                if again { Count::Redeliveries } else { return }
            }
            Fact::Returned(back) => {
                let entry = entries.get(&back.entry);
                if back.token_stays {
                    Count::Lapses
                } else if entry.is_some_and(|entry| entry.attempts < back.attempts) {
                    Count::Retries
                } else {
                    Count::Releases
                }
            }
            Fact::Paused { .. } => Count::Paused,
            Fact::Ended { entry, how, .. } => {
                let late = entries.get(entry);
                let late = late.is_some_and(|e| e.place == crate::model::Place::Waiting);
                match how {
                    Ending::Completed(_) if late => {
                        self.totals.add(Count::Late);
                        Count::Completed
                    }
                    Ending::Completed(_) => Count::Completed,
                    Ending::Expired => Count::Expiries,
                    Ending::DeadLettered => Count::DeadLetters,
                    Ending::Canceled => Count::Canceled,
                    Ending::Dropped => Count::Drops,
                    Ending::Failed | Ending::Rejected => return,
                }
            }
            _ => return,
        };
        self.totals.add(count);
    }

    fn perform(&mut self, effect: Effect) -> Check {
        self.trace.line(format_args!("  effect {effect:?}"));
        match effect {
            Effect::Welcome { connection, result } => {
                self.trace.bytes(&[1]);
                if result.as_ref().is_ok_and(|welcome| welcome.resumed) {
                    self.totals.add(Count::Resumes);
                }
                let tenant = self.tenant_on(connection.0);
                self.models[tenant].welcome(connection.0, &result)?;
                self.send_back(connection.0, ToClient::Welcome(result));
                Ok(())
            }
            Effect::Item { connection, item } => {
                self.trace.bytes(&[2]);
                self.trace.bytes(&connection.0.to_le_bytes());
                self.count_item(&item);
                let tenant = self.tenant_on(connection.0);
                self.models[tenant].item(connection.0, &item)?;
                self.send_back(connection.0, ToClient::Item(item));
                Ok(())
            }
            Effect::Closed { connection } => {
                self.trace.bytes(&[3]);
                let tenant = self.tenant_on(connection.0);
                self.models[tenant].disconnected(connection.0);
                if let Some(link) = self.links.get_mut(&connection.0) {
                    link.broker_open = false;
                }
                self.send_back(connection.0, ToClient::Gone);
                Ok(())
            }
            Effect::Filter { pattern, filter, wanted, .. } => {
                self.note_filter(pattern, filter, wanted);
                Ok(())
            }
            Effect::Load { places } => self.plan_load(places),
            Effect::Cleaned { before } => {
                self.cleaned(before);
                Ok(())
            }
            Effect::Past(past) => {
                self.trace.bytes(&[5]);
                let past = reread(past)?;
                self.handed(&past)?;
                self.broker.past.push_back(past);
                Ok(())
            }
            Effect::Answer { query, result, known } => {
                self.trace.bytes(&[4]);
                self.totals.add(Count::Reads);
                let Some((tenant, question)) = self.broker.questions.remove(&query) else {
                    let message = format!("question {} is answered twice", query.0);
                    return Err(Violation::new("answers", message));
                };
                let result = self.completed(tenant, &question.query, &known, result);
                self.models[tenant].answered(&question, &result)?;
                self.trace.bytes(&[u8::from(result.is_ok())]);
                Ok(())
            }
        }
    }

    fn count_item(&mut self, item: &SessionItem) {
        let count = match item {
            SessionItem::Delivery(delivery) => {
                let kind = delivery.publish.envelope.kind;
                if !matches!(kind, Kind::Request | Kind::Event | Kind::Broadcast) {
                    self.totals.add(Count::Kinds);
                }
                for _ in &delivery.missed {
                    self.totals.add(Count::Missed);
                }
                Count::Deliveries
            }
            SessionItem::Event(_) => Count::Events,
            SessionItem::Task { .. } => Count::TaskEvents,
            SessionItem::Reply(_) => Count::Replies,
            SessionItem::Pressure(_) => Count::Pressures,
            SessionItem::Cancel { reason, .. } if reason.contains("ran longer") => Count::Overruns,
            SessionItem::Agent(_) => Count::News,
            SessionItem::GoAway { reconnect: true, .. } => Count::SentAway,
            SessionItem::Accepted(accepted) if accepted.duplicate => Count::Repeats,
            SessionItem::Refused { refusal, .. } => match refusal.code {
                RefusalCode::StaleToken => Count::Stale,
                RefusalCode::OutOfOrder => Count::OutOfOrder,
                RefusalCode::DiskFull => Count::FullRefusals,
                RefusalCode::Deadlock => Count::Deadlocks,
                RefusalCode::KeyCap => Count::KeyCaps,
                RefusalCode::TooLarge => Count::TooMany,
                RefusalCode::InboxFull => Count::FullInboxes,
                _ => return,
            },
            _ => return,
        };
        self.totals.add(count);
    }

    /// Plans the next write, and the flush after it if somebody waits for one.
    fn plan_commit(&mut self, flush: bool) {
        let flush_span = self.plan.faults.flush;
        if !self.broker.batch.is_empty() && !self.broker.write_planned {
            self.broker.write_planned = true;
            let at = self.clock.time + self.rng.u64(0..=flush_span / 4);
            self.calendar.plan(at, Event::Write);
        }
        if flush && !self.broker.flush_planned {
            self.broker.flush_planned = true;
            let at = self.clock.time + self.rng.u64(flush_span / 3..=flush_span);
            self.calendar.plan(at, Event::Flush);
        }
    }

    /// Writes what has gathered.
    pub(crate) fn write(&mut self) -> Check {
        self.broker.write_planned = false;
        if matches!(self.broker.mood, Mood::Paused { .. }) {
            self.later(Event::Write);
            return Ok(());
        }
        let Some(log) = self.broker.log.as_mut() else { return Ok(()) };
        if log.wants_upkeep() && self.rng.bool() {
            // A failure shows in the space that is left.
            let _ = log.prepare();
        }
        let latest = self.broker.journal.last().map_or(Sequence(0), |(at, _)| *at);
        match log.write(&mut self.broker.batch) {
            Ok(()) => {
                self.totals.add(Count::Commits);
                self.broker.written = latest;
                self.tell_space()?;
                self.tell_horizon()?;
                // Nothing stays unflushed for longer than the log allows.
                if !self.broker.flush_planned {
                    self.broker.flush_planned = true;
                    let at = self.clock.time + 50_000_000;
                    self.calendar.plan(at, Event::Flush);
                }
                Ok(())
            }
            Err(WriteError::Full { .. }) => {
                self.broker.write_planned = true;
                self.calendar.plan(self.clock.time + 5_000_000, Event::Write);
                self.tell_space()
            }
            Err(WriteError::Poisoned(_)) => self.crash_poisoned(),
        }
    }

    /// Flushes what was written.
    pub(crate) fn flush(&mut self) -> Check {
        if matches!(self.broker.mood, Mood::Paused { .. }) {
            self.later(Event::Flush);
            return Ok(());
        }
        self.broker.flush_planned = false;
        if !self.broker.batch.is_empty() {
            self.write()?;
        }
        let Some(log) = self.broker.log.as_mut() else { return Ok(()) };
        if let Err(WriteError::Poisoned(_)) = log.sync() {
            return self.crash_poisoned();
        }
        self.totals.add(Count::Flushes);
        self.broker.synced = self.broker.written;
        let waits = self.broker.synced < self.broker.latest();
        self.tell_horizon()?;
        self.plan_commit(waits);
        Ok(())
    }

    fn later(&mut self, event: Event) {
        match event {
            Event::Write => self.broker.write_planned = true,
            _ => self.broker.flush_planned = true,
        }
        self.calendar.plan(self.clock.time + 2_000_000, event);
    }

    /// Tells the engine how far the log has got.
    pub(crate) fn tell_horizon(&mut self) -> Check {
        let (written, synced) = (self.broker.written, self.broker.synced);
        self.at_moment();
        self.notice(|model| model.horizon(written, synced));
        let claimed = match self.broker.defect {
            Some(DriverDefect::WrittenIsSynced) => written,
            _ => synced,
        };
        self.trace.line(format_args!("durable {} {}", written.0, claimed.0));
        self.drive(|engine, now, out| engine.durable(now, written, claimed, out))
    }

    /// Tells the engine whether there is room, if that has changed.
    pub(crate) fn tell_space(&mut self) -> Check {
        let Some(log) = &self.broker.log else { return Ok(()) };
        let ample = log.space() == Space::Ample;
        if ample == self.broker.ample {
            return Ok(());
        }
        self.broker.ample = ample;
        self.at_moment();
        self.notice(|model| model.space(ample));
        self.command(Command::Space { ample })
    }
}

/// What is over as it is read from an index on disk.
fn reread(past: Past) -> Result<Past, Violation> {
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    let read = match &past {
        Past::Ended(task) => {
            task.encode_head(&mut head);
            task.encode_rest(&mut rest);
            EndedTask::decode_head(task.place, &head).and_then(|mut read| {
                read.decode_rest(&rest)?;
                Ok(Past::Ended(Box::new(read)))
            })
        }
        Past::Died(letter) => {
            letter.encode_head(&mut head);
            letter.encode_rest(&mut rest);
            LetterHead::decode(letter.place, &head)
                .and_then(|head| head.decode_rest(&rest))
                .map(|read| Past::Died(Box::new(read)))
        }
        Past::Cleared(_) => return Ok(past),
    };
    match read {
        Ok(read) if read == past => Ok(read),
        other => Err(Violation::new("9 tasks", format!("{past:?} is read as {other:?}"))),
    }
}
