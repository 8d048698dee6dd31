//! Lists of tasks.

use super::bench::{Bench, always, said};
use super::far::{Far, React, shown};
use super::own::native;
use serde_json::{Value, json};
use trunkline_agent::Host;
use trunkline_proto::v1;
use trunkline_types::MessageId;

async fn sent(bench: &Bench, context: &str, text: &str) -> String {
    let mut message = said(text);
    message["contextId"] = json!(context);
    let task = bench.rpc("SendMessage", json!({ "message": message })).await;
    task["result"]["task"]["id"].as_str().unwrap().to_owned()
}

fn ids(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().unwrap();
    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_has_what_changed_last_first_in_pages_with_the_total() {
    let bench = Bench::start().await;
    let asked = sent(&bench, "c", "ask").await;
    let mut done = Vec::new();
    for _ in 0..4 {
        done.push(sent(&bench, "c", "x").await);
    }
    // What was begun first has changed last.
    let message = super::bench::answered(&asked, "go");
    bench.rpc("SendMessage", json!({ "message": message })).await;
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let params = json!({"contextId": "c", "pageSize": 2, "pageToken": token});
        let page = bench.rpc("ListTasks", params).await["result"].clone();
        assert_eq!((&page["totalSize"], &page["pageSize"]), (&json!(5), &json!(2)));
        found.extend(ids(&page));
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    let times = |id: &String| {
        let params = json!({ "id": id });
        async { bench.rpc("GetTask", params).await["result"]["status"]["timestamp"].to_string() }
    };
    let mut all = Vec::new();
    for id in &found {
        all.push(times(id).await);
    }
    assert!(all.is_sorted_by(|one, next| one >= next), "{all:?}");
    // Another may have ended in the same millisecond.
    let place = found.iter().position(|id| *id == asked).unwrap();
    assert_eq!(all[place], all[0], "{found:?}");
}

#[tokio::test]
async fn every_filter_narrows_the_list() {
    let bench = Bench::start().await;
    let (one, two) = (sent(&bench, "a", "x").await, sent(&bench, "b", "fail").await);
    let list = async |query: &str| {
        let path = format!("/agents/helper/tasks?{query}");
        let answer = bench.rest("GET", &path, &json!(null)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    assert_eq!(ids(&list("contextId=a").await), [one.as_str()]);
    assert_eq!(ids(&list("status=TASK_STATE_FAILED").await), [two.as_str()]);
    assert_eq!(ids(&list("pageSize=100").await).len(), 2);
    assert_eq!(list("contextId=none").await["totalSize"], 0);
    let task = bench.rpc("GetTask", json!({ "id": two })).await;
    let at = task["result"]["status"]["timestamp"].as_str().unwrap();
    assert!(ids(&list(&format!("statusTimestampAfter={at}")).await).contains(&two));
    let later = "2999-01-01T00:00:00Z";
    let none = list(&format!("statusTimestampAfter={later}")).await;
    assert_eq!((&none["tasks"], &none["nextPageToken"]), (&json!([]), &json!("")));
    let other = bench.broker.agent("other").skill("else", always).start().await.unwrap();
    let others = bench.rest("GET", "/agents/other/tasks", &json!(null)).await.json();
    assert_eq!(others["totalSize"], 0);
    drop(other);
}

#[tokio::test]
async fn artifacts_and_messages_are_listed_only_if_they_are_wanted() {
    let bench = Bench::start().await;
    sent(&bench, "a", "write").await;
    let list = async |params: Value| {
        let page = bench.rpc("ListTasks", params).await["result"].clone();
        page["tasks"][0].clone()
    };
    let plain = list(json!({})).await;
    assert!(plain.get("artifacts").is_none() && plain.get("history").is_none(), "{plain}");
    let full = list(json!({"includeArtifacts": true, "historyLength": 5})).await;
    assert_eq!(full["artifacts"][0]["artifactId"], "out");
    assert_eq!(full["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_message_does_not_hide_the_others() {
    let bench = Bench::start().await;
    sent(&bench, "a", "x").await;
    let body = json!({ "message": said("nonsense") });
    bench.rest("POST", "/agents/helper/message:send", &body).await;
    let page = bench.rpc("ListTasks", json!({})).await;
    assert_eq!(page["result"]["tasks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_set_about_agents_elsewhere_is_no_task_of_a_client() {
    let bench = Bench::start().await;
    let far = Far::start(|_, _, _| React::Status(404)).await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let done = sent(&bench, "c", "x").await;
    let listed = bench.rest("GET", "/tasks", &Value::Null).await.json();
    assert_eq!((ids(&listed), &listed["totalSize"]), (vec![done], &json!(1)), "{listed}");
    let filter = v1::ListTasksRequest { agent: Some("a2a-proxy".into()), ..Default::default() };
    let own = native(&bench).await.list_tasks(filter).await.unwrap().into_inner();
    let id = MessageId::from_bytes(own.tasks[0].id[..].try_into().unwrap()).unwrap();
    let told = bench.rest("GET", &format!("/tasks/{id}"), &Value::Null).await;
    assert_eq!(told.status, 404, "{}", told.text());
}

#[tokio::test]
async fn the_tasks_of_an_agent_that_is_gone_are_read_and_listed_by_its_id() {
    let bench = Bench::start().await;
    let far = Far::plain(|_, _, _| React::Result(shown("COMPLETED", &["done"]))).await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let id = bench.far("x").await["id"].as_str().unwrap().to_owned();
    assert_eq!(bench.raw("DELETE", "/api/v1/agents/far", &[], "").await.status, 204);
    let list = async |path: &str| bench.rest("GET", path, &Value::Null).await;
    assert_eq!(list(&format!("/agents/far/tasks/{id}")).await.status, 200);
    let listed = list("/agents/far/tasks").await.json();
    assert_eq!((ids(&listed), &listed["totalSize"]), (vec![id], &json!(1)), "{listed}");
    let none = list("/agents/far/tasks?status=TASK_STATE_FAILED").await;
    assert_eq!((none.status, &none.json()["totalSize"]), (200, &json!(0)), "{}", none.text());
    // Nothing is known of one that never was, nor is of the broker's own.
    for path in ["/agents/nobody/tasks", "/agents/a2a-proxy/tasks", "/agents/far/acme/tasks"] {
        let refused = list(path).await;
        let reason = refused.json()["error"]["details"][0]["reason"].clone();
        assert_eq!((refused.status, reason), (404, json!("AGENT_NOT_FOUND")), "{path}");
    }
}
