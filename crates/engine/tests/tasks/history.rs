//! What was said in a task and in a conversation.

use super::task;
use crate::stage::{Peer, Stage, config, deliveries, millis, settle};
use trunkline_types::session::Operation;
use trunkline_types::{
    Answer, History, MessageId, Outcome, PauseReason, Payload, Publish, Query, RefusalCode, Role,
    Token,
};

fn said_in_task(stage: &mut Stage, id: MessageId, history_length: Option<u32>) -> History {
    match stage.query(Query::Task { id, history_length }) {
        Ok(Answer::Task(task)) => task.history,
        other => panic!("{other:?}"),
    }
}

fn said_in_context(stage: &mut Stage, id: &str, history_length: Option<u32>) -> History {
    match stage.query(Query::Context { id: id.parse().unwrap(), history_length }) {
        Ok(Answer::Context(context)) => context.history,
        other => panic!("{other:?}"),
    }
}

fn texts(history: &History) -> Vec<(Role, String)> {
    let text = |payload: &Payload| payload.to_text().into_owned();
    history.messages.iter().map(|message| (message.role, text(&message.payload))).collect()
}

fn pause(stage: &mut Stage, agent: &mut Peer, token: Token, question: &str) {
    let (reason, message) = (PauseReason::Input, Some(question.into()));
    stage.ask(agent, settle(token, Outcome::Pause { reason, message })).unwrap();
}

fn of_context(stage: &mut Stage, context: &str, text: &str) -> Publish {
    let mut publish = task(stage, "skill:s");
    publish.envelope.context_id = Some(context.parse().unwrap());
    publish.envelope.payload = text.into();
    publish
}

/// A task in which everything was said that can be.
fn talk(stage: &mut Stage) -> MessageId {
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let publish = of_context(stage, "order-7", "count this");
    let id = publish.envelope.id;
    let sent = stage.publish(&mut client, &publish).unwrap();
    pause(stage, &mut agent, deliveries(&sent)[0].token, "in which language?");
    let payload = "french".into();
    let again = stage.ask(&mut client, Operation::Continue { task: id, payload }).unwrap();
    stage.complete(&mut agent, deliveries(&again)[0].token, "42");
    id
}

#[test]
fn a_task_shows_as_many_of_its_latest_messages_as_are_asked_for() {
    let mut stage = Stage::new(config());
    let id = talk(&mut stage);
    let all = said_in_task(&mut stage, id, None);
    let expected = [
        (Role::Caller, "count this"),
        (Role::Agent, "in which language?"),
        (Role::Caller, "french"),
        (Role::Agent, "42"),
    ];
    assert_eq!(texts(&all), expected.map(|(role, text)| (role, text.to_owned())));
    assert!(!all.more);
    let agent = all.messages[1].from.as_ref().map(ToString::to_string);
    assert_eq!(agent.as_deref(), Some("a"));
    let two = said_in_task(&mut stage, id, Some(2));
    assert_eq!((&two.messages[..], two.more), (&all.messages[2..], true));
    assert_eq!(said_in_task(&mut stage, id, Some(4)), all);
    assert_eq!(said_in_task(&mut stage, id, Some(0)), History::default());
    let mut stage = stage.restarted(millis(1));
    assert_eq!(said_in_task(&mut stage, id, None), all, "the log tells the same");
}

#[test]
fn a_conversation_shows_the_messages_of_all_its_tasks_in_order_of_time() {
    let mut stage = Stage::new(config());
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let [first, second] = ["one", "two"].map(|text| of_context(&mut stage, "order-7", text));
    let other = of_context(&mut stage, "order-8", "three");
    let mut tokens = Vec::new();
    for publish in [&first, &second, &other] {
        let sent = stage.publish(&mut client, publish).unwrap();
        tokens.push(deliveries(&sent)[0].token);
        stage.pass(millis(1));
    }
    // The older task is the last in which something is said.
    stage.complete(&mut agent, tokens[1], "to two");
    stage.pass(millis(1));
    stage.complete(&mut agent, tokens[0], "to one");
    let all = said_in_context(&mut stage, "order-7", None);
    let said: Vec<_> = texts(&all).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["one", "two", "to two", "to one"]);
    let last = said_in_context(&mut stage, "order-7", Some(1));
    assert_eq!((&last.messages[..], last.more), (&all.messages[3..], true));
    assert_eq!(last.messages[0].task, first.envelope.id);
    let Ok(Answer::Context(context)) =
        stage.query(Query::Context { id: "order-7".parse().unwrap(), history_length: Some(0) })
    else {
        panic!("the conversation is known")
    };
    assert_eq!((context.tasks, context.tasks_open), (2, 0));
    assert_eq!(context.history, History::default());
    let unknown = Query::Context { id: "order-9".parse().unwrap(), history_length: None };
    assert_eq!(stage.query(unknown).unwrap_err().code, RefusalCode::NotFound);
}

#[test]
fn a_history_ends_where_it_has_as_many_bytes_as_it_may() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let large = "x".repeat(1 << 20);
    for _ in 0..6 {
        let publish = of_context(&mut stage, "order-7", &large);
        stage.publish(&mut client, &publish).unwrap();
    }
    let said = said_in_context(&mut stage, "order-7", None);
    assert_eq!((said.messages.len(), said.more), (3, true));
}
