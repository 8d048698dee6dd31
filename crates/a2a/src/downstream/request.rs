//! Requests to an agent elsewhere, in the words of its interface.

use super::card::{Binding, Interface, Spoken};
use crate::card::PROTOCOL;
use crate::compat::{self, Form};
use crate::content::to_outgoing;
use crate::fault::Fault;
use crate::wire::{Message, SendMessageRequest};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use trunkline_types::{MessageId, Payload};

/// What is asked of an agent elsewhere.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// To take a message, without waiting for the end of its task.
    Send(Box<SendMessageRequest>),
    /// To take a message, and to tell what becomes of it.
    Stream(Box<SendMessageRequest>),
    /// How a task of its own stands, with so many of its messages.
    Get(String, u32),
    /// To go on telling of a task.
    Subscribe(String),
    /// To call a task off.
    Cancel(String),
}

/// A request as it goes out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Whether it is posted; otherwise it is a `GET`.
    pub posted: bool,
    /// Where.
    pub url: String,
    /// What there is in its headers besides those of the transport.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: String,
}

/// A message of the broker's task as the downstream gets it: the one that began it, or what its
/// caller said later. The message keeps its id; one without gets one that is the same each time.
///
/// # Errors
/// A [`Fault`]: the payload is no message.
pub fn first_message(task: MessageId, number: usize, said: &Payload) -> Result<Message, Fault> {
    to_outgoing(task, number, said)
}

impl Ask {
    /// Whether what answers it are events.
    pub const fn streams(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Subscribe(_))
    }

    /// Whether it makes something happen that must not happen twice.
    pub const fn begins(&self) -> bool {
        matches!(self, Self::Send(_) | Self::Stream(_))
    }
}

impl Interface {
    /// A request in its words; `None` over gRPC, where it is a message and no text.
    pub fn outgoing(&self, ask: &Ask) -> Option<Outgoing> {
        let kind = if ask.streams() { "text/event-stream" } else { "application/json" };
        let mut headers = vec![("accept", kind)];
        if self.spoken == Spoken::V1 {
            headers.push(("a2a-version", PROTOCOL));
        }
        Some(match self.binding {
            Binding::Grpc => return None,
            Binding::JsonRpc => {
                headers.push(("content-type", "application/json"));
                let (method, params) = match self.spoken {
                    Spoken::V1 => self.rpc(ask),
                    Spoken::V03 => rpc_03(ask),
                };
                let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
                Outgoing { posted: true, url: self.url.clone(), headers, body: call.to_string() }
            }
            Binding::Rest => {
                let (posted, path, body) = match self.spoken {
                    Spoken::V1 => rest(ask),
                    Spoken::V03 => rest_03(ask),
                };
                if posted {
                    headers.push(("content-type", "application/json"));
                }
                let tenant = match self.tenant.as_str() {
                    "" => String::new(),
                    tenant => format!("/{}", escaped(tenant)),
                };
                let url = format!("{}{tenant}{path}", self.url);
                Outgoing { posted, url, headers, body }
            }
        })
    }

    fn rpc(&self, ask: &Ask) -> (&'static str, Value) {
        let (method, params) = match ask {
            Ask::Send(request) => ("SendMessage", plain(request)),
            Ask::Stream(request) => ("SendStreamingMessage", plain(request)),
            Ask::Get(id, messages) => ("GetTask", json!({"id": id, "historyLength": messages})),
            Ask::Subscribe(id) => ("SubscribeToTask", json!({ "id": id })),
            Ask::Cancel(id) => ("CancelTask", json!({ "id": id })),
        };
        let Value::Object(mut params) = params else { return (method, params) };
        if !self.tenant.is_empty() {
            params.insert("tenant".to_owned(), self.tenant.as_str().into());
        }
        (method, Value::Object(params))
    }
}

fn plain(request: &SendMessageRequest) -> Value {
    serde_json::to_value(request).expect("a request is made of what JSON has")
}

fn rpc_03(ask: &Ask) -> (&'static str, Value) {
    match ask {
        Ask::Send(request) => ("message/send", send_03(Form::Kinds, request)),
        Ask::Stream(request) => ("message/stream", send_03(Form::Kinds, request)),
        // None and all of them were the same.
        Ask::Get(id, messages) => {
            ("tasks/get", json!({"id": id, "historyLength": messages.max(&1)}))
        }
        Ask::Subscribe(id) => ("tasks/resubscribe", json!({ "id": id })),
        Ask::Cancel(id) => ("tasks/cancel", json!({ "id": id })),
    }
}

fn send_03(form: Form, request: &SendMessageRequest) -> Value {
    let configuration = request.configuration.clone().unwrap_or_default();
    let mut settings = Map::new();
    if !configuration.accepted_output_modes.is_empty() {
        settings.insert("acceptedOutputModes".into(), configuration.accepted_output_modes.into());
    }
    settings.insert("blocking".into(), (!configuration.return_immediately).into());
    let mut params = Map::new();
    let message = request.message.as_ref().map(|said| compat::message(form, said));
    let name = if form == Form::Kinds { "message" } else { "request" };
    params.insert(name.into(), message.unwrap_or_default());
    params.insert("configuration".into(), settings.into());
    if let Some(metadata) = &request.metadata {
        params.insert("metadata".into(), metadata.0.clone().into());
    }
    params.into()
}

