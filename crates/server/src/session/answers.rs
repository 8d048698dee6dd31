//! Who waits for the answer to which operation of one session.
//!
//! Owns the numbering of operations, the waiters by their numbers, and the waiters for replies by
//! request. An operation may be answered long after later ones (a publish that waits outside a
//! full inbox), so what is kept is who waits, and not the numbers in between. A waiter that gave
//! up costs nothing once its operation is answered; a waiter for a reply is removed when it gives
//! up.

use std::collections::HashMap;
use tokio::sync::oneshot;
use trunkline_types::session::{Accepted, Canceled, Operation, Reply, SessionItem};
use trunkline_types::{Gathered, MessageId, Refusal, RefusalCode};

/// How an operation was answered.
pub(crate) type OperationAnswer = Result<More, Refusal>;

/// What there is to say of an operation that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum More {
    /// No more than that.
    Nothing,
    /// Of a publish.
    Accepted(Accepted),
    /// Of a cancel with descendants: how many messages were called off.
    Canceled(u32),
}

/// The waiters of one session.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The number of the next operation.
    next: u64,
    waiters: HashMap<u64, oneshot::Sender<OperationAnswer>>,
    /// Operations with numbers but not yet handed over; the last ones before `next`.
    unsent: Vec<Operation>,
    replies: HashMap<MessageId, Vec<ReplyWaiter>>,
    tickets: u64,
    /// Why the session is over, if it is.
    ended: Option<Refusal>,
}

#[derive(Debug)]
struct ReplyWaiter {
    ticket: u64,
    sender: oneshot::Sender<Ended>,
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// One that went to one agent.
    Reply(Reply),
    /// One that went to several.
    Gathered(Gathered),
}

/// What a request waits for.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The operation's answer.
    pub(crate) answer: oneshot::Receiver<OperationAnswer>,
    /// How the request ends.
    pub(crate) end: oneshot::Receiver<Ended>,
    /// Names the waiter when it gives up.
    pub(crate) ticket: u64,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            next: 1,
            waiters: HashMap::new(),
            unsent: Vec::new(),
            replies: HashMap::new(),
            tickets: 0,
            ended: None,
        }
    }
}

impl Answers {
    /// Numbers an operation and waits for its answer.
    pub(crate) fn add(
        &mut self,
        operation: Operation,
    ) -> Result<oneshot::Receiver<OperationAnswer>, Refusal> {
        if let Some(refusal) = &self.ended {
            return Err(refusal.clone());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiters.insert(self.next, sender);
        self.next += 1;
        self.unsent.push(operation);
        Ok(receiver)
    }

    /// Numbers a publish whose reply is wanted.
    pub(crate) fn add_request(
        &mut self,
        operation: Operation,
        request: MessageId,
    ) -> Result<Waiting, Refusal> {
        let answer = self.add(operation)?;
        let (sender, end) = oneshot::channel();
        self.tickets += 1;
        let ticket = self.tickets;
        self.replies.entry(request).or_default().push(ReplyWaiter { ticket, sender });
        Ok(Waiting { answer, end, ticket })
    }

    /// Takes at most so many operations that have not been handed over, with the number of the
    /// first one.
    pub(crate) fn take_unsent(&mut self, most: usize) -> Option<(u64, Vec<Operation>)> {
        if self.unsent.is_empty() {
            return None;
        }
        let first = self.next - self.unsent.len() as u64;
        let rest = self.unsent.split_off(self.unsent.len().min(most));
        Some((first, std::mem::replace(&mut self.unsent, rest)))
    }

    /// A waiter for the reply to `request` gives up.
    pub(crate) fn give_up(&mut self, request: MessageId, ticket: u64) {
        if let Some(waiters) = self.replies.get_mut(&request) {
            waiters.retain(|waiter| waiter.ticket != ticket);
            if waiters.is_empty() {
                self.replies.remove(&request);
            }
        }
    }

    /// Whether anybody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiters.is_empty() && self.replies.is_empty()
    }

    /// Why the session is over, if it is.
    pub(crate) fn ended(&self) -> Option<&Refusal> {
        self.ended.as_ref()
    }

    /// The session is over: everybody who waits is told.
    pub(crate) fn end(&mut self, refusal: Refusal) {
        for (_, waiter) in self.waiters.drain() {
            // Who gave up in the meantime needs no answer.
            let _ = waiter.send(Err(refusal.clone()));
        }
        self.replies.clear();
        self.unsent.clear();
        self.ended.get_or_insert(refusal);
    }

