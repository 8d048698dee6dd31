//! Answers of an agent elsewhere: what they say, and what an error means for what was asked.
//!
//! The one thing that matters of an error is whether the downstream may have done what was asked.
//! A refusal says that it has not; whatever cannot be read says nothing. That it is not there just
//! now says nothing either when work was to begin: what stands in front of a server says so too
//! after the server has taken the call. Only what says when to try again, or why it was not taken,
//! may be sent again. An error with a code of its own, which the standard does not have, says nothing
//! either, because it may be about work that was begun, unless the status of HTTP that it comes with
//! says that it was not taken.

use super::card::{Binding, Interface, Spoken};
use super::request::Ask;
use crate::compat;
use crate::fault::FaultKind;
use crate::wire::{StreamResponse, Task, stream_response::Payload as Told};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use trunkline_types::RefusalCode;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// What it means.
    pub why: Why,
    /// What is wrong, for people.
    pub text: String,
}

/// What it means that there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Nothing went out.
    NotSent,
    /// It was not taken, and may be later, perhaps after so long.
    Busy(Option<Duration>),
    /// It was refused: nothing was done, and would not be the next time.
    Refused,
    /// It was refused because there is no such task.
    NoTask,
    /// It was refused because of the conversation that it names: nothing was done.
    NoContext,
    /// It was refused because it has passed the same broker before.
    Loop,
    /// It is not known whether it was done.
    Unknown,
}

impl Trouble {
    /// Trouble of a kind.
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }

    /// What a status of gRPC means that a server has answered with.
    pub fn of_grpc(ask: &Ask, status: &Status) -> Self {
        let mut text = format!("it answered with {:?}: {}", status.code(), status.message());
        text.truncate(text.floor_char_boundary(2_000));
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info.map_or("", |info| info.reason.as_str());
        let after = details.retry_info().and_then(|info| info.retry_delay);
        let why_not = info.map_or("", |info| info.metadata.get("code").map_or("", String::as_str));
        let is_ours = info.is_some_and(|info| info.domain == FaultKind::Unavailable.domain());
        let untaken = is_ours && is_untaken(reason, why_not);
        let is = |kind: FaultKind| reason == kind.reason();
        let why = match status.code() {
            _ if is(FaultKind::Loop) => Why::Loop,
            _ if is(FaultKind::TaskNotFound) => Why::NoTask,
            Code::NotFound if reason.is_empty() && !ask.begins() => Why::NoTask,
            Code::Unavailable | Code::ResourceExhausted => busy(ask.begins(), untaken, after),
            Code::InvalidArgument => {
                let fields = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
                let mut texts = fields.iter().map(|violation| violation.field.as_str());
                if names_context(status.message()) || texts.any(names_context) {
                    Why::NoContext
                } else {
                    Why::Refused
                }
            }
            Code::NotFound
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => Why::Refused,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::DataLoss => Why::Unknown,
        };
        Self { why, text }
    }

    /// What a status of HTTP means, where there should have been another answer, for a call that
    /// begins work or does not.
    pub fn of_http(begins: bool, status: u16, retry_after: Option<Duration>) -> Self {
        of_status(begins, status, retry_after)
    }
}

