//! What is left of each operation whose confirmation was seen when the process is killed and when
//! the power fails: after a kill all that was written, after a power failure what was flushed, and
//! of the rest nothing, or each of its sectors or not. Nothing is flushed here that nobody waits
//! for.

use crate::common::stop::{open, stops};
use crate::common::{Peer, card, get, hello, new_id, task};
use trunkline_broker::Broker;
use trunkline_log::MemoryDisk;
use trunkline_types::session::{
    Connector, Hello, LetterAddress, Operation, Redrive, SessionItem, Update, UpdateBody,
};
use trunkline_types::{
    AgentFilter, Answer, ArtifactChunk, DeadLetterFilter, Destination, Durability, Envelope, Kind,
    MessageId, Outcome, PauseReason, Publish, Query, RefusalCode, TaskEvent, TaskEventBody,
    TaskState, TaskUpdate, Token,
};

const LOGGED: [Durability; 2] = [Durability::Synced, Durability::Buffered];

fn work(level: Durability) -> Publish {
    let mut work = task("s", "to be or not to be");
    work.options.durability = Some(level);
    work
}

fn event(level: Durability, payload: &str) -> Publish {
    let to = Destination::Topic("t".parse().unwrap());
    let mut event = Publish::new(Envelope::new(new_id(), Kind::Event, to, payload.into()));
    event.options.durability = Some(level);
    event
}

async fn sender(broker: &Broker) -> Peer {
    Peer::open(broker, hello(1, None)).await.unwrap()
}

async fn agent(broker: &Broker) -> Peer {
    Peer::open(broker, hello(2, Some(card("a", "s")))).await.unwrap()
}

/// An agent that comes back and still holds what it was given.
async fn back(broker: &Broker, token: Token) -> Peer {
    let mut hello = hello(2, Some(card("a", "s")));
    hello.held = vec![token];
    Peer::open(broker, hello).await.unwrap()
}

async fn settle(agent: &mut Peer, token: Token, outcome: Outcome) {
    let number = agent.settle(token, outcome);
    agent.answer(number).await.unwrap();
}

async fn complete(agent: &mut Peer, token: Token) {
    settle(agent, token, Outcome::Complete { reply: Some("42".into()) }).await;
}

/// Does something, and waits until it is confirmed.
async fn ask(peer: &mut Peer, operation: Operation) {
    let number = peer.send(operation);
    peer.answer(number).await.unwrap();
}

/// The state of a task, shown only once it is on disk: everything up to here is flushed.
async fn flushed(broker: &Broker, id: MessageId) -> TaskState {
    get(broker, id).await.unwrap().state
}

async fn letters(broker: &Broker) -> Vec<MessageId> {
    let asked = broker.query(Query::DeadLetters(DeadLetterFilter::default())).await.unwrap();
    let Answer::DeadLetters(page) = asked else { panic!("{asked:?}") };
    page.letters.into_iter().map(|letter| letter.publish.envelope.id).collect()
}

#[tokio::test]
async fn accepted_buffered_work_is_whole_or_gone_after_a_power_failure_and_said_again_is_there_once()
 {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut client = sender(&broker).await;
        let sent = work(level);
        let id = sent.envelope.id;
        client.publish(sent.clone()).await.unwrap();
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            match get(&broker, id).await {
                Ok(task) => {
                    assert!(stop.judged(true));
                    assert_eq!(task.state, TaskState::Submitted);
                }
                Err(refusal) => {
                    assert!(!stop.judged(false));
                    assert_eq!(refusal.code, RefusalCode::NotFound);
                }
            }
            // Its sender has not heard of it, and says it again under the same number.
            sender(&broker).await.publish(sent.clone()).await.unwrap();
            let delivery = agent(&broker).await.delivery().await;
            assert_eq!(delivery.publish.envelope, sent.envelope);
            assert_eq!(delivery.backlog, 0, "there is only one");
            stop.works_on(&broker).await;
        }
    }
}