    /// Hands what came from the broker to who waits for it.
    pub(crate) fn settle(&mut self, item: SessionItem) {
        match item {
            SessionItem::Done { first, last } => {
                for number in first..=last {
                    self.answer(number, Ok(More::Nothing));
                }
            }
            SessionItem::Accepted(accepted) => {
                self.answer(accepted.operation, Ok(More::Accepted(accepted)));
            }
            SessionItem::Canceled(Canceled { operation, messages }) => {
                self.answer(operation, Ok(More::Canceled(messages)));
            }
            SessionItem::Refused { operation, refusal } => self.answer(operation, Err(refusal)),
            SessionItem::Reply(reply) => self.ended_request(reply.request, &Ended::Reply(reply)),
            SessionItem::Gathered(gathered) => {
                self.ended_request(gathered.request, &Ended::Gathered(gathered));
            }
            // What is in flight may still be answered, but nothing new is begun.
            SessionItem::GoAway { reason, .. } => {
                self.ended.get_or_insert(Refusal::new(RefusalCode::Draining, reason));
            }
            // How full an inbox is concerns who sends all the time; a call is told by a refusal.
            // Besides, the session has no card, no credit, no subscriptions and follows nothing.
            SessionItem::Pressure(_)
            | SessionItem::Delivery(_)
            | SessionItem::Event(_)
            | SessionItem::Task { .. }
            | SessionItem::Cancel { .. }
            | SessionItem::Agent(_)
            | SessionItem::Drain { .. } => {}
        }
    }

    fn ended_request(&mut self, request: MessageId, end: &Ended) {
        for waiter in self.replies.remove(&request).unwrap_or_default() {
            // Who gave up in the meantime needs no answer.
            let _ = waiter.sender.send(end.clone());
        }
    }

    fn answer(&mut self, number: u64, answer: OperationAnswer) {
        if let Some(waiter) = self.waiters.remove(&number) {
            let _ = waiter.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{Partition, Payload};

    fn id(unique: u64) -> MessageId {
        MessageId::from_parts(1, Partition(0), unique)
    }

    fn cancel() -> Operation {
        Operation::Cancel { id: id(1), reason: String::new(), descendants: false }
    }

    fn reply(request: MessageId) -> SessionItem {
        SessionItem::Reply(Reply { request, agent: None, result: Ok(Payload::text("yes")) })
    }

    #[test]
    fn numbers_have_no_gaps_and_answers_find_their_waiters_in_any_order() {
        let mut answers = Answers::default();
        let mut first = answers.add(cancel()).unwrap();
        let mut second = answers.add(cancel()).unwrap();
        assert_eq!(answers.take_unsent(1).unwrap().0, 1);
        let mut third = answers.add(cancel()).unwrap();
        let (number, operations) = answers.take_unsent(9).unwrap();
        assert_eq!((number, operations.len()), (2, 2));
        assert!(answers.take_unsent(9).is_none());

        let refusal = Refusal::new(RefusalCode::NotFound, "no such task");
        answers.settle(SessionItem::Refused { operation: 2, refusal: refusal.clone() });
        assert_eq!(second.try_recv().unwrap(), Err(refusal));
        assert!(first.try_recv().is_err());
        answers.settle(SessionItem::Done { first: 1, last: 3 });
        assert_eq!(first.try_recv().unwrap(), Ok(More::Nothing));
        assert_eq!(third.try_recv().unwrap(), Ok(More::Nothing));
        assert!(answers.is_idle());
        answers.add(cancel()).unwrap();
        assert_eq!(answers.take_unsent(9).unwrap().0, 4);
    }

    #[test]
    fn one_that_is_answered_late_costs_what_one_costs() {
        let mut answers = Answers::default();
        let mut late = answers.add(cancel()).unwrap();
        for number in 2..1_000 {
            answers.add(cancel()).unwrap();
            answers.settle(SessionItem::Done { first: number, last: number });
        }
        assert_eq!(answers.waiters.len(), 1);
        answers.settle(SessionItem::Done { first: 1, last: 1 });
        assert_eq!(late.try_recv().unwrap(), Ok(More::Nothing));
    }

    #[test]
    fn a_reply_goes_to_all_who_wait_for_it() {
        let mut answers = Answers::default();
        let mut one = answers.add_request(cancel(), id(1)).unwrap();
        let mut two = answers.add_request(cancel(), id(1)).unwrap();
        answers.settle(SessionItem::Done { first: 1, last: 2 });
        answers.settle(reply(id(1)));
        assert_eq!(one.end.try_recv().unwrap(), two.end.try_recv().unwrap());
        assert!(answers.is_idle());
    }

    #[test]
    fn who_gives_up_leaves_nothing_behind() {
        let mut answers = Answers::default();
        let kept = answers.add_request(cancel(), id(1)).unwrap();
        let gone = answers.add_request(cancel(), id(1)).unwrap();
        answers.settle(SessionItem::Done { first: 1, last: 2 });
        answers.give_up(id(1), gone.ticket);
        assert!(!answers.is_idle());
        answers.give_up(id(1), kept.ticket);
        assert!(answers.is_idle());
    }

    #[test]
    fn the_end_is_told_to_everybody_now_and_later() {
        let mut answers = Answers::default();
        let mut waiting = answers.add_request(cancel(), id(1)).unwrap();
        answers.settle(SessionItem::GoAway { reason: "draining".into(), reconnect: true });
        assert_eq!(answers.add(cancel()).unwrap_err().message, "draining");
        assert!(waiting.answer.try_recv().is_err());
        answers.end(Refusal::new(RefusalCode::Unavailable, "closed"));
        assert_eq!(waiting.answer.try_recv().unwrap().unwrap_err().message, "closed");
        assert!(waiting.end.try_recv().is_err());
        assert_eq!(answers.add(cancel()).unwrap_err().message, "draining");
        assert!(answers.is_idle());
    }
}