impl Interface {
    /// Reads what answers a request that has one answer.
    ///
    /// # Errors
    /// The [`Trouble`] that it tells of, or that it is no answer.
    pub fn answer(
        &self,
        ask: &Ask,
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Result<StreamResponse, Trouble> {
        let read = serde_json::from_slice::<Value>(body);
        let failed = !(200..300).contains(&status);
        let begins = ask.begins();
        let unreadable = || {
            let mut trouble = of_status(begins, status, retry_after);
            // All that this version says of it.
            let is_old = self.binding == Binding::Rest && self.spoken == Spoken::V03;
            if is_old && status == 404 && !ask.begins() {
                trouble.why = Why::NoTask;
            }
            trouble
        };
        match (self.binding, read) {
            (_, Err(error)) if !failed => {
                Err(Trouble::new(Why::Unknown, format!("its answer is no JSON: {error}")))
            }
            (_, Err(_no_json)) => Err(unreadable()),
            (Binding::JsonRpc | Binding::Grpc, Ok(Value::Object(mut answer))) => {
                if let Some(error) = answer.remove("error").filter(|error| !error.is_null()) {
                    let details = &error["data"];
                    let mut trouble = of_error(begins, &error, details, retry_after);
                    // What has no meaning of its own is told by its status.
                    if failed && trouble.why == Why::Unknown {
                        let after = retry_after.or_else(|| retry_info(details));
                        let told = of_status(begins, status, after).why;
                        let code = error["code"].as_i64();
                        let is_own = code.is_some_and(|code| !is_known(code));
                        if code.is_none() || (is_own && matches!(told, Why::Busy(_))) {
                            trouble.why = told;
                        }
                    }
                    return Err(trouble);
                }
                match answer.remove("result").filter(|_| !failed) {
                    Some(result) => self.result(ask, result),
                    None => Err(unreadable()),
                }
            }
            (Binding::Rest, Ok(answer)) if failed => match answer.get("error") {
                Some(error) => {
                    let details = &error["details"];
                    let mut trouble = of_error(begins, error, details, retry_after);
                    // What has no reason of its own is told by its status.
                    if matches!(trouble.why, Why::Refused | Why::Unknown) {
                        let after = retry_after.or_else(|| retry_info(details));
                        trouble.why = of_status(begins, status, after).why;
                        if trouble.why == Why::Refused && error["status"] == "INVALID_ARGUMENT" {
                            trouble.why = invalid(error, details);
                        }
                    }
                    Err(trouble)
                }
                None => Err(unreadable()),
            },
            (Binding::Rest, Ok(answer)) => self.result(ask, answer),
            (Binding::JsonRpc | Binding::Grpc, Ok(_)) => Err(unreadable()),
        }
    }

    /// Reads the data of one event.
    ///
    /// # Errors
    /// The [`Trouble`] that it tells of, or that it is no event.
    pub fn event(&self, ask: &Ask, data: &[u8]) -> Result<StreamResponse, Trouble> {
        let is_error = self.binding == Binding::Rest
            && serde_json::from_slice::<Value>(data).is_ok_and(|said| said.get("error").is_some());
        self.answer(ask, if is_error { 500 } else { 200 }, None, data)
    }

    fn result(&self, ask: &Ask, result: Value) -> Result<StreamResponse, Trouble> {
        let nonsense =
            |what: String| Trouble::new(Why::Unknown, format!("its answer cannot be read: {what}"));
        let is_task = matches!(ask, Ask::Get(..) | Ask::Cancel(_));
        let result = match self.spoken {
            Spoken::V03 => compat::told(result).map_err(|fault| nonsense(fault.message))?,
            Spoken::V1 if is_task => json!({ "task": result }),
            Spoken::V1 => result,
        };
        let read: StreamResponse =
            serde_json::from_value(result).map_err(|error| nonsense(error.to_string()))?;
        ask.checked(read)
    }
}

impl Ask {
    /// An answer, if it is one to what was asked.
    ///
    /// # Errors
    /// The [`Trouble`] that it is none.
    pub fn checked(&self, read: StreamResponse) -> Result<StreamResponse, Trouble> {
        let nonsense =
            |what: String| Trouble::new(Why::Unknown, format!("its answer cannot be read: {what}"));
        let is_task = matches!(self, Self::Get(..) | Self::Cancel(_));
        match &read.payload {
            None => Err(nonsense("it is none of task, message and update".to_owned())),
            Some(Told::Task(Task { id, status, .. })) if id.is_empty() || status.is_none() => {
                Err(nonsense("it is a task without its id or its status".to_owned()))
            }
            Some(Told::Task(_)) => Ok(read),
            Some(_) if is_task => Err(nonsense("it is no task".to_owned())),
            Some(_) => Ok(read),
        }
    }
}

/// What it means that there is no room or nobody there now: nothing of whether work was begun,
/// unless it is known to be `untaken` or it is said when to try again.
fn busy(begins: bool, untaken: bool, after: Option<Duration>) -> Why {
    if begins && !untaken && after.is_none() { Why::Unknown } else { Why::Busy(after) }
}

/// Whether a broker that refuses for this reason, and this class of refusal, has not taken what it
/// was sent. Of a broker that was lost on the way that is not known.
fn is_untaken(reason: &str, why_not: &str) -> bool {
    let codes = [RefusalCode::Draining, RefusalCode::NobodyThere];
    reason == FaultKind::Exhausted.reason()
        || (reason == FaultKind::Unavailable.reason()
            && codes.iter().any(|code| code.as_str() == why_not))
}

/// When to try again, as the details of an error in JSON say it.
fn retry_info(details: &Value) -> Option<Duration> {
    let details = details.as_array().map(Vec::as_slice).unwrap_or_default();
    let said = details.iter().find_map(|it| it["retryDelay"].as_str())?;
    let seconds: f64 = said.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// What a status of HTTP means by itself.
fn of_status(begins: bool, status: u16, retry_after: Option<Duration>) -> Trouble {
    let text = format!("it answered with status {status}");
    let why = match status {
        // That is said before anything is done.
        425 | 429 => Why::Busy(retry_after),
        // The first of them is said of work that took too long as well as of a slow request.
        408 | 503 => busy(begins, false, retry_after),
        // Whoever stands in front says of itself that it did not wait for the answer.
        499 => Why::Unknown,
        400..500 => Why::Refused,
        _ => Why::Unknown,
    };
    Trouble::new(why, text)
}

/// What an error object means, as JSON-RPC and `google.rpc.Status` have it.
fn of_error(
    begins: bool,
    error: &Value,
    details: &Value,
    retry_after: Option<Duration>,
) -> Trouble {
    let message = error["message"].as_str().unwrap_or_default();
    let code = error["code"].as_i64().unwrap_or_default();
    let mut text: String = format!("it answered with error {code}: {message}");
    text.truncate(text.floor_char_boundary(2_000));
    let after = retry_after.or_else(|| retry_info(details));
    let all = details.as_array().map(Vec::as_slice).unwrap_or_default();
    let info = all.iter().find(|it| it["reason"].is_string()).unwrap_or(&Value::Null);
    let reason = info["reason"].as_str().unwrap_or_default();
    let is_ours = info["domain"] == FaultKind::Unavailable.domain();
    let why_not = info["metadata"]["code"].as_str().unwrap_or_default();
    let is = |kind: FaultKind| reason == kind.reason();
    let rpc = |kind: FaultKind| code == i64::from(kind.rpc_code());
    let why = if is(FaultKind::Unavailable) || is(FaultKind::Exhausted) {
        busy(begins, is_ours && is_untaken(reason, why_not), after)
    } else if is(FaultKind::Loop) {
        Why::Loop
    } else if is(FaultKind::TaskNotFound) || rpc(FaultKind::TaskNotFound) {
        Why::NoTask
    } else if rpc(FaultKind::InvalidParams) {
        invalid(error, details)
    } else if let Some(status) = namesake(code) {
        of_status(begins, status, after).why
    } else if is_refusal(code) {
        Why::Refused
    } else {
        Why::Unknown
    };
    Trouble::new(why, text)
}

/// The status of HTTP, of those that tell of an error, after which a code is named.
fn namesake(code: i64) -> Option<u16> {
    u16::try_from(code).ok().filter(|status| (400..600).contains(status))
}

/// Whether a code is one of the standard, of JSON-RPC or of HTTP, and means what it means there.
fn is_known(code: i64) -> bool {
    let unsure = [FaultKind::Internal, FaultKind::InvalidAgentResponse];
    namesake(code).is_some()
        || is_refusal(code)
        || unsure.iter().any(|kind| code == i64::from(kind.rpc_code()))
}

/// Whether an error of this code says that nothing was done: those of the standard that are said
/// before work begins, and those of JSON-RPC that blame the request.
fn is_refusal(code: i64) -> bool {
    let kinds = [
        FaultKind::TaskNotCancelable,
        FaultKind::PushNotificationNotSupported,
        FaultKind::UnsupportedOperation,
        FaultKind::ContentTypeNotSupported,
        FaultKind::ExtendedAgentCardNotConfigured,
        FaultKind::ExtensionSupportRequired,
        FaultKind::VersionNotSupported,
        FaultKind::Parse,
        FaultKind::InvalidRequest,
        FaultKind::MethodNotFound,
        FaultKind::InvalidParams,
    ];
    kinds.iter().any(|kind| code == i64::from(kind.rpc_code()))
}

/// What it means that something in a request is wrong.
fn invalid(error: &Value, details: &Value) -> Why {
    let details = details.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut fields = details
        .iter()
        .filter_map(|it| it["fieldViolations"].as_array())
        .flatten()
        .filter_map(|violation| violation["field"].as_str());
    let message = error["message"].as_str().unwrap_or_default();
    if names_context(message) || fields.any(names_context) { Why::NoContext } else { Why::Refused }
}

/// Whether a text speaks of the field `contextId`, however it is spelt.
fn names_context(text: &str) -> bool {
    text.to_lowercase().replace(['_', ' '], "").contains("contextid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use tonic_types::ErrorDetails;
    use trunkline_types::Refusal;

    fn interface(binding: Binding, spoken: Spoken) -> Interface {
        Interface { url: String::new(), binding, spoken, tenant: String::new() }
    }

    fn rpc() -> Interface {
        interface(Binding::JsonRpc, Spoken::V1)
    }

    fn get() -> Ask {
        Ask::Get("t".into(), 0)
    }

    fn why(interface: &Interface, status: u16, body: &Value) -> Why {
        interface.answer(&get(), status, None, body.to_string().as_bytes()).unwrap_err().why
    }

    #[test]
    fn a_task_is_read_in_every_binding_and_version() {
        let task = json!({"id": "t", "status": {"state": "TASK_STATE_WORKING"}});
        let old = json!({"kind": "task", "id": "t", "status": {"state": "working"}});
        let rest = interface(Binding::Rest, Spoken::V1);
        let v03 = interface(Binding::JsonRpc, Spoken::V03);
        let sent = Ask::Subscribe("t".into());
        for (interface, ask, body) in [
            (rpc(), get(), json!({"result": task})),
            (rpc(), sent.clone(), json!({"result": {"task": task}})),
            (rest.clone(), get(), task.clone()),
            (rest, sent, json!({"task": task})),
            (v03, get(), json!({"result": old})),
        ] {
            let read = interface.answer(&ask, 200, None, body.to_string().as_bytes()).unwrap();
            assert!(matches!(read.payload, Some(Told::Task(task)) if task.id == "t"));
        }
    }

    #[test]
    fn a_refusal_is_told_from_what_may_have_been_done() {
        let fault = |kind| Fault::new(kind, "no");
        for (kind, meant) in [
            (FaultKind::TaskNotFound, Why::NoTask),
            (FaultKind::UnsupportedOperation, Why::Refused),
            (FaultKind::InvalidParams, Why::Refused),
            (FaultKind::Unavailable, Why::Busy(None)),
            (FaultKind::Exhausted, Why::Busy(None)),
            (FaultKind::Loop, Why::Loop),
            (FaultKind::Internal, Why::Unknown),
        ] {
            assert_eq!(
                why(&rpc(), 200, &json!({"error": fault(kind).to_rpc()})),
                meant,
                "{kind:?}"
            );
            let rest = interface(Binding::Rest, Spoken::V1);
            assert_eq!(why(&rest, kind.http_status(), &fault(kind).to_http()), meant, "{kind:?}");
        }
        let full = Fault::from(Refusal::new(RefusalCode::InboxFull, "full"));
        assert_eq!(why(&rpc(), 200, &json!({"error": full.to_rpc()})), Why::Busy(None));
        for (status, meant) in [
            (400, Why::Refused),
            (404, Why::Refused),
            (429, Why::Busy(None)),
            (500, Why::Unknown),
            (502, Why::Unknown),
            (503, Why::Busy(None)),
            (504, Why::Unknown),
        ] {
            let answered = rpc().answer(&get(), status, None, b"<html>");
            assert_eq!(answered.unwrap_err().why, meant, "{status}");
        }
    }

    #[test]
    fn only_what_is_known_to_be_said_before_work_begins_is_a_refusal() {
        let sent = Ask::Send(Box::default());
        let rest = interface(Binding::Rest, Spoken::V1);
        for (code, text, meant) in [
            (-32000, "context deadline exceeded", Why::Unknown),
            (-32006, "over the maximum context length", Why::Unknown),
            (-32050, "unknown contextId", Why::Unknown),
            (0, "", Why::Unknown),
            (-32602, "over the maximum context length", Why::Refused),
            (-32602, "unknown contextId", Why::NoContext),
            (-32602, "context_id: is unknown", Why::NoContext),
            (-32602, "bad context id", Why::NoContext),
            (-32600, "unknown contextId", Why::Refused),
            (-32700, "", Why::Refused),
            (-32601, "", Why::Refused),
            (-32001, "", Why::NoTask),
            (-32002, "", Why::Refused),
            (-32005, "", Why::Refused),
            (-32009, "", Why::Refused),
            (401, "", Why::Refused),
            (408, "", Why::Unknown),
            (425, "", Why::Busy(None)),
            (429, "", Why::Busy(None)),
            (499, "", Why::Unknown),
            (500, "", Why::Unknown),
            (503, "", Why::Unknown),
        ] {
            let body = json!({"error": {"code": code, "message": text}}).to_string();
            let trouble = rpc().answer(&sent, 200, None, body.as_bytes()).unwrap_err();
            assert_eq!(trouble.why, meant, "{code} {text}");
        }
        // What is no error of JSON-RPC is told by its status.
        let body = json!({"error": "who are you?"}).to_string();
        let trouble = rpc().answer(&sent, 401, None, body.as_bytes()).unwrap_err();
        assert_eq!(trouble.why, Why::Refused);
        let fault = Fault::field("message.contextId", "is unknown");
        for (status, text, meant) in [
            ("INVALID_ARGUMENT", "unknown context_id", Why::NoContext),
            ("INVALID_ARGUMENT", "over the maximum context length", Why::Refused),
            ("FAILED_PRECONDITION", "unknown contextId", Why::Refused),
        ] {
            let body = json!({"error": {"code": 400, "status": status, "message": text}});
            let trouble = rest.answer(&sent, 400, None, body.to_string().as_bytes()).unwrap_err();
            assert_eq!(trouble.why, meant, "{status} {text}");
        }
        let body = fault.to_http().to_string();
        let trouble = rest.answer(&sent, 400, None, body.as_bytes()).unwrap_err();
        assert_eq!(trouble.why, Why::NoContext);
        let body = json!({"error": {"code": 400, "status": "INTERNAL", "message": "context"}});
        let trouble = rest.answer(&sent, 500, None, body.to_string().as_bytes()).unwrap_err();
        assert_eq!(trouble.why, Why::Unknown);
        for (status, meant) in [
            (fault.to_status(), Why::NoContext),
            (Status::invalid_argument("over the maximum context length"), Why::Refused),
            (Status::failed_precondition("unknown contextId"), Why::Refused),
            (Status::deadline_exceeded("context deadline exceeded"), Why::Unknown),
        ] {
            assert_eq!(Trouble::of_grpc(&sent, &status).why, meant, "{status}");
        }
    }

    #[test]
    fn a_status_of_grpc_is_told_apart_as_the_error_that_it_is() {
        for (kind, meant) in [
            (FaultKind::TaskNotFound, Why::NoTask),
            (FaultKind::AgentNotFound, Why::Refused),
            (FaultKind::UnsupportedOperation, Why::Refused),
            (FaultKind::Unavailable, Why::Busy(None)),
            (FaultKind::Loop, Why::Loop),
            (FaultKind::Internal, Why::Unknown),
        ] {
            let status = Fault::new(kind, "no").to_status();
            assert_eq!(Trouble::of_grpc(&get(), &status).why, meant, "{kind:?}");
        }
        let sent = Ask::Send(Box::default());
        let bare = Status::not_found("x");
        assert_eq!(Trouble::of_grpc(&get(), &bare).why, Why::NoTask);
        assert_eq!(Trouble::of_grpc(&sent, &bare).why, Why::Refused);
    }

    #[test]
    fn what_may_have_been_begun_is_busy_only_if_that_is_said() {
        let sent = Ask::Send(Box::default());
        let hint = Some(Duration::from_millis(1_500));
        let refusal = |code| Fault::from(Refusal::new(code, "no"));
        let later = Fault::from(
            Refusal::new(RefusalCode::Unavailable, "no").retry_after(Duration::from_millis(1_500)),
        );
        let rest = interface(Binding::Rest, Spoken::V1);
        for (fault, meant) in [
            (Fault::new(FaultKind::Unavailable, "no"), Why::Unknown),
            (refusal(RefusalCode::Unavailable), Why::Unknown),
            (refusal(RefusalCode::StoreFailed), Why::Unknown),
            (refusal(RefusalCode::Draining), Why::Busy(None)),
            (refusal(RefusalCode::InboxFull), Why::Busy(None)),
            (later, Why::Busy(hint)),
        ] {
            let grpc = Trouble::of_grpc(&sent, &fault.to_status());
            assert_eq!(grpc.why, meant, "{fault:?}");
            let body = json!({"error": fault.to_rpc()}).to_string();
            let answered = rpc().answer(&sent, 200, None, body.as_bytes());
            assert_eq!(answered.unwrap_err().why, meant, "{fault:?}");
            let (status, body) = (fault.kind.http_status(), fault.to_http().to_string());
            let answered = rest.answer(&sent, status, None, body.as_bytes());
            assert_eq!(answered.unwrap_err().why, meant, "{fault:?}");
        }
        // What says nothing of us may have been said by whoever stands in front.
        for status in [Status::unavailable("x"), Status::resource_exhausted("x")] {
            assert_eq!(Trouble::of_grpc(&sent, &status).why, Why::Unknown);
            assert_eq!(Trouble::of_grpc(&get(), &status).why, Why::Busy(None));
        }
        let details = ErrorDetails::with_retry_info(hint);
        let status = Status::with_error_details(Code::Unavailable, "x", details);
        assert_eq!(Trouble::of_grpc(&sent, &status).why, Why::Busy(hint));
        let others = ErrorDetails::with_error_info("EXHAUSTED", "example.com", []);
        let status = Status::with_error_details(Code::ResourceExhausted, "x", others);
        assert_eq!(Trouble::of_grpc(&sent, &status).why, Why::Unknown);
        for (status, after, meant) in
            [(503, None, Why::Unknown), (503, hint, Why::Busy(hint)), (429, None, Why::Busy(None))]
        {
            let answered = rest.answer(&sent, status, after, b"<html>").unwrap_err();
            assert_eq!(answered.why, meant, "{status}");
            assert_eq!(Trouble::of_http(true, status, after).why, meant, "{status}");
        }
        assert_eq!(Trouble::of_http(false, 503, None).why, Why::Busy(None));
    }

    #[test]
    fn what_comes_with_a_status_that_it_was_not_taken_may_be_sent_again() {
        let sent = Ask::Send(Box::default());
        let hint = Some(Duration::from_secs(3));
        for (status, code, after, meant) in [
            (429, -32000, None, Why::Busy(None)),
            (429, -32000, hint, Why::Busy(hint)),
            (425, -32000, None, Why::Busy(None)),
            (503, -32000, hint, Why::Busy(hint)),
            (408, -32000, hint, Why::Busy(hint)),
            (503, -32000, None, Why::Unknown),
            (408, -32000, None, Why::Unknown),
            (499, -32000, hint, Why::Unknown),
            (400, -32000, None, Why::Unknown),
            (500, -32000, hint, Why::Unknown),
            // What has a meaning keeps it.
            (429, -32602, None, Why::Refused),
            (503, -32603, hint, Why::Unknown),
            (503, -32006, hint, Why::Unknown),
            (503, 500, hint, Why::Unknown),
            (400, 503, hint, Why::Busy(hint)),
            (400, 408, hint, Why::Busy(hint)),
        ] {
            let body = json!({"error": {"code": code, "message": "slow down"}}).to_string();
            let answered = rpc().answer(&sent, status, after, body.as_bytes());
            assert_eq!(answered.unwrap_err().why, meant, "{status} {code} {after:?}");
        }
        let info = json!([{"retryDelay": "3s"}]);
        let body = json!({"error": {"code": -32000, "message": "slow down", "data": info}});
        let answered = rpc().answer(&sent, 503, None, body.to_string().as_bytes());
        assert_eq!(answered.unwrap_err().why, Why::Busy(hint));
        let rest = interface(Binding::Rest, Spoken::V1);
        for (status, after, meant) in [
            (408, None, Why::Unknown),
            (408, hint, Why::Busy(hint)),
            (425, None, Why::Busy(None)),
            (499, None, Why::Unknown),
        ] {
            let answered = rest.answer(&sent, status, after, b"<html>").unwrap_err();
            assert_eq!(answered.why, meant, "{status}");
        }
    }

    #[test]
    fn the_earlier_version_says_by_status_alone_that_there_is_no_such_task() {
        let old = interface(Binding::Rest, Spoken::V03);
        let why = |ask: &Ask, status| old.answer(ask, status, None, b"{}").unwrap_err().why;
        assert_eq!(why(&get(), 404), Why::NoTask);
        assert_eq!(why(&Ask::Send(Box::default()), 404), Why::Refused);
        assert_eq!(why(&get(), 400), Why::Refused);
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for body in
            ["", "{}", "[]", "{\"result\":{}}", "{\"result\":{\"id\":\"t\"}}", "{\"result\":5}"]
        {
            let trouble = rpc().answer(&get(), 200, None, body.as_bytes()).unwrap_err();
            assert_eq!(trouble.why, Why::Unknown, "{body}");
        }
        let message = json!({"result": {"message": {"messageId": "m", "role": "ROLE_AGENT"}}});
        assert_eq!(why(&rpc(), 200, &message), Why::Unknown);
    }
}
