//! Bodies of requests that are refused: how much of them is read, and for how long.

use super::slow::Slow;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use trunkline_a2a::{A2a, A2aConfig};
use trunkline_types::{Principal, Refusal, RefusalCode};

/// How many bytes come in a piece.
const PIECE: usize = 1 << 20;
/// How many pieces are read of a body that does not say its length: one more than it may have.
const PIECES: usize = 17;
/// For how long a body is read that is of no use.
const WITHIN: Duration = Duration::from_secs(5);

type Headers = &'static [(&'static str, &'static str)];

const V1: Headers = &[("A2A-Version", "1.0"), ("Content-Type", "application/json")];
const V1_TEXT: Headers = &[("A2A-Version", "1.0"), ("Content-Type", "text/plain")];
const V9: Headers = &[("A2A-Version", "9.9"), ("Content-Type", "application/json")];
const V03: Headers = &[("Content-Type", "application/json")];

const METHOD: &str = "/lf.a2a.v1.A2AService/SendMessage";

/// A request that is refused whatever its body has.
#[derive(Clone, Copy, Debug)]
struct Refused {
    method: &'static str,
    path: &'static str,
    headers: Headers,
    /// Whether the caller is let in.
    let_in: bool,
    status: u16,
}

const fn refused(
    (method, path, headers): (&'static str, &'static str, Headers),
    let_in: bool,
    status: u16,
) -> Refused {
    Refused { method, path, headers, let_in, status }
}

const ALL: [Refused; 8] = [
    refused(("POST", "/message:send", V9), true, 400),
    refused(("POST", "/message:send", V1), false, 503),
    refused(("POST", "/message:send", V1_TEXT), true, 415),
    refused(("POST", "/v1/message:send", V03), false, 503),
    refused(("PUT", "/message:send", V1), true, 405),
    refused(("POST", "/message:fly", V1), true, 404),
    refused(("POST", METHOD, V1_TEXT), true, 415),
    refused(("POST", "/", V1_TEXT), true, 415),
];

impl Refused {
    /// What it is answered with, and how many pieces of the body were read.
    async fn answered(self, more: Headers, silent_after: usize) -> (Response, usize) {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = read.clone();
        let pieces = stream::repeat_with(move || {
            counted.fetch_add(1, Relaxed);
            Ok::<_, io::Error>(Bytes::from(vec![b' '; PIECE]))
        });
        let body = Body::from_stream(pieces.take(silent_after).chain(stream::pending()));
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers.iter().chain(more) {
            request = request.header(*name, *value);
        }
        let nobody = || Refusal::new(RefusalCode::Draining, "not now").into();
        let principal = if self.let_in { Ok(Principal::default()) } else { Err(nobody()) };
        let a2a = A2a::new(Arc::new(Slow::default()), A2aConfig::default());
        let answer = a2a.answer(principal, request.body(body).unwrap());
        // Nobody waits so long: the clock stands still while there is something to do.
        let answer = timeout(WITHIN * 100, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("{self:?} is answered"));
        (answer, read.load(Relaxed))
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_refused_is_waited_for_so_long_and_no_longer() {
    for refused in ALL {
        let begun = Instant::now();
        let (answer, pieces) = refused.answered(&[], 3).await;
        assert_eq!((answer.status().as_u16(), pieces), (refused.status, 3), "{refused:?}");
        let waited = begun.elapsed();
        assert!((WITHIN..WITHIN * 2).contains(&waited), "{refused:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_body_without_end_that_is_refused_so_much_is_read_and_no_more() {
    for refused in ALL {
        let (answer, pieces) = refused.answered(&[], usize::MAX).await;
        assert_eq!((answer.status().as_u16(), pieces), (refused.status, PIECES), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_to_be_wanted_or_says_that_it_is_too_large_to_pass_over_is_not_read() {
    let more: [Headers; 2] = [&[("Expect", "100-continue")], &[("Content-Length", "30000000")]];
    for (refused, more) in ALL.into_iter().flat_map(|refused| more.map(|more| (refused, more))) {
        let (answer, pieces) = refused.answered(more, usize::MAX).await;
        assert_eq!((answer.status().as_u16(), pieces), (refused.status, 0), "{refused:?} {more:?}");
    }
    // Neither is one that is wanted, but says that it is too large.
    let large = refused(("POST", "/message:send", V1), true, 413);
    let more = &[("Expect", "100-continue"), ("Content-Length", "5000000")];
    let (answer, pieces) = large.answered(more, usize::MAX).await;
    assert_eq!((answer.status().as_u16(), pieces), (413, 0));
    let (answer, pieces) = large.answered(&more[1..], usize::MAX).await;
    assert_eq!(answer.status(), 413);
    assert!(pieces > 0, "one that comes is passed over");
}
