//! Refusals as gRPC statuses, and back.
//!
//! A status carries `google.rpc.ErrorInfo` with the domain [`DOMAIN`] and the refusal code's word
//! as reason, which is what brings the exact code back, and `google.rpc.RetryInfo` where waiting
//! helps. A status without that detail comes from something in between (a proxy, the transport)
//! and gets the nearest code.

use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use trunkline_types::{Refusal, RefusalCode};

/// The domain in the error details of every status that a broker makes.
pub const DOMAIN: &str = "trunkline";

/// The status that says a refusal.
pub fn from_refusal(refusal: &Refusal) -> Status {
    let mut details = ErrorDetails::with_error_info(refusal.code.as_str(), DOMAIN, HashMap::new());
    if let Some(span) = refusal.retry_after {
        details.set_retry_info(Some(span));
    }
    Status::with_error_details(code(refusal.code), refusal.message.as_str(), details)
}

/// The refusal that a status says.
pub fn to_refusal(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let told = details
        .error_info()
        .filter(|info| info.domain == DOMAIN)
        .and_then(|info| info.reason.parse().ok());
    let message = match status.message() {
        "" => status.code().description(),
        message => message,
    };
    Refusal {
        code: told.unwrap_or_else(|| nearest(status.code())),
        message: message.to_owned(),
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
    }
}

/// The canonical code of each refusal code.
pub fn code(code: RefusalCode) -> Code {
    match code {
        RefusalCode::Invalid | RefusalCode::TooLarge => Code::InvalidArgument,
        RefusalCode::NotFound => Code::NotFound,
        RefusalCode::AlreadyTaken | RefusalCode::KeyReused => Code::AlreadyExists,
        RefusalCode::StaleToken | RefusalCode::OutOfOrder => Code::Aborted,
        RefusalCode::InboxFull | RefusalCode::KeyCap | RefusalCode::DiskFull => {
            Code::ResourceExhausted
        }
        // Not `Aborted`, which invites to try again at once: the chain of requests itself is wrong.
        RefusalCode::NobodyThere | RefusalCode::WrongState | RefusalCode::Deadlock => {
            Code::FailedPrecondition
        }
        RefusalCode::StoreFailed => Code::Internal,
        RefusalCode::Draining | RefusalCode::Unavailable => Code::Unavailable,
        RefusalCode::Forbidden => Code::PermissionDenied,
    }
}

/// The refusal code nearest to a canonical code that nobody explained.
fn nearest(code: Code) -> RefusalCode {
    match code {
        Code::InvalidArgument | Code::Unimplemented => RefusalCode::Invalid,
        Code::OutOfRange | Code::ResourceExhausted => RefusalCode::TooLarge,
        Code::NotFound => RefusalCode::NotFound,
        Code::AlreadyExists => RefusalCode::AlreadyTaken,
        Code::PermissionDenied | Code::Unauthenticated => RefusalCode::Forbidden,
        Code::Aborted | Code::FailedPrecondition => RefusalCode::WrongState,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => RefusalCode::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_refusal_comes_back_as_it_was() {
        for &code in RefusalCode::ALL {
            for retry_after in [None, Some(Duration::from_millis(1500))] {
                let refusal = Refusal { code, message: format!("about {code}"), retry_after };
                let status = from_refusal(&refusal);
                assert_eq!(to_refusal(&status), refusal);
                let info = status.get_details_error_info().unwrap();
                assert_eq!((info.domain.as_str(), info.reason.as_str()), (DOMAIN, code.as_str()));
            }
        }
    }

    #[test]
    fn a_status_of_somebody_else_gets_the_nearest_code() {
        let refusal = to_refusal(&Status::unavailable("tcp connect error"));
        assert_eq!(refusal, Refusal::new(RefusalCode::Unavailable, "tcp connect error"));
        let mut foreign = ErrorDetails::new();
        foreign.set_error_info("inbox-full", "elsewhere", HashMap::new());
        let status = Status::with_error_details(Code::NotFound, "", foreign);
        let refusal = to_refusal(&status);
        assert_eq!(refusal.code, RefusalCode::NotFound);
        assert_eq!(refusal.message, Code::NotFound.description());
    }
}
