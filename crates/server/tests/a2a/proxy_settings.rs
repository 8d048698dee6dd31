//! What can be set about an agent elsewhere, and what is refused.

use super::bench::Bench;
use super::far::{Far, React, card, reason, shown};
use super::own::native;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use trunkline_proto::v1;
use trunkline_server::{LetPrivate, ServerConfig, SigningKey};

async fn completes() -> Far {
    Far::start(|_, _, _| React::Events(vec![shown("COMPLETED", &[])], super::far::Then::Close))
        .await
}

/// Why an agent elsewhere is refused.
async fn refused(bench: &Bench, url: &str, more: Value) -> String {
    let answer = bench.add(url, more).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    answer.text().to_owned()
}

#[tokio::test]
async fn a_card_that_cannot_be_used_is_refused_with_what_is_wrong_and_nothing_is_kept() {
    let (bench, far) = (Bench::start().await, completes().await);
    for (change, why) in [
        (
            (|card| drop(card.as_object_mut().unwrap().remove("skills"))) as fn(&mut Value),
            "/.well-known/agent-card.json lacks skills",
        ),
        (
            |card| card["supportedInterfaces"][0]["url"] = Value::Null,
            "lacks supportedInterfaces[0].url",
        ),
        (
            |card| card["supportedInterfaces"][0]["protocolBinding"] = "SOAP".into(),
            "offers SOAP 1.0; spoken here are JSONRPC",
        ),
        (
            |card| card["supportedInterfaces"][0]["url"] = "http://10.1.1.1/".into(),
            "10.1.1.1, which is no public address; server.a2a_proxy_allow could allow it",
        ),
        (|card| card["supportedInterfaces"][0]["url"] = "ftp://x/".into(), "only http: and https:"),
        (|card| *card = json!("<html>"), "is no JSON object"),
    ] {
        far.change(|card| {
            *card = self::card(&format!("{}/rpc", far.url()));
            change(card);
        });
        let told = refused(&bench, &far.url(), json!({})).await;
        assert!(told.contains(why), "{told}");
    }
    far.card_status(404);
    let told = refused(&bench, &far.url(), json!({})).await;
    assert!(told.contains("/.well-known/agent.json answered with status 404"), "{told}");
    let listed = bench.raw("GET", "/api/v1/agents?state=ready", &[], "").await.json();
    assert_eq!(listed["agents"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn a_url_that_leads_to_the_broker_itself_is_refused() {
    let (bench, far) = (Bench::near().await, completes().await);
    for place in ["", "/agents/helper"] {
        let url = format!("http://{}{place}", bench.address);
        let told = refused(&bench, &url, json!({})).await;
        assert!(told.contains("leads to this broker itself"), "{told}");
    }
    // Somebody else's card may name it too.
    far.change(|card| *card = self::card(&format!("http://{}/agents/helper", bench.address)));
    let told = refused(&bench, &far.url(), json!({})).await;
    assert!(told.contains("leads to this broker itself"), "{told}");
    // By gRPC too.
    far.change(|card| {
        *card = self::card(&bench.address.to_string());
        card["supportedInterfaces"][0]["protocolBinding"] = "GRPC".into();
    });
    let told = refused(&bench, &far.url(), json!({})).await;
    assert!(told.contains("leads to this broker itself"), "{told}");
}

#[tokio::test]
async fn a_message_that_comes_back_through_other_brokers_fails_and_says_why() {
    let (one, two) = (Bench::start().await, Bench::start().await);
    // Each is the other's agent: what is sent to either would go round for ever.
    let far = completes().await;
    assert_eq!(two.add(&far.url(), json!({})).await.status, 201);
    let url = format!("http://{}/agents/far", two.address);
    assert_eq!(one.add(&url, json!({})).await.status, 201);
    assert_eq!(two.raw("DELETE", "/api/v1/agents/far", &[], "").await.status, 204);
    let url = format!("http://{}/agents/far", one.address);
    assert_eq!(two.add(&url, json!({})).await.status, 201);
    let ended = one.far("round").await;
    assert_eq!(ended["status"]["state"], "TASK_STATE_FAILED", "{ended}");
    assert!(reason(&ended).contains("is the broker that the message comes from"), "{ended}");
}

#[tokio::test]
async fn a_message_that_has_passed_too_many_brokers_is_refused() {
    let bench = Bench::start().await;
    let via = vec!["x"; 17].join(",");
    let headers = [("A2A-Version", "1.0"), ("trunkline-via", via.as_str())];
    let body = json!({ "message": super::bench::said("hello") }).to_string();
    let answer = bench.raw("POST", "/agents/helper/message:send", &headers, body).await;
    assert_eq!(answer.status, 508, "{}", answer.text());
    assert_eq!(answer.json()["error"]["details"][0]["reason"], "LOOP_DETECTED");
}

#[tokio::test]
async fn only_public_addresses_and_what_is_allowed_are_called() {
    let far = completes().await;
    let bench = Bench::start().await;
    let told = refused(&bench, &far.url(), json!({"allow_private": false})).await;
    assert!(told.contains("server.a2a_proxy_allow could allow it"), "{told}");
    let a2a_proxy_allow = vec!["127.0.0.1".parse().unwrap()];
    let bench = Bench::with(ServerConfig { a2a_proxy_allow, ..ServerConfig::default() }).await;
    assert_eq!(bench.add(&far.url(), json!({"allow_private": false})).await.status, 201);
}

#[tokio::test]
async fn an_operator_says_whether_clients_may_open_private_addresses() {
    let far = completes().await;
    let with = async |a2a_proxy_private| {
        Bench::with(ServerConfig { a2a_proxy_private, ..ServerConfig::default() }).await
    };
    let bench = with(LetPrivate::Never).await;
    let told = refused(&bench, &far.url(), json!({})).await;
    assert!(told.contains("server.a2a_proxy_private is never"), "{told}");
    assert!(far.cards().is_empty(), "it is not even looked at");
    for allowed in [LetPrivate::Loopback, LetPrivate::Always] {
        assert_eq!(with(allowed).await.add(&far.url(), json!({})).await.status, 201);
    }
    // What the operator names may be called all the same.
    let a2a_proxy_allow = vec!["127.0.0.1".parse().unwrap()];
    let a2a_proxy_private = LetPrivate::Never;
    let config = ServerConfig { a2a_proxy_allow, a2a_proxy_private, ..ServerConfig::default() };
    let bench = Bench::with(config).await;
    assert_eq!(bench.add(&far.url(), json!({"allow_private": false})).await.status, 201);
}

#[tokio::test]
async fn what_may_be_private_is_one_place_and_not_every_port_of_its_host() {
    let (bench, far, other) = (Bench::start().await, completes().await, completes().await);
    far.change(|card| *card = self::card(&format!("{}/rpc", other.url())));
    let told = refused(&bench, &far.url(), json!({})).await;
    assert!(told.contains("leads to 127.0.0.1, which is no public address"), "{told}");
    // One that it names besides is called instead.
    far.change(|card| {
        let mut own = card["supportedInterfaces"][0].clone();
        own["url"] = format!("{}/rpc", far.url()).into();
        card["supportedInterfaces"].as_array_mut().unwrap().push(own);
    });
    let added = bench.add(&far.url(), json!({})).await;
    assert_eq!(added.json()["interface"], format!("{}/rpc", far.url()));
    assert!(other.called("GetTask").is_empty());
}

#[tokio::test]
async fn what_stands_behind_the_path_of_a_url_is_not_shown() {
    let (bench, far) = (Bench::start().await, completes().await);
    let url = format!("{}/.well-known/agent-card.json?key=s3cret", far.url());
    let added = bench.add(&url, json!({"refresh_ms": 1_000})).await;
    assert_eq!(added.status, 201, "{}", added.text());
    far.card_status(500);
    let away = bench.until_far_is("offline").await;
    assert!(
        away["a2a"]["trouble"].as_str().unwrap().contains("agent-card.json answered"),
        "{away}"
    );
    let filter = v1::ListTasksRequest { agent: Some("a2a-proxy".into()), ..Default::default() };
    let mut client = native(&bench).await;
    let listed = client.list_tasks(filter).await.unwrap().into_inner();
    let get = v1::GetTaskRequest { id: listed.tasks[0].id.clone(), ..Default::default() };
    let order = client.get_task(get).await.unwrap().into_inner();
    for shown in [added.text().to_owned(), away.to_string(), format!("{order:?}")] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn who_hangs_up_while_an_agent_is_added_leaves_it_added() {
    let (bench, far) = (Bench::start().await, completes().await);
    let gate = far.hold_card();
    let body = json!({"a2a": far.url(), "id": "far", "allow_private": true}).to_string();
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    let request = format!(
        "POST /api/v1/agents HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        bench.address,
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    super::bench::soon(async {
        while far.cards().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(socket);
    // Whoever asks now comes after who hung up.
    bench.raw("GET", "/api/v1/agents", &[], "").await;
    gate.notify_one();
    bench.until_far_is("ready").await;
    assert_eq!(bench.far("hello").await["status"]["state"], "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn the_card_of_an_agent_elsewhere_tells_of_its_skills_and_is_signed_by_the_broker() {
    let a2a_signing_key = Some(SigningKey::read(super::options::key().path()).unwrap());
    let bench = Bench::with(ServerConfig { a2a_signing_key, ..ServerConfig::default() }).await;
    let far = completes().await;
    far.change(|card| {
        card["skills"][0]["examples"] = json!(["go far"]);
        // What it signed was another card.
        card["signatures"] = json!([{"protected": "theirs", "signature": "theirs"}]);
    });
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let path = "/agents/far/.well-known/agent-card.json";
    let card = bench.raw("GET", path, &[], "").await.json();
    let skill = json!({"id": "far-skill", "name": "Far", "description": "x", "tags": ["distant"],
        "examples": ["go far"]});
    assert_eq!(card["skills"], json!([skill]), "{card}");
    assert_eq!(card["signatures"].as_array().unwrap().len(), 1, "{card}");
    assert!(!card["signatures"].to_string().contains("theirs"), "{card}");
    let host = bench.address.to_string();
    assert!(card["supportedInterfaces"][0]["url"].as_str().unwrap().contains(&host), "{card}");
}

#[tokio::test]
async fn what_an_agent_is_called_with_is_sent_to_its_host_only_and_not_shown() {
    let (bench, far) = (Bench::near().await, completes().await);
    let more = json!({"bearer": "s3cret", "headers": {"x-key": "k3y"}});
    let added = bench.add(&far.url(), more.clone()).await;
    assert_eq!(added.status, 201);
    assert_eq!(added.json()["headers"], json!(["x-key", "authorization"]));
    assert_eq!(bench.far("hello").await["status"]["state"], "TASK_STATE_COMPLETED");
    let called = far.called("SendStreamingMessage");
    for headers in [&called[0].headers, &far.cards()[0]] {
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-key"], "k3y");
    }
    assert_eq!(called[0].headers["a2a-version"], "1.0");
    let listed = bench.raw("GET", "/api/v1/agents", &[], "").await;
    for shown in [added.text(), listed.text()] {
        assert!(!shown.contains("s3cret") && !shown.contains("k3y"), "{shown}");
    }
    let other = completes().await;
    far.change(|card| *card = self::card(&format!("{}/rpc", other.url())));
    let mut more = more;
    more["id"] = "other".into();
    let told = refused(&bench, &far.url(), more).await;
    assert!(told.contains("sent to no other place") && !told.contains("s3cret"), "{told}");
    assert!(other.called("GetTask").is_empty());
}

#[tokio::test]
async fn extensions_are_declared_as_the_version_there_calls_them() {
    for (version, method, earlier) in
        [("1.0", "SendStreamingMessage", None), ("0.3", "message/stream", Some("urn:x"))]
    {
        let far =
            Far::start(|_, _, _| React::Error(json!({"code": -32602, "message": "no"}))).await;
        far.change(|card| {
            card["supportedInterfaces"][0]["protocolVersion"] = version.into();
            card["capabilities"]["extensions"] = json!([{"uri": "urn:x"}]);
        });
        let bench = Bench::start().await;
        assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
        let card = bench.raw("GET", "/agents/far/.well-known/agent-card.json", &[], "").await;
        assert_eq!(card.json()["capabilities"]["extensions"], json!([{"uri": "urn:x"}]));
        let body = json!({ "message": super::bench::said("x") }).to_string();
        let headers = [
            ("A2A-Version", "1.0"),
            ("Content-Type", "application/json"),
            ("A2A-Extensions", "urn:x"),
        ];
        bench.raw("POST", "/agents/far/message:send", &headers, body).await;
        let headers = &far.called(method)[0].headers;
        assert_eq!(headers["a2a-extensions"], "urn:x");
        assert_eq!(headers.get("x-a2a-extensions").map(|it| it.to_str().unwrap()), earlier);
    }
}

#[tokio::test]
async fn what_is_out_of_range_or_unknown_is_named() {
    let (bench, far) = (Bench::start().await, completes().await);
    for (more, why) in [
        (json!({"refresh_ms": 1}), "refresh is 1ms, the range is 1s to 24h"),
        (json!({"answer_within_ms": 0}), "answer-within is 0ns, the range is 10ms to 24h"),
        (json!({"id": "a2a-proxy"}), "the broker's own"),
        (json!({"id": "a b"}), "id: "),
        (json!({"headers": {"host": "x"}}), "'host' is the broker's own to set"),
        (json!({"nonsense": 1}), "unknown field `nonsense`"),
        (json!({"a2a": "nowhere"}), "is no URL"),
    ] {
        let told = refused(&bench, &far.url(), more).await;
        assert!(told.contains(why), "{told}");
    }
    let plain = bench.raw("POST", "/api/v1/agents", &[("Content-Type", "text/plain")], "{}").await;
    assert_eq!(plain.status, 400);
    assert!(far.called("SendStreamingMessage").is_empty());
}

#[tokio::test]
async fn an_id_is_made_of_the_name_and_one_that_is_taken_is_refused() {
    let (bench, far) = (Bench::start().await, completes().await);
    let taken = bench.add(&far.url(), json!({"id": "helper"})).await;
    assert_eq!(taken.status, 409, "{}", taken.text());
    let added = bench.add(&far.url(), json!({"id": null})).await;
    assert_eq!(added.json()["id"], "far-agent");
    let again = bench.add(&far.url(), json!({"id": null})).await;
    assert_eq!(again.status, 409, "{}", again.text());
}

#[tokio::test]
async fn a_card_is_read_again_and_shows_when_it_has_changed() {
    let (bench, far) = (Bench::start().await, completes().await);
    assert_eq!(bench.add(&far.url(), json!({"refresh_ms": 1_000})).await.status, 201);
    let asked = async |count: usize| {
        super::bench::soon(async {
            while far.cards().len() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    asked(2).await;
    let tag = far.cards()[1].get("if-none-match").cloned();
    assert!(tag.is_some(), "what is known is not sent again");
    let more = json!({"id": "more", "name": "More", "description": "x", "tags": ["x"]});
    far.change(|card| card["skills"].as_array_mut().unwrap().push(more));
    let found = super::bench::soon(async {
        loop {
            let listed = bench.raw("GET", "/api/v1/agents?skill=more", &[], "").await.json();
            if let Some(found) = listed["agents"].get(0) {
                return found.clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(found["id"], "far");
}

#[tokio::test]
async fn an_agent_whose_card_cannot_be_had_is_offline_and_its_work_waits() {
    let (bench, far) = (Bench::start().await, completes().await);
    assert_eq!(bench.add(&far.url(), json!({"refresh_ms": 1_000})).await.status, 201);
    far.card_status(500);
    let away = bench.until_far_is("offline").await;
    let trouble = away["a2a"]["trouble"].as_str().unwrap_or_default();
    assert!(trouble.contains("answered with status 500"), "{away}");
    let id = bench.far_begun("wait").await;
    assert_eq!(bench.shown(&id).await["status"]["state"], "TASK_STATE_SUBMITTED");
    assert!(far.called("SendStreamingMessage").is_empty());
    far.card_status(200);
    bench.until_task(&id, "COMPLETED").await;
    let back = bench.until_far_is("ready").await;
    assert_eq!(back["a2a"]["trouble"], Value::Null);
}
