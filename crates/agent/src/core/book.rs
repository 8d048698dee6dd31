//! The book of a session: gives operations their numbers, gathers them for sending, and knows
//! who waits for which answer.
//!
//! It is plain data behind one lock. It refuses to call anybody: whoever is to be told is put
//! into a list that the owner of the lock works off after letting go of it.

use super::waiter::{Entry, ReplyEntry, ReplySignal, Told, Waiter};
use crate::RequestError;
use crate::handler::cut;
use crate::send::{Acceptance, Reply};
use std::collections::{HashMap, VecDeque};
use tokio::sync::oneshot;
use trunkline_types::session::{self, Accepted, Canceled, Operation};
use trunkline_types::{Gathered, MessageId, Outcome, Refusal, RefusalCode, Settle, Token};

/// How many runs the book keeps before it looks for answered ones among them.
const CROWDED: usize = 16_384;

/// See the module.
pub(crate) struct Book {
    next: u64,
    /// Runs of operations in order of their numbers; the first is not wholly answered.
    runs: VecDeque<Run>,
    /// How many runs are worth a search for answered ones.
    crowded: usize,
    /// Numbered but not yet handed to the connection; the last of them has the number `next - 1`.
    gathered: Vec<Operation>,
    /// Whether somebody is handing over what is gathered.
    pub(super) flushing: bool,
    replies: HashMap<MessageId, ReplyWaiter, foldhash::fast::RandomState>,
    /// Deliveries whose settlement was just refused, to be settled otherwise.
    refused: Vec<(Token, Refusal)>,
    pub(super) closed: Option<Refusal>,
}

/// Operations with consecutive numbers that share a waiter.
struct Run {
    first: u64,
    last: u64,
    unanswered: u64,
    /// Whether each holds one of the session's places for outstanding operations.
    bounded: bool,
    waiter: Waiter,
}

struct ReplyWaiter {
    sender: oneshot::Sender<ReplySignal>,
    number: u64,
    ephemeral: bool,
}