#[tokio::test]
async fn a_lease_that_was_not_flushed_is_kept_or_its_work_is_delivered_again() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut greeting = hello(2, Some(card("a", "s")));
        greeting.credit.deliveries = 0;
        let mut holder = Peer::open(&broker, greeting).await.unwrap();
        let sent = work(level);
        let id = sent.envelope.id;
        let mut client = sender(&broker).await;
        client.publish(sent).await.unwrap();
        assert_eq!(flushed(&broker, id).await, TaskState::Submitted);
        let credit = trunkline_types::session::Credit { deliveries: 1, events: 1 };
        holder.connection.send(trunkline_types::session::ClientFrame::Credit(credit));
        let held = holder.delivery().await;
        // Written are its lease and this, which is confirmed then; flushed is neither.
        let mut later = task("nobody", "later");
        later.options.durability = Some(Durability::Buffered);
        client.publish(later).await.unwrap();
        for stop in stops(&disk, Durability::Buffered) {
            let broker = stop.open().await;
            let mut holder = back(&broker, held.token).await;
            let token = if stop.judged(holder.welcome.revoked.is_empty()) {
                held.token
            } else {
                assert_eq!(holder.welcome.revoked, [held.token]);
                let again = holder.delivery().await;
                assert_eq!(again.publish.envelope.id, id);
                assert!(again.token > held.token, "a token never comes twice");
                let late = holder.settle(held.token, Outcome::Complete { reply: None });
                let refusal = holder.answer(late).await.unwrap_err();
                assert_eq!(refusal.code, RefusalCode::StaleToken);
                again.token
            };
            complete(&mut holder, token).await;
            let task = get(&broker, id).await.unwrap();
            assert_eq!((task.state, task.attempts), (TaskState::Completed, 1));
            stop.works_on(&broker).await;
        }
        // Once it is on disk it is kept.
        assert_eq!(flushed(&broker, id).await, TaskState::Working);
        for stop in stops(&disk, Durability::Synced) {
            let broker = stop.open().await;
            let holder = back(&broker, held.token).await;
            assert!(stop.judged(holder.welcome.revoked.is_empty()));
        }
    }
}

#[tokio::test]
async fn a_buffered_settlement_stays_or_is_taken_back_and_the_work_is_done_again() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut worker = agent(&broker).await;
        let sent = work(level);
        let id = sent.envelope.id;
        sender(&broker).await.publish(sent).await.unwrap();
        let held = worker.delivery().await;
        assert_eq!(flushed(&broker, id).await, TaskState::Working);
        complete(&mut worker, held.token).await;
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            let task = get(&broker, id).await.unwrap();
            if !stop.judged(task.state == TaskState::Completed) {
                assert_eq!((task.state, task.result), (TaskState::Working, None));
                // The agent was told that it is settled, and holds nothing.
                let mut worker = agent(&broker).await;
                let again = worker.delivery().await;
                assert_eq!(again.publish.envelope.id, id);
                complete(&mut worker, again.token).await;
            }
            let task = get(&broker, id).await.unwrap();
            assert_eq!(task.state, TaskState::Completed);
            assert_eq!(task.result.unwrap().to_text(), "42");
            stop.works_on(&broker).await;
        }
    }
}

/// Follows a task from its beginning to its end, if it has ended.
/// All events of a task that ends.
async fn followed(peer: &mut Peer, id: MessageId) -> Vec<TaskEvent> {
    ask(peer, Operation::Watch { task: id, after: 0 }).await;
    let mut events: Vec<TaskEvent> = Vec::new();
    loop {
        let event = peer.find(|item| match item {
            SessionItem::Task { update: TaskUpdate::Event(event), .. } => Some(event.clone()),
            _ => None,
        });
        let event = event.await;
        let ended =
            matches!(event.body, TaskEventBody::Status { state, .. } if state.is_terminal());
        events.push(event);
        if ended {
            return events;
        }
    }
}

#[tokio::test]
async fn what_a_follower_was_shown_is_never_taken_back_however_durable_the_task_is() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut worker = agent(&broker).await;
        let mut client = sender(&broker).await;
        let sent = work(level);
        let id = sent.envelope.id;
        client.publish(sent).await.unwrap();
        let held = worker.delivery().await;
        complete(&mut worker, held.token).await;
        let shown = followed(&mut client, id).await;
        for stop in stops(&disk, Durability::Synced) {
            let broker = stop.open().await;
            let mut client = Peer::open(&broker, hello(4, None)).await.unwrap();
            let again = followed(&mut client, id).await;
            assert!(stop.judged(again == shown));
            assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Completed);
        }
    }
}

