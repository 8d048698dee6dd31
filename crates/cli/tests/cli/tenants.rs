//! Tenants: what there is for one is not there for another.

use super::harness::{Broker, Finished};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends a message by HTTP+JSON and gives back the status and the answer.
fn post(broker: &Broker, path: &str, header: &str) -> (u16, Value) {
    let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]});
    let body = json!({ "message": message }).to_string();
    let host = broker.address();
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\na2a-version: 1.0\r\n{header}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn agents_of_a_tenant_are_there_for_it_alone_natively_and_by_a2a() {
    let broker = Broker::start();
    let script = "echo \"for $TRUNKLINE_TENANT\"";
    let _agent =
        broker.agent(["--id", "a", "--skill", "s", "--tenant", "acme", "--", "sh", "-c", script]);
    let asks = |tenant: &str| -> Finished {
        broker.run(["request", "--skill", "s", "--absent", "fail", "--tenant", tenant])
    };
    assert_eq!(asks("acme").ok(), "for acme");
    let stderr = asks("default").fails(4);
    assert!(stderr.contains("nobody serves 'skill:s'"), "{stderr}");
    let over_grpc = ["request", "--skill", "s", "--tenant", "acme", "--transport", "grpc"];
    assert_eq!(broker.run(over_grpc).ok(), "for acme");

    for (path, header) in [
        ("/acme/message:send", ""),
        ("/agents/a/acme/message:send", ""),
        ("/agents/a/message:send", "trunkline-tenant: acme\r\n"),
    ] {
        let (status, answer) = post(&broker, path, header);
        assert_eq!(status, 200, "{path}: {answer}");
        let said = &answer["task"]["status"]["message"]["parts"][0]["text"];
        assert!(said.as_str().is_some_and(|said| said.starts_with("for acme")), "{path}: {answer}");
    }
    let (status, answer) = post(&broker, "/agents/a/message:send", "");
    assert_eq!(
        (status, &answer["error"]["details"][0]["reason"]),
        (404, &json!("AGENT_NOT_FOUND"))
    );

    let stderr = broker.run(["agents", "list", "--tenant", "a/b"]).fails(2);
    assert!(stderr.contains("'a/b'"), "{stderr}");
    let stderr =
        broker.run(["agents", "add", "--a2a", "http://127.0.0.1:1", "--tenant", "acme"]).fails(4);
    assert!(stderr.contains("agents elsewhere belong to the tenant 'default'"), "{stderr}");
}