/// How one operation was answered.
enum Verdict<'a> {
    Done,
    Accepted(&'a Accepted),
    Canceled(u32),
    Refused(&'a Refusal),
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            runs: VecDeque::new(),
            crowded: CROWDED,
            gathered: Vec::new(),
            flushing: false,
            replies: HashMap::default(),
            refused: Vec::new(),
            closed: None,
        }
    }

    /// Numbers operations and gathers them for sending. Returns how many there were.
    pub(crate) fn enter(
        &mut self,
        operations: impl IntoIterator<Item = Operation>,
        entry: Entry,
    ) -> u64 {
        let before = self.gathered.len();
        self.gathered.extend(operations);
        let count = (self.gathered.len() - before) as u64;
        if count == 0 {
            return 0;
        }
        let first = self.next;
        self.next += count;
        if let Some(reply) = entry.reply {
            let ReplyEntry { request, sender, ephemeral } = reply;
            self.replies.insert(request, ReplyWaiter { sender, number: first, ephemeral });
        }
        let last = self.next - 1;
        if let (Waiter::Nobody, Some(run)) = (&entry.waiter, self.runs.back_mut())
            && matches!(run.waiter, Waiter::Nobody)
            && run.bounded == entry.bounded
        {
            run.last = last;
            run.unanswered += count;
        } else {
            let Entry { bounded, waiter, .. } = entry;
            self.runs.push_back(Run { first, last, unanswered: count, bounded, waiter });
        }
        count
    }

    /// Takes up to `most` gathered operations and the number of the first.
    pub(crate) fn take_gathered(&mut self, most: usize) -> Option<(u64, Vec<Operation>)> {
        if self.gathered.is_empty() {
            return None;
        }
        let first = self.next - self.gathered.len() as u64;
        let rest =
            if self.gathered.len() > most { self.gathered.split_off(most) } else { Vec::new() };
        Some((first, std::mem::replace(&mut self.gathered, rest)))
    }

    /// Whether there are operations that were not handed to the connection.
    pub(crate) fn is_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Whether every operation is answered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether every operation is answered and no reply is awaited.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.runs.is_empty() && self.replies.is_empty()
    }

    /// Operations from `first` to `last` are done. Returns how many places are free again.
    pub(crate) fn done(&mut self, first: u64, last: u64, told: &mut Vec<Told>) -> usize {
        self.answer(first, last, &Verdict::Done, told)
    }

    /// A publish is accepted, with more to say. Returns how many places are free again.
    pub(crate) fn accepted(&mut self, accepted: &Accepted, told: &mut Vec<Told>) -> usize {
        let number = accepted.operation;
        self.answer(number, number, &Verdict::Accepted(accepted), told)
    }

    /// A message and its descendants are called off. Returns how many places are free again.
    pub(crate) fn canceled(&mut self, canceled: Canceled, told: &mut Vec<Told>) -> usize {
        let Canceled { operation, messages } = canceled;
        self.answer(operation, operation, &Verdict::Canceled(messages), told)
    }

    /// An operation is refused. Returns how many places are free again.
    pub(crate) fn refused(
        &mut self,
        number: u64,
        refusal: &Refusal,
        told: &mut Vec<Told>,
    ) -> usize {
        self.answer(number, number, &Verdict::Refused(refusal), told)
    }

    /// A request of this session ended.
    pub(crate) fn replied(&mut self, reply: session::Reply, told: &mut Vec<Told>) {
        let session::Reply { request, agent, result } = reply;
        if let Some(waiter) = self.replies.remove(&request) {
            let result = match result {
                Ok(payload) => Ok(Reply { request, agent, payload }),
                Err(failure) => Err(RequestError::Failed(failure)),
            };
            told.push(Told::Reply(waiter.sender, ReplySignal::Ended(result)));
        }
    }

    /// A request of this session to several agents ended.
    pub(crate) fn gathered(&mut self, gathered: Gathered, told: &mut Vec<Told>) {
        if let Some(waiter) = self.replies.remove(&gathered.request) {
            told.push(Told::Reply(waiter.sender, ReplySignal::Gathered(gathered)));
        }
    }

    /// Nobody waits for this reply any longer.
    pub(crate) fn forget_reply(&mut self, request: MessageId) {
        self.replies.remove(&request);
    }

    /// The broker came back without knowing the session: what it had accepted and kept in memory
    /// is lost, and replies to the rest go nowhere.
    pub(crate) fn forgotten(&mut self, told: &mut Vec<Told>) {
        let unanswered = |number| {
            let at = self.runs.partition_point(|run| run.last < number);
            self.runs.get(at).is_some_and(|run| run.first <= number && run.unanswered > 0)
        };
        let ids: Vec<MessageId> = self
            .replies
            .iter()
            .filter(|(_, waiter)| !unanswered(waiter.number))
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            if let Some(waiter) = self.replies.remove(&id) {
                let signal = if waiter.ephemeral {
                    let reason = "the broker went away and had the request in memory only";
                    ReplySignal::Ended(Err(RequestError::lost(reason)))
                } else {
                    ReplySignal::LookUp(id)
                };
                told.push(Told::Reply(waiter.sender, signal));
            }
        }
    }

    /// Ends everything that waits. Returns how many places are free again.
    pub(crate) fn close(&mut self, refusal: &Refusal, told: &mut Vec<Told>) -> usize {
        self.closed.get_or_insert_with(|| refusal.clone());
        let mut freed = 0;
        if let (Some(front), Some(back)) = (self.runs.front(), self.runs.back()) {
            let (first, last) = (front.first, back.last);
            freed = self.answer(first, last, &Verdict::Refused(refusal), told);
        }
        self.gathered.clear();
        for (_, waiter) in self.replies.drain() {
            let ended = ReplySignal::Ended(Err(RequestError::Refused(refusal.clone())));
            told.push(Told::Reply(waiter.sender, ended));
        }
        freed
    }

    fn answer(
        &mut self,
        first: u64,
        last: u64,
        verdict: &Verdict<'_>,
        told: &mut Vec<Told>,
    ) -> usize {
        let mut freed = 0;
        let start = self.runs.partition_point(|run| run.last < first);
        for at in start..self.runs.len() {
            let run = &mut self.runs[at];
            if run.first > last {
                break;
            }
            let answered = last.min(run.last) - first.max(run.first) + 1;
            // An operation that a broker answers twice must not free a place twice.
            let answered = answered.min(run.unanswered);
            run.unanswered -= answered;
            if run.bounded {
                freed += usize::try_from(answered).unwrap_or(usize::MAX);
            }
            if answered > 0 {
                let Self { replies, refused, .. } = self;
                conclude(run, first, answered, verdict, replies, refused, told);
            }
        }
        // Before anybody can look, so that the book is not quiet meanwhile.
        self.settle_again();
        while self.runs.front().is_some_and(|run| run.unanswered == 0) {
            self.runs.pop_front();
        }
        // One slow flush must not make the book keep every quick operation behind it.
        if self.runs.len() > self.crowded {
            self.runs.retain(|run| run.unanswered > 0);
            self.crowded = CROWDED.max(2 * self.runs.len());
        }
        freed
    }

    /// Settles otherwise what was refused as it was said, so that it neither waits for its lease
    /// to run out nor ends for a reason that is none.
    fn settle_again(&mut self) {
        for (token, refusal) in std::mem::take(&mut self.refused) {
            if self.closed.is_some() {
                continue;
            }
            tracing::warn!(%token, %refusal, "the broker refused how a delivery was settled");
            let outcome = instead(&refusal);
            let waiter = Waiter::SettledAgain(token);
            let entry = Entry { bounded: false, waiter, reply: None };
            self.enter([Operation::Settle(Settle { token, outcome })], entry);
        }
    }
}

