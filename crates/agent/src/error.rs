//! Why a request has no answer, as its caller sees it.

use trunkline_types::{Failure, FailureCode, Refusal};

/// Why a request has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The broker refused it; nothing of it has been done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was accepted and ended without an answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl RequestError {
    /// The failure of a request whose caller waited no longer.
    pub(crate) fn timed_out(waited: std::time::Duration) -> Self {
        let reason = format!("no answer within {waited:?}");
        Self::Failed(Failure { code: FailureCode::Expired, reason })
    }

    /// The failure of a request that went away with its broker.
    pub(crate) fn lost(reason: impl Into<String>) -> Self {
        Self::Failed(Failure { code: FailureCode::Lost, reason: reason.into() })
    }
}
