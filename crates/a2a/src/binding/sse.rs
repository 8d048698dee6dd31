//! Streams over HTTP: server-sent events whose ids are the numbers of the task's events.

use crate::fault::Fault;
use crate::handler::{Item, TaskStream};
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use serde_json::Value;
use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

/// How long a stream is silent before it says that it is there: proxies close what says nothing.
const SILENCE: Duration = Duration::from_secs(15);

/// How a binding writes what a stream tells.
pub(super) trait Words: Send + 'static {
    /// A piece of news.
    fn item(&self, item: &Item) -> Value;
    /// An error, and the name of its event if it is not the usual one.
    fn fault(&self, fault: &Fault) -> (Option<&'static str>, Value);
}

/// The answer that tells a stream to its end.
pub(super) fn answer(stream: TaskStream, words: impl Words) -> Response {
    // What it is about to tell must not be lost when it is silent meanwhile: it is asked once for
    // each piece of news, and waited for again.
    let news = unfold(stream, async |mut stream| stream.next().await.map(|next| (next, stream)));
    let events = unfold(Some((Box::pin(news), words)), async |state| {
        let (mut news, words) = state?;
        let next = match tokio::time::timeout(SILENCE, news.next()).await {
            Ok(next) => next?,
            Err(_silent) => return Some((Ok(Bytes::from_static(b":\n\n")), Some((news, words)))),
        };
        let (event, state) = match next {
            Ok(item) => (told(&item, &words), Some((news, words))),
            Err(fault) => {
                let (name, data) = words.fault(&fault);
                (event(name, None, &data), None)
            }
        };
        Some((Ok::<_, Infallible>(event), state))
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(events)).into_response()
}

fn told(item: &Item, words: &impl Words) -> Bytes {
    event(None, item.number, &words.item(item))
}

/// What 1.0 says of a piece of news.
pub(super) fn response(item: &Item) -> Value {
    serde_json::to_value(&item.response).expect("news are made of what JSON has")
}

/// One event. Its data is one line: JSON has line breaks only where we put them.
fn event(name: Option<&str>, number: Option<u64>, data: &Value) -> Bytes {
    let mut text = String::new();
    let written = match (name, number) {
        (Some(name), _) => write!(text, "event: {name}\ndata: {data}\n\n"),
        (None, Some(number)) => write!(text, "id: {number}\ndata: {data}\n\n"),
        (None, None) => write!(text, "data: {data}\n\n"),
    };
    written.expect("a text takes all that is written to it");
    text.into()
}
