//! Errors as the standard names them, and what each binding says for one.
//!
//! Owns the table of errors. A broker's refusal becomes one here, in one place and without a
//! catch-all, so that a new class of refusal forces a decision.

use serde_json::{Map, Value, json};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use trunkline_types::{Refusal, RefusalCode};

/// The domain of the standard's own errors.
const STANDARD: &str = "a2a-protocol.org";
/// The domain of what the standard has no error for.
const OWN: &str = "trunkline";

/// An error as a client is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which error.
    pub kind: FaultKind,
    /// What is wrong, for people.
    pub message: String,
    /// What else is known, by name.
    metadata: Vec<(&'static str, String)>,
    /// Which fields of the request are wrong, and why.
    violations: Vec<(String, String)>,
    /// When it may be worth trying again.
    retry_after: Option<Duration>,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $kind:ident $domain:ident $reason:literal $rpc:literal $status:literal
       $http:literal),+ $(,)?) => {
        /// Which error it is.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum FaultKind { $($(#[$doc])* $kind),+ }

        impl FaultKind {
            /// Every error there is.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Who named the reason.
            pub const fn domain(self) -> &'static str {
                match self { $(Self::$kind => $domain),+ }
            }

            /// The reason, for programs.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$kind => $reason),+ }
            }

            /// The code in JSON-RPC.
            pub const fn rpc_code(self) -> i32 {
                match self { $(Self::$kind => $rpc),+ }
            }

            /// The canonical status, as gRPC and `google.rpc.Status` name it.
            pub const fn status(self) -> &'static str {
                match self { $(Self::$kind => $status),+ }
            }

            /// The status of HTTP.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$kind => $http),+ }
            }
        }
    };
}

faults! {
    /// There is no such task, or the caller may not see it.
    TaskNotFound STANDARD "TASK_NOT_FOUND" -32001 "NOT_FOUND" 404,
    /// The task has ended.
    TaskNotCancelable STANDARD "TASK_NOT_CANCELABLE" -32002 "FAILED_PRECONDITION" 400,
    /// Push notifications are not to be had.
    PushNotificationNotSupported
        STANDARD "PUSH_NOTIFICATION_NOT_SUPPORTED" -32003 "FAILED_PRECONDITION" 400,
    /// The operation is not to be had, or not in this state.
    UnsupportedOperation STANDARD "UNSUPPORTED_OPERATION" -32004 "FAILED_PRECONDITION" 400,
    /// The agent does not take this media type.
    ContentTypeNotSupported STANDARD "CONTENT_TYPE_NOT_SUPPORTED" -32005 "INVALID_ARGUMENT" 400,
    /// The agent answered with something that is no message.
    InvalidAgentResponse STANDARD "INVALID_AGENT_RESPONSE" -32006 "INTERNAL" 500,
    /// The agent has no extended card.
    ExtendedAgentCardNotConfigured
        STANDARD "EXTENDED_AGENT_CARD_NOT_CONFIGURED" -32007 "FAILED_PRECONDITION" 400,
    /// The agent requires an extension that the client does not declare.
    ExtensionSupportRequired
        STANDARD "EXTENSION_SUPPORT_REQUIRED" -32008 "FAILED_PRECONDITION" 400,
    /// The client speaks a version that is not spoken here.
    VersionNotSupported STANDARD "VERSION_NOT_SUPPORTED" -32009 "FAILED_PRECONDITION" 400,
    /// What came is no JSON.
    Parse OWN "JSON_PARSE" -32700 "INVALID_ARGUMENT" 400,
    /// What came is JSON, but no request.
    InvalidRequest OWN "INVALID_REQUEST" -32600 "INVALID_ARGUMENT" 400,
    /// There is no such method or route.
    MethodNotFound OWN "METHOD_NOT_FOUND" -32601 "NOT_FOUND" 404,
    /// There is such a route, but not for this method of HTTP.
    MethodNotAllowed OWN "METHOD_NOT_ALLOWED" -32601 "UNIMPLEMENTED" 405,
    /// A parameter is missing, malformed or out of range.
    InvalidParams OWN "INVALID_PARAMS" -32602 "INVALID_ARGUMENT" 400,
    /// A defect of ours.
    Internal OWN "INTERNAL" -32603 "INTERNAL" 500,
    /// The request is over a bound.
    TooLarge OWN "TOO_LARGE" -32602 "INVALID_ARGUMENT" 413,
    /// The body itself is of another media type: the standard's error for parts of one, with the
    /// status that HTTP has for it. The standard's own, 400, is that of parts.
    NotJson STANDARD "CONTENT_TYPE_NOT_SUPPORTED" -32005 "INVALID_ARGUMENT" 415,
    /// There is no such agent.
    AgentNotFound OWN "AGENT_NOT_FOUND" -32602 "NOT_FOUND" 404,
    /// The caller may not do this.
    Forbidden OWN "FORBIDDEN" -32603 "PERMISSION_DENIED" 403,
    /// The idempotency key was used for something else, or is one too many.
    KeyConflict OWN "KEY_CONFLICT" -32602 "ALREADY_EXISTS" 409,
    /// There is no room now.
    Exhausted OWN "EXHAUSTED" -32603 "RESOURCE_EXHAUSTED" 429,
    /// The message has passed this broker before.
    Loop OWN "LOOP_DETECTED" -32600 "FAILED_PRECONDITION" 508,
    /// The broker is not there now.
    Unavailable OWN "UNAVAILABLE" -32603 "UNAVAILABLE" 503,
}

