//! Messages that recur.

use super::agent::Agent;
use super::messages::request;
use super::running::Running;
use tonic::Code;
use trunkline_proto::v1;
use trunkline_types::{Outcome, Payload, SCHEDULE_HEADER, ScheduleFilter};

fn schedule(name: &str, cron: &str) -> v1::Schedule {
    let publish = Some(request("count", "tick", false));
    v1::Schedule { name: name.into(), cron: cron.into(), zone: "UTC".into(), publish }
}

async fn names(server: &Running, filter: ScheduleFilter) -> Vec<String> {
    let ask = v1::ListSchedulesRequest::from(filter);
    let page = server.client().await.list_schedules(ask).await.unwrap().into_inner();
    page.schedules.into_iter().map(|info| info.schedule.unwrap().name).collect()
}

#[tokio::test]
async fn a_schedule_makes_messages_until_it_is_removed() {
    let server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let mut client = server.client().await;
    client.set_schedule(schedule("every-second", "* * * * * *")).await.unwrap();
    let delivery = agent.delivery().await;
    let envelope = &delivery.publish.envelope;
    assert_eq!(envelope.payload, Payload::text("tick"));
    let told = envelope.headers.iter().find(|(name, _)| name == SCHEDULE_HEADER);
    assert_eq!(told.unwrap().1, "every-second");
    agent.settle(delivery.token, Outcome::Complete { reply: None });

    let all = v1::ListSchedulesRequest::default();
    let page = client.list_schedules(all).await.unwrap().into_inner();
    let [info] = &page.schedules[..] else { panic!("{page:?}") };
    assert!(info.fired >= 1 && info.next_at_ms.is_some() && info.last.is_some(), "{info:?}");
    let stats = client.get_stats(v1::GetStatsRequest {}).await.unwrap().into_inner();
    assert!(stats.scheduled >= 1);

    let remove = v1::RemoveSchedule { name: "every-second".into() };
    client.remove_schedule(remove.clone()).await.unwrap();
    assert_eq!(names(&server, ScheduleFilter::default()).await, [""; 0]);
    assert_eq!(client.remove_schedule(remove).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn schedules_are_listed_in_order_and_one_that_never_fires_is_refused() {
    let server = Running::start().await;
    let mut client = server.client().await;
    for name in ["b", "c", "a"] {
        client.set_schedule(schedule(name, "0 3 1 1 *")).await.unwrap();
    }
    assert_eq!(names(&server, ScheduleFilter::default()).await, ["a", "b", "c"]);
    let after =
        ScheduleFilter { after: Some("a".parse().unwrap()), limit: 1, ..Default::default() };
    assert_eq!(names(&server, after).await, ["b"]);
    let one = ScheduleFilter { name: Some("c".parse().unwrap()), ..Default::default() };
    assert_eq!(names(&server, one).await, ["c"]);
    let never = client.set_schedule(schedule("never", "0 0 30 2 *")).await.unwrap_err();
    assert_eq!(never.code(), Code::InvalidArgument, "{never}");
    let nowhere = v1::Schedule { zone: "Mars/Phobos".into(), ..schedule("n", "0 3 * * *") };
    let status = client.set_schedule(nowhere).await.unwrap_err();
    assert!(status.message().contains("Mars/Phobos"), "{status}");
}
