//! A client of `Agent2Agent` over HTTP: JSON-RPC, one connection for each that is in flight.
//!
//! It knows the standard and nothing of the server, so that any server is measured alike.

use crate::BenchError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The end of an event in a stream. Servers end lines in either way.
const ENDS: [&str; 2] = ["\n\n", "\r\n\r\n"];

/// An endpoint of JSON-RPC.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    authority: String,
    path: String,
}

impl Endpoint {
    /// The endpoint at a URL.
    ///
    /// # Errors
    /// It is no plain HTTP URL.
    pub(crate) fn new(url: &str) -> Result<Self, BenchError> {
        let wrong = || BenchError::Load(format!("'{url}' is no URL like http://127.0.0.1:9999/"));
        let uri: Uri = url.parse().map_err(|_no_uri| wrong())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
        let authority = authority.ok_or_else(wrong)?.to_string();
        let authority = if authority.contains(':') { authority } else { format!("{authority}:80") };
        Ok(Self { authority, path: uri.path().to_owned() })
    }

    /// Where on its server it is.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// One connection, which carries one request after another.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The system's, or that nobody speaks HTTP there.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, BenchError> {
        let authority = endpoint.authority.clone();
        let socket = TcpStream::connect(&authority).await;
        let failed = || format!("cannot connect to {authority}");
        let socket = socket.map_err(BenchError::system(failed()))?;
        socket.set_nodelay(true).map_err(BenchError::system(failed()))?;
        let spoken = handshake(TokioIo::new(socket)).await;
        let (sender, connection) =
            spoken.map_err(|error| BenchError::Load(format!("{}: {error}", failed())))?;
        // Ends with the sender; what goes wrong is told to whoever waits for an answer.
        tokio::spawn(connection);
        Ok(Self { sender, authority })
    }

    async fn post(
        &mut self,
        path: &str,
        (method, payload): (&str, &str),
    ) -> Result<Response<Incoming>, String> {
        let part = json!({"raw": payload, "mediaType": "application/octet-stream"});
        let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [part]});
        let params = json!({ "message": message });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = Request::post(path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header("a2a-version", "1.0")
            .body(Full::from(body.to_string()))
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response =
            self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(format!("it answered {}", response.status()))
    }

    /// Sends a message and waits for its answer. Whether that has the payload.
    ///
    /// # Errors
    /// Why there is no answer, or that it is an error or of a task that has not completed.
    pub(crate) async fn send(&mut self, path: &str, payload: &[u8]) -> Result<bool, String> {
        let payload = STANDARD.encode(payload);
        let response = self.post(path, ("SendMessage", &payload)).await?;
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        answered(&body.to_bytes(), &payload)
    }

    /// Sends a message and follows its task to the end, saying when the first event is there.
    /// Whether the last one has the payload.
    ///
    /// # Errors
    /// The same as of [`Self::send`].
    pub(crate) async fn stream(
        &mut self,
        path: &str,
        payload: &[u8],
        first: impl FnOnce(),
    ) -> Result<bool, String> {
        let payload = STANDARD.encode(payload);
        let response = self.post(path, ("SendStreamingMessage", &payload)).await?;
        let (mut body, mut text, mut first) = (response.into_body(), String::new(), Some(first));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            let Some(bytes) = frame.data_ref() else { continue };
            text.push_str(std::str::from_utf8(bytes).map_err(|error| error.to_string())?);
            if first.is_some() && ENDS.iter().any(|end| text.contains(end)) {
                first.take().into_iter().for_each(|first| first());
            }
        }
        let last = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
        let last = last.ok_or("the stream had no event")?.trim();
        answered(last.as_bytes(), &payload)
    }
}

/// Whether an answer has the payload that was sent, as the message of a completed task or of its
/// last event, or by itself.
fn answered(answer: &[u8], payload: &str) -> Result<bool, String> {
    let answer: Value = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let result = &answer["result"];
    let told = ["task", "statusUpdate"].iter().find_map(|name| result.get(name));
    let message = match told.map(|told| &told["status"]) {
        Some(status) if status["state"] == "TASK_STATE_COMPLETED" => &status["message"],
        None if result["message"].is_object() => &result["message"],
        _ => {
            let shown: String = answer.to_string().chars().take(200).collect();
            return Err(format!("the task has not completed: {shown}"));
        }
    };
    Ok(message["parts"][0]["raw"] == payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_from_a_url() {
        let endpoint = Endpoint::new("http://host/a/b").unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.path.as_str()), ("host:80", "/a/b"));
        for url in ["host:80", "https://host/", "http:///x", ""] {
            assert!(Endpoint::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_the_payload_of_a_completed_task_is_an_answer() {
        let told =
            |result: Value| answered(json!({ "result": result }).to_string().as_bytes(), "AA==");
        let message = json!({"parts": [{"raw": "AA=="}]});
        let of =
            |state: &str, message: &Value| json!({"status": {"state": state, "message": message}});
        let done = of("TASK_STATE_COMPLETED", &message);
        for result in
            [json!({"task": done}), json!({"statusUpdate": done}), json!({"message": message})]
        {
            assert_eq!(told(result), Ok(true));
        }
        let other = of("TASK_STATE_COMPLETED", &json!({"parts": [{"raw": "AQ=="}]}));
        assert_eq!(told(json!({ "task": other })), Ok(false));
        let working = of("TASK_STATE_WORKING", &message);
        assert!(told(json!({ "task": working })).unwrap_err().contains("has not completed"));
        assert!(answered(br#"{"error":{"code":-32603}}"#, "").unwrap_err().contains("-32603"));
        assert!(answered(b"<html>", "").is_err());
    }
}
