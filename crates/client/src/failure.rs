//! What the transport says went wrong, as refusals.

use std::error::Error;
use tonic::{Code, Status};
use trunkline_proto::status;
use trunkline_types::{Refusal, RefusalCode};

/// No broker could be reached: names the address and the remedy.
pub(crate) fn unreachable(url: &str, cause: impl std::fmt::Display) -> Refusal {
    let message = format!(
        "no broker answers at {url} ({cause}); start one with `trunkline serve`, or say where it \
         listens with --url or TRUNKLINE_URL"
    );
    Refusal::new(RefusalCode::Unavailable, message)
}

/// The innermost cause of a transport's error: the one that says something.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The refusal behind a status, whether a broker or the transport made it.
pub(crate) fn refused(url: &str, status: &Status) -> Refusal {
    let transport = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
        && status.details().is_empty();
    if transport {
        let cause = status.source().map_or_else(|| status.message().to_owned(), root_cause);
        return unreachable(url, cause);
    }
    status::to_refusal(status)
}

/// The same for a frame that did not come. One that the transport could not read is no word of
/// the broker's: the connection is broken, and another one may do.
pub(crate) fn unread(url: &str, status: &Status) -> Refusal {
    let mut refusal = refused(url, status);
    if status.code() == Code::OutOfRange && status.details().is_empty() {
        refusal.code = RefusalCode::Unavailable;
    }
    refusal
}

/// Whether a session that ended this way may come back, rather than end in the same way again.
pub(crate) fn may_return(code: RefusalCode) -> bool {
    match code {
        RefusalCode::Unavailable
        | RefusalCode::Draining
        | RefusalCode::StoreFailed
        | RefusalCode::DiskFull
        | RefusalCode::InboxFull => true,
        RefusalCode::Invalid
        | RefusalCode::TooLarge
        | RefusalCode::NotFound
        | RefusalCode::AlreadyTaken
        | RefusalCode::StaleToken
        | RefusalCode::OutOfOrder
        | RefusalCode::KeyReused
        | RefusalCode::KeyCap
        | RefusalCode::NobodyThere
        | RefusalCode::Forbidden
        | RefusalCode::WrongState
        | RefusalCode::Deadlock => false,
    }
}