fn rest(ask: &Ask) -> (bool, String, String) {
    let none = String::new;
    match ask {
        Ask::Send(request) => (true, "/message:send".into(), plain(request).to_string()),
        Ask::Stream(request) => (true, "/message:stream".into(), plain(request).to_string()),
        Ask::Get(id, messages) => {
            (false, format!("/tasks/{}?historyLength={messages}", escaped(id)), none())
        }
        Ask::Subscribe(id) => (false, format!("/tasks/{}:subscribe", escaped(id)), none()),
        Ask::Cancel(id) => (true, format!("/tasks/{}:cancel", escaped(id)), "{}".into()),
    }
}

/// The same as 0.3 had it: below another path, and as the JSON of its proto file.
fn rest_03(ask: &Ask) -> (bool, String, String) {
    let (posted, path, body) = match ask {
        // None and all of them were the same.
        Ask::Get(id, 0) => rest(&Ask::Get(id.clone(), 1)),
        other => rest(other),
    };
    let body = match ask {
        Ask::Send(request) | Ask::Stream(request) => send_03(Form::Proto, request).to_string(),
        Ask::Get(..) | Ask::Subscribe(_) | Ask::Cancel(_) => body,
    };
    (posted, format!("/v1{path}"), body)
}

/// A text as one part of a path.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a text takes all that is written to it");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(binding: Binding, spoken: Spoken) -> Interface {
        Interface { url: "http://a/x".into(), binding, spoken, tenant: "t".into() }
    }

    fn request() -> Box<SendMessageRequest> {
        let request = json!({
            "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]},
            "configuration": {"returnImmediately": true, "acceptedOutputModes": ["text/plain"]},
            "metadata": {"skill": "s"},
        });
        Box::new(serde_json::from_value(request).unwrap())
    }

    fn body(outgoing: &Outgoing) -> Value {
        serde_json::from_str(&outgoing.body).unwrap()
    }

    #[test]
    fn a_request_is_written_as_each_binding_and_version_has_it() {
        let rpc =
            interface(Binding::JsonRpc, Spoken::V1).outgoing(&Ask::Stream(request())).unwrap();
        assert_eq!((rpc.posted, rpc.url.as_str()), (true, "http://a/x"));
        assert!(rpc.headers.contains(&("a2a-version", "1.0")));
        assert!(rpc.headers.contains(&("accept", "text/event-stream")));
        let said = body(&rpc);
        assert_eq!(
            (&said["method"], &said["params"]["tenant"]),
            (&json!("SendStreamingMessage"), &json!("t"))
        );
        assert_eq!(said["params"]["message"]["parts"][0]["text"], "hi");
        assert_eq!(said["params"]["configuration"]["returnImmediately"], true);

        let rest = interface(Binding::Rest, Spoken::V1).outgoing(&Ask::Send(request())).unwrap();
        assert_eq!((rest.posted, rest.url.as_str()), (true, "http://a/x/t/message:send"));
        assert_eq!(body(&rest)["metadata"]["skill"], "s");
        let get =
            interface(Binding::Rest, Spoken::V1).outgoing(&Ask::Get("a/b c".into(), 3)).unwrap();
        assert_eq!(
            (get.posted, get.url.as_str()),
            (false, "http://a/x/t/tasks/a%2Fb%20c?historyLength=3")
        );
        let cancel =
            interface(Binding::Rest, Spoken::V1).outgoing(&Ask::Cancel("7".into())).unwrap();
        assert_eq!((cancel.posted, cancel.url.as_str()), (true, "http://a/x/t/tasks/7:cancel"));

        let old = interface(Binding::JsonRpc, Spoken::V03).outgoing(&Ask::Send(request())).unwrap();
        assert!(old.headers.iter().all(|(name, _)| *name != "a2a-version"));
        let said = body(&old);
        assert_eq!(said["method"], "message/send");
        assert_eq!(
            said["params"]["message"],
            json!({
                "kind": "message", "messageId": "m", "role": "user",
                "parts": [{"kind": "text", "text": "hi"}],
            })
        );
        assert_eq!(
            said["params"]["configuration"],
            json!({"blocking": false, "acceptedOutputModes": ["text/plain"]})
        );
        for (ask, method) in [
            (Ask::Get("7".into(), 0), "tasks/get"),
            (Ask::Subscribe("7".into()), "tasks/resubscribe"),
            (Ask::Cancel("7".into()), "tasks/cancel"),
        ] {
            let said = body(&interface(Binding::JsonRpc, Spoken::V03).outgoing(&ask).unwrap());
            assert_eq!((&said["method"], &said["params"]["id"]), (&json!(method), &json!("7")));
        }
    }

    #[test]
    fn the_earlier_version_is_written_as_its_proto_file_has_it_over_http() {
        let rest = interface(Binding::Rest, Spoken::V03);
        let old = rest.outgoing(&Ask::Send(request())).unwrap();
        assert_eq!((old.posted, old.url.as_str()), (true, "http://a/x/t/v1/message:send"));
        let said = body(&old);
        assert_eq!(
            said["request"],
            json!({"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hi"}]})
        );
        assert_eq!(said["configuration"]["blocking"], false);
        for (ask, path) in [
            (Ask::Get("7".into(), 0), "/v1/tasks/7?historyLength=1"),
            (Ask::Subscribe("7".into()), "/v1/tasks/7:subscribe"),
            (Ask::Cancel("7".into()), "/v1/tasks/7:cancel"),
        ] {
            assert_eq!(rest.outgoing(&ask).unwrap().url, format!("http://a/x/t{path}"));
        }
    }
}