/// What is said of a delivery whose settlement was refused: what the handler came to cannot be
/// said, or not now.
fn instead(refusal: &Refusal) -> Outcome {
    let reason = cut(format_args!("the result was refused: {}", refusal.message));
    match refusal.code {
        RefusalCode::Invalid | RefusalCode::TooLarge | RefusalCode::Forbidden => {
            Outcome::Fail { reason }
        }
        _ => Outcome::Retry { reason, delay: refusal.retry_after },
    }
}

fn conclude(
    run: &mut Run,
    number: u64,
    answered: u64,
    verdict: &Verdict<'_>,
    replies: &mut HashMap<MessageId, ReplyWaiter, foldhash::fast::RandomState>,
    refused: &mut Vec<(Token, Refusal)>,
    told: &mut Vec<Told>,
) {
    let place = usize::try_from(number.saturating_sub(run.first)).unwrap_or(usize::MAX);
    match &mut run.waiter {
        Waiter::Nobody => {}
        Waiter::Settled(tokens) => {
            if let (Verdict::Refused(refusal), Some(&token)) = (verdict, tokens.get(place))
                // Then it is no longer the session's, and there is nothing to settle.
                && !matches!(refusal.code, RefusalCode::StaleToken | RefusalCode::NotFound)
            {
                refused.push((token, (*refusal).clone()));
            }
        }
        Waiter::SettledAgain(token) => {
            if let Verdict::Refused(refusal) = verdict {
                tracing::warn!(%token, %refusal, "a delivery is left to its lease");
            }
        }
        Waiter::Watchers(task) => {
            if let Verdict::Refused(refusal) = verdict {
                told.push(Told::Watchers(*task, (*refusal).clone()));
            }
        }
        Waiter::Directory => {
            if let Verdict::Refused(refusal) = verdict {
                told.push(Told::Directory((*refusal).clone()));
            }
        }
        Waiter::Reply(id) => {
            let signal = match verdict {
                Verdict::Refused(refusal) => {
                    ReplySignal::Ended(Err(RequestError::Refused((*refusal).clone())))
                }
                // The reply, if there is still one to come, goes to whoever sent it first.
                Verdict::Accepted(accepted) if accepted.duplicate => {
                    ReplySignal::LookUp(accepted.id)
                }
                Verdict::Done | Verdict::Accepted(_) | Verdict::Canceled(_) => return,
            };
            if let Some(waiter) = replies.remove(id) {
                told.push(Told::Reply(waiter.sender, signal));
            }
        }
        Waiter::Acceptance(..) | Waiter::Done(_) | Waiter::Count(_) | Waiter::Shared(_) => {
            match (std::mem::replace(&mut run.waiter, Waiter::Nobody), verdict) {
                (Waiter::Acceptance(id, sender), Verdict::Done) => {
                    told.push(Told::Acceptance(sender, Ok(Acceptance::plain(id))));
                }
                (Waiter::Acceptance(_, sender), Verdict::Accepted(accepted)) => {
                    told.push(Told::Acceptance(sender, Ok(Acceptance::from(*accepted))));
                }
                (Waiter::Acceptance(_, sender), Verdict::Refused(refusal)) => {
                    told.push(Told::Acceptance(sender, Err((*refusal).clone())));
                }
                (Waiter::Done(sender), Verdict::Refused(refusal)) => {
                    told.push(Told::Done(sender, Err((*refusal).clone())));
                }
                (Waiter::Done(sender), _) => told.push(Told::Done(sender, Ok(()))),
                (Waiter::Count(sender), Verdict::Refused(refusal)) => {
                    told.push(Told::Count(sender, Err((*refusal).clone())));
                }
                (Waiter::Count(sender), Verdict::Canceled(messages)) => {
                    told.push(Told::Count(sender, Ok(*messages)));
                }
                // It was done before the connection broke, and the count is lost with that.
                (Waiter::Count(sender), _) => told.push(Told::Count(sender, Ok(0))),
                (Waiter::Shared(sender), Verdict::Refused(refusal)) => {
                    told.push(Told::Shared(sender, Err((*refusal).clone())));
                }
                (Waiter::Shared(sender), _) => told.push(Told::Shared(sender, Ok(()))),
                _ => {}
            }
        }
        Waiter::Batch(outcome, _) => {
            outcome.count(place, answered, verdict_of(verdict));
            if run.unanswered == 0
                && let Waiter::Batch(outcome, sender) =
                    std::mem::replace(&mut run.waiter, Waiter::Nobody)
            {
                told.push(Told::Batch(sender, outcome));
            }
        }
    }
}

fn verdict_of<'a>(verdict: &Verdict<'a>) -> Result<Option<&'a Accepted>, &'a Refusal> {
    match verdict {
        Verdict::Done | Verdict::Canceled(_) => Ok(None),
        Verdict::Accepted(accepted) => Ok(Some(accepted)),
        Verdict::Refused(refusal) => Err(refusal),
    }
}