#[tokio::test]
async fn a_key_that_was_not_flushed_is_found_again_or_free_again_after_a_power_failure() {
    for level in [Durability::Synced, Durability::Buffered, Durability::Ephemeral] {
        let keyed = || {
            let mut work = work(level);
            work.envelope.idempotency_key = Some("order-7".parse().unwrap());
            work
        };
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let first = keyed();
        sender(&broker).await.publish(first.clone()).await.unwrap();
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            // Somebody else sends another message under the key.
            let mut client = Peer::open(&broker, hello(3, None)).await.unwrap();
            let second = keyed();
            let accepted = client.publish(second.clone()).await.unwrap();
            let duplicate = accepted.filter(|accepted| accepted.duplicate);
            let there = match (stop.judged(duplicate.is_some()), level) {
                (false, _) => vec![second.envelope.id],
                // The key outlived the work.
                (true, Durability::Ephemeral) => vec![],
                (true, _) => vec![first.envelope.id],
            };
            assert!(duplicate.is_none_or(|accepted| accepted.id == first.envelope.id));
            for id in [first.envelope.id, second.envelope.id] {
                assert_eq!(get(&broker, id).await.is_ok(), there.contains(&id), "{level}");
            }
            stop.works_on(&broker).await;
        }
    }
}

#[tokio::test]
async fn a_buffered_cancellation_stays_or_is_taken_back() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut client = sender(&broker).await;
        let sent = work(level);
        let id = sent.envelope.id;
        client.publish(sent).await.unwrap();
        assert_eq!(flushed(&broker, id).await, TaskState::Submitted);
        let cancel = || Operation::Cancel { id, reason: "enough".into(), descendants: false };
        ask(&mut client, cancel()).await;
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            let state = get(&broker, id).await.unwrap().state;
            if !stop.judged(state == TaskState::Canceled) {
                assert_eq!(state, TaskState::Submitted);
                let mut client = Peer::open(&broker, hello(3, None)).await.unwrap();
                ask(&mut client, cancel()).await;
                assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Canceled);
            }
            stop.works_on(&broker).await;
        }
    }
}

#[tokio::test]
async fn a_buffered_continuation_stays_or_is_taken_back() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut client = sender(&broker).await;
        let mut worker = agent(&broker).await;
        let sent = work(level);
        let id = sent.envelope.id;
        client.publish(sent).await.unwrap();
        let held = worker.delivery().await;
        let pause = Outcome::Pause { reason: PauseReason::Input, message: None };
        settle(&mut worker, held.token, pause).await;
        // So that it is not delivered at once, by which it would be flushed or not.
        worker.connection.close();
        assert_eq!(flushed(&broker, id).await, TaskState::InputRequired);
        let go_on = || Operation::Continue { task: id, payload: "go on".into() };
        ask(&mut client, go_on()).await;
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            let state = get(&broker, id).await.unwrap().state;
            if !stop.judged(state != TaskState::InputRequired) {
                let mut client = Peer::open(&broker, hello(3, None)).await.unwrap();
                ask(&mut client, go_on()).await;
            }
            let mut worker = agent(&broker).await;
            let again = worker.delivery().await;
            assert_eq!(again.publish.envelope.id, id);
            let said: Vec<_> = again.messages.iter().map(|it| it.to_text()).collect();
            assert_eq!(said, ["go on"], "said once");
            complete(&mut worker, again.token).await;
            stop.works_on(&broker).await;
        }
    }
}

#[tokio::test]
async fn a_buffered_redrive_stays_or_is_taken_back_and_the_letter_is_there_again() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut client = sender(&broker).await;
        let mut worker = agent(&broker).await;
        let sent = work(level);
        let letter = sent.envelope.id;
        client.publish(sent).await.unwrap();
        let held = worker.delivery().await;
        settle(&mut worker, held.token, Outcome::DeadLetter { reason: "cannot".into() }).await;
        worker.connection.close();
        assert_eq!(letters(&broker).await, [letter]);
        flushed(&broker, letter).await;
        let redrive = |id| {
            let letter = LetterAddress::from(letter);
            let redrive = Redrive { letter, id, payload: None, destination: None, priority: None };
            Operation::Redrive(Box::new(redrive))
        };
        let id = new_id();
        ask(&mut client, redrive(id)).await;
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            if !stop.judged(get(&broker, id).await.is_ok()) {
                assert_eq!(letters(&broker).await, [letter]);
                let mut client = Peer::open(&broker, hello(3, None)).await.unwrap();
                ask(&mut client, redrive(new_id())).await;
            }
            // One or the other, and never both.
            assert_eq!(letters(&broker).await, []);
            let delivery = agent(&broker).await.delivery().await;
            assert_eq!(delivery.backlog, 0);
            stop.works_on(&broker).await;
        }
    }
}