impl FaultKind {
    /// The canonical status as a code of gRPC.
    fn grpc_code(self) -> Code {
        match self.status() {
            "NOT_FOUND" => Code::NotFound,
            "FAILED_PRECONDITION" => Code::FailedPrecondition,
            "INVALID_ARGUMENT" => Code::InvalidArgument,
            "PERMISSION_DENIED" => Code::PermissionDenied,
            "ALREADY_EXISTS" => Code::AlreadyExists,
            "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
            "UNAVAILABLE" => Code::Unavailable,
            "UNIMPLEMENTED" => Code::Unimplemented,
            _ => Code::Internal,
        }
    }
}

impl Fault {
    /// An error.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        let (metadata, violations) = (Vec::new(), Vec::new());
        Self { kind, message: message.into(), metadata, violations, retry_after: None }
    }

    /// A field of a request is wrong.
    pub fn field(field: impl Into<String>, why: impl Into<String>) -> Self {
        let (field, why) = (field.into(), why.into());
        let mut fault = Self::new(FaultKind::InvalidParams, format!("{field}: {why}"));
        fault.violations.push((field, why));
        fault
    }

    /// There is no such task.
    pub fn no_task(id: &str) -> Self {
        let shown: String = id.chars().take(128).collect();
        let message = format!("task {shown} is unknown here: it never was, or it was forgotten");
        Self::new(FaultKind::TaskNotFound, message).with("taskId", shown)
    }

    /// The same error with something more that is known.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((name, value.into()));
        self
    }

    /// In how many seconds it may be worth trying again.
    pub(crate) fn retry_seconds(&self) -> Option<u64> {
        self.retry_after.map(|span| span.as_secs() + u64::from(span.subsec_nanos() > 0))
    }

    /// The error object of JSON-RPC.
    pub(crate) fn to_rpc(&self) -> Value {
        json!({
            "code": self.kind.rpc_code(),
            "message": self.message,
            "data": self.details(),
        })
    }

    /// The body of an HTTP answer.
    pub(crate) fn to_http(&self) -> Value {
        json!({"error": {
            "code": self.kind.http_status(),
            "status": self.kind.status(),
            "message": self.message,
            "details": self.details(),
        }})
    }

    /// The status of gRPC.
    pub(crate) fn to_status(&self) -> Status {
        self.to_status_as(self.kind.grpc_code())
    }

    /// The same with another code, where gRPC has one of its own for it.
    pub(crate) fn to_status_as(&self, code: Code) -> Status {
        let metadata = self.metadata.iter().map(|(name, value)| ((*name).into(), value.clone()));
        let mut details = ErrorDetails::with_error_info(
            self.kind.reason(),
            self.kind.domain(),
            metadata.collect::<std::collections::HashMap<_, _>>(),
        );
        for (field, why) in &self.violations {
            details.add_bad_request_violation(field, why);
        }
        if let Some(span) = self.retry_after {
            details.set_retry_info(Some(span));
        }
        Status::with_error_details(code, self.message.as_str(), details)
    }

    fn details(&self) -> Vec<Value> {
        let metadata: Map<_, _> =
            self.metadata.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        let mut info = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.kind.reason(),
            "domain": self.kind.domain(),
        });
        if !metadata.is_empty() {
            info["metadata"] = Value::Object(metadata);
        }
        let mut details = vec![info];
        if !self.violations.is_empty() {
            let violation =
                |(field, why): &(String, String)| json!({"field": field, "description": why});
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": self.violations.iter().map(violation).collect::<Vec<_>>(),
            }));
        }
        if let Some(span) = self.retry_after {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}.{:03}s", span.as_secs(), span.subsec_millis()),
            }));
        }
        details
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.code {
            RefusalCode::Invalid | RefusalCode::OutOfOrder | RefusalCode::Deadlock => {
                FaultKind::InvalidParams
            }
            RefusalCode::TooLarge => FaultKind::TooLarge,
            RefusalCode::NotFound => FaultKind::TaskNotFound,
            RefusalCode::AlreadyTaken | RefusalCode::KeyReused => FaultKind::KeyConflict,
            RefusalCode::StaleToken | RefusalCode::WrongState => FaultKind::UnsupportedOperation,
            RefusalCode::InboxFull | RefusalCode::KeyCap | RefusalCode::DiskFull => {
                FaultKind::Exhausted
            }
            RefusalCode::Forbidden => FaultKind::Forbidden,
            RefusalCode::NobodyThere
            | RefusalCode::StoreFailed
            | RefusalCode::Draining
            | RefusalCode::Unavailable => FaultKind::Unavailable,
        };
        let mut fault = Self::new(kind, refusal.message).with("code", refusal.code.as_str());
        fault.retry_after = refusal.retry_after;
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_table_of_errors_holds() {
        use FaultKind::{
            ContentTypeNotSupported, ExtendedAgentCardNotConfigured, ExtensionSupportRequired,
            InvalidAgentResponse, PushNotificationNotSupported, TaskNotCancelable, TaskNotFound,
            UnsupportedOperation, VersionNotSupported,
        };
        for (kind, reason, rpc, status, http) in [
            (TaskNotFound, "TASK_NOT_FOUND", -32001, "NOT_FOUND", 404),
            (TaskNotCancelable, "TASK_NOT_CANCELABLE", -32002, "FAILED_PRECONDITION", 400),
            (
                PushNotificationNotSupported,
                "PUSH_NOTIFICATION_NOT_SUPPORTED",
                -32003,
                "FAILED_PRECONDITION",
                400,
            ),
            (UnsupportedOperation, "UNSUPPORTED_OPERATION", -32004, "FAILED_PRECONDITION", 400),
            (
                ContentTypeNotSupported,
                "CONTENT_TYPE_NOT_SUPPORTED",
                -32005,
                "INVALID_ARGUMENT",
                400,
            ),
            (InvalidAgentResponse, "INVALID_AGENT_RESPONSE", -32006, "INTERNAL", 500),
            (
                ExtendedAgentCardNotConfigured,
                "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
                -32007,
                "FAILED_PRECONDITION",
                400,
            ),
            (
                ExtensionSupportRequired,
                "EXTENSION_SUPPORT_REQUIRED",
                -32008,
                "FAILED_PRECONDITION",
                400,
            ),
            (VersionNotSupported, "VERSION_NOT_SUPPORTED", -32009, "FAILED_PRECONDITION", 400),
        ] {
            assert_eq!(
                (kind.reason(), kind.rpc_code(), kind.status(), kind.http_status()),
                (reason, rpc, status, http)
            );
            assert_eq!(kind.domain(), "a2a-protocol.org");
        }
    }

    #[test]
    fn every_error_has_an_error_info_in_all_bindings() {
        for &kind in FaultKind::ALL {
            let fault = Fault::new(kind, "no").with("taskId", "t");
            let (rpc, http) = (fault.to_rpc(), fault.to_http());
            assert_eq!(rpc["data"], http["error"]["details"]);
            let info = &rpc["data"][0];
            assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
            assert_eq!(info["reason"], kind.reason());
            assert_eq!(info["metadata"]["taskId"], "t");
            let status = fault.to_status();
            let info = status.get_details_error_info().unwrap();
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (kind.reason(), kind.domain())
            );
            assert_eq!(info.metadata["taskId"], "t");
            let named = format!("{:?}", status.code()).to_uppercase();
            assert_eq!(named, kind.status().replace('_', ""));
        }
    }

    #[test]
    fn a_wrong_field_is_named_and_a_hint_when_to_try_again_is_kept() {
        let fault = Fault::field("message.parts", "at least one is needed");
        let violation = &fault.to_rpc()["data"][1]["fieldViolations"][0];
        assert_eq!(violation["field"], "message.parts");
        let refusal =
            Refusal::new(RefusalCode::InboxFull, "full").retry_after(Duration::from_millis(1_500));
        let fault = Fault::from(refusal);
        assert_eq!(fault.retry_seconds(), Some(2));
        assert_eq!(fault.to_http()["error"]["details"][1]["retryDelay"], "1.500s");
    }
}
