//! Queries, and who asks them.

use crate::broker::{FakeBroker, id};
use crate::service::{inbox, message};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::session::Connector;
use trunkline_types::{
    AgentFilter, AgentPage, Answer, DeadLetterFilter, DeadLetterPage, InboxAddress, Query,
    RefusalCode, ScheduleFilter, SchedulePage, TaskFilter,
};

#[tokio::test]
async fn each_question_gets_its_answer() {
    let broker = FakeBroker::start().await;
    let client = Client::new(&broker.config().principal("alice")).unwrap();
    let unknown = client.query(Query::task(id(9))).await.unwrap_err();
    assert_eq!(unknown.code, RefusalCode::NotFound);
    assert_eq!(unknown.message, format!("task {} is unknown", id(9)));
    let filter = TaskFilter { before: Some(id(3)), ..TaskFilter::default() };
    let Answer::Tasks(page) = client.query(Query::Tasks(filter)).await.unwrap() else {
        panic!("no page")
    };
    assert_eq!(page.next, Some(id(3)));
    let talk = Query::Context { id: "talk".parse().unwrap(), history_length: Some(3) };
    let Answer::Context(context) = client.query(talk).await.unwrap() else {
        panic!("no conversation")
    };
    assert_eq!((context.id.as_str(), context.tasks), ("talk", 3));
    let Answer::Stats(stats) = client.query(Query::Stats).await.unwrap() else {
        panic!("no figures")
    };
    assert_eq!(stats.epoch, 7);
    let agents = client.query(Query::Agents(AgentFilter::default())).await;
    assert_eq!(agents, Ok(Answer::Agents(AgentPage::default())));
    let letters = client.query(Query::DeadLetters(DeadLetterFilter::default())).await;
    assert_eq!(letters, Ok(Answer::DeadLetters(DeadLetterPage::default())));
    assert_eq!(
        client.query(Query::Message(id(4))).await,
        Ok(Answer::Message(Box::new(message(id(4)))))
    );
    let address = InboxAddress::Skill("count".parse().unwrap());
    assert_eq!(
        client.query(Query::Inbox(address.clone())).await,
        Ok(Answer::Inbox(Box::new(inbox(address))))
    );
    let after = Some("nightly".parse().unwrap());
    let filter = ScheduleFilter { after: after.clone(), ..ScheduleFilter::default() };
    let schedules = client.query(Query::Schedules(filter)).await;
    let page = SchedulePage { schedules: Vec::new(), next: after };
    assert_eq!(schedules, Ok(Answer::Schedules(page)));
    let alice = Some("alice".to_owned());
    assert_eq!(*broker.script.principals.lock(), [alice.clone(), alice]);
}

#[tokio::test]
async fn a_session_says_who_opens_it() {
    let mut broker = FakeBroker::start().await;
    let _session = broker.session(&broker.config()).await;
    let _session = broker.session(&broker.config().principal("bob")).await;
    assert_eq!(*broker.script.principals.lock(), [None, Some("bob".to_owned())]);
    let _session = broker.session(&broker.config().tenant("acme".parse().unwrap())).await;
    assert_eq!(*broker.script.tenants.lock(), [None, None, Some("acme".to_owned())]);
}

#[test]
fn malformed_settings_are_named() {
    for url in ["", "nonsense", "https://127.0.0.1:7420", "ftp://x", "http://"] {
        let refusal = Client::new(&ClientConfig::new(url)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Invalid);
        assert!(refusal.message.contains(&format!("'{url}'")), "{refusal}");
    }
    let url = "http://localhost:1";
    let second = std::time::Duration::from_secs(1);
    let zero = std::time::Duration::ZERO;
    let settings = || ClientConfig::new(url);
    for (config, message) in [
        (ClientConfig { max_outstanding: 0, ..settings() }, "max_outstanding is 0, the range is 1"),
        (
            ClientConfig { backoff_min: zero, backoff_max: zero, ..settings() },
            "backoff_min is 0ns, the range is 1ms to backoff_max",
        ),
        (
            ClientConfig { backoff_min: 2 * second, backoff_max: second, ..settings() },
            "backoff_min is 2s, the range is 1ms to backoff_max, which is 1s",
        ),
        (ClientConfig { backoff_max: 90_000 * second, ..settings() }, "backoff_max is 90000s"),
        (ClientConfig { connect_timeout: zero, ..settings() }, "connect_timeout is 0ns"),
    ] {
        let refusal = Client::new(&config).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Invalid);
        assert!(refusal.message.starts_with(message), "{refusal}");
    }
    let config = settings().principal("a\nb");
    assert!(Client::new(&config).unwrap_err().message.contains("principal"));
}