#[tokio::test]
async fn an_artifact_outlives_a_kill_and_may_be_taken_back_whole_by_a_power_failure() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut client = sender(&broker).await;
        let mut worker = agent(&broker).await;
        let sent = work(level);
        let id = sent.envelope.id;
        client.publish(sent).await.unwrap();
        let held = worker.delivery().await;
        assert_eq!(flushed(&broker, id).await, TaskState::Working);
        let chunk = ArtifactChunk {
            name: "notes".into(),
            append: true,
            last: false,
            payload: "words".into(),
        };
        let body = UpdateBody::Artifact(chunk.clone());
        ask(&mut worker, Operation::Update(Update { token: held.token, body })).await;
        // Its confirmation waits for no flush, whatever the task's does.
        for stop in stops(&disk, Durability::Buffered) {
            let broker = stop.open().await;
            // With the number behind that of the artifact.
            let mut back = hello(2, Some(card("a", "s")));
            (back.held, back.next_operation) = (vec![held.token], 2);
            let mut worker = Peer::open(&broker, back).await.unwrap();
            complete(&mut worker, held.token).await;
            let mut client = Peer::open(&broker, hello(4, None)).await.unwrap();
            let events = followed(&mut client, id).await;
            let kept = events.iter().filter_map(|event| match &event.body {
                TaskEventBody::Artifact(chunk) => Some(chunk),
                _ => None,
            });
            let kept: Vec<_> = kept.collect();
            assert!(kept.len() <= 1 && kept.iter().all(|kept| **kept == chunk), "{kept:?}");
            stop.judged(!kept.is_empty());
            assert!(events.iter().map(|event| event.number).eq(1..=events.len() as u64));
        }
    }
}

#[tokio::test]
async fn an_answer_is_awaited_over_a_stop_unless_the_request_itself_is_gone() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut caller = sender(&broker).await;
        let mut request = work(level);
        request.options.reply = true;
        let id = request.envelope.id;
        caller.publish(request).await.unwrap();
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            let back = Hello { next_operation: 2, ..hello(1, None) };
            let mut caller = Peer::open(&broker, back).await.unwrap();
            if stop.judged(get(&broker, id).await.is_ok()) {
                let mut worker = agent(&broker).await;
                let held = worker.delivery().await;
                complete(&mut worker, held.token).await;
                let reply = caller.find(|item| match item {
                    SessionItem::Reply(reply) => Some(reply.clone()),
                    _ => None,
                });
                let reply = reply.await;
                assert_eq!(reply.request, id);
                assert_eq!(reply.result.unwrap().to_text(), "42");
            }
            stop.works_on(&broker).await;
        }
    }
}

#[tokio::test]
async fn a_logged_event_waits_for_an_agent_over_a_kill_and_comes_once_if_at_all() {
    for level in LOGGED {
        let disk = MemoryDisk::new();
        let broker = open(&disk).await;
        let mut subscriber = agent(&broker).await;
        let mut wanted = trunkline_types::session::Subscription::new("t".parse().unwrap());
        wanted.durable = true;
        ask(&mut subscriber, Operation::Subscribe(wanted)).await;
        drop(subscriber);
        let mut client = sender(&broker).await;
        client.publish(event(level, "first")).await.unwrap();
        for stop in stops(&disk, level) {
            let broker = stop.open().await;
            let mut client = Peer::open(&broker, hello(3, None)).await.unwrap();
            client.publish(event(Durability::Synced, "second")).await.unwrap();
            let mut subscriber = agent(&broker).await;
            let mut came = Vec::new();
            while came.last().is_none_or(|last| last != "second") {
                let delivery = subscriber.delivery().await;
                came.push(delivery.publish.envelope.payload.to_text().into_owned());
                settle(&mut subscriber, delivery.token, Outcome::Complete { reply: None }).await;
            }
            let there = stop.judged(came.len() > 1);
            assert_eq!(came, if there { vec!["first", "second"] } else { vec!["second"] });
        }
    }
}

#[tokio::test]
async fn an_agent_that_was_welcomed_is_registered_after_a_power_failure() {
    let disk = MemoryDisk::new();
    let broker = open(&disk).await;
    let _agent = agent(&broker).await;
    for stop in stops(&disk, Durability::Synced) {
        let broker = stop.open().await;
        let asked = broker.query(Query::Agents(AgentFilter::default())).await.unwrap();
        let Answer::Agents(page) = asked else { panic!("{asked:?}") };
        let found: Vec<_> = page.agents.iter().map(|agent| agent.card.clone()).collect();
        assert!(stop.judged(found == [card("a", "s"), card("y", "first")]));
    }
}
