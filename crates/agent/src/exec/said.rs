//! What a child says on descriptor 3, a line each: how far it is, pieces of results, and how its
//! work ends other than by its exit code.

use crate::Task;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::watch;
use trunkline_types::{Outcome, PauseReason, Payload};

/// The longest line in bytes that is read; the rest of a longer one is skipped. A payload of the
/// default limit fits in, as base64 too.
const LONGEST_LINE: usize = 2 << 20;

/// How long the pipe of a child that has ended may stay open without a line, held by something
/// that left its process group.
const LINGER: Duration = Duration::from_secs(1);

/// What a run has said.
#[derive(Default)]
pub(super) struct Said {
    /// How it ends; the last word counts.
    pub(super) ending: Option<Ending>,
    /// The first thing that could not be done as it was said, because of which the attempt fails.
    pub(super) fault: Option<String>,
}

/// How a run ends by its own word.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Ending {
    how: How,
    /// The end of stderr if nothing is said.
    reason: Option<String>,
    delay: Option<Duration>,
}

/// The words for it.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
enum How {
    Fail,
    Reject,
    Retry,
    DeadLetter,
    Release,
    InputRequired,
    AuthRequired,
}

/// A line as it may come.
#[derive(PartialEq, Eq, Debug)]
enum Line {
    Progress(ProgressLine),
    Artifact { name: String, append: bool, last: bool, payload: Payload },
    Ending(Ending),
}

#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct ProgressLine {
    percent: Option<u8>,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactLine {
    artifact: String,
    text: Option<String>,
    base64: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    append: bool,
    last: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndingLine {
    outcome: How,
    reason: Option<String>,
    delay_ms: Option<u64>,
}

/// Why a line says nothing.
struct Malformed {
    reason: String,
    /// Whether it was meant to do more than tell how far the work is.
    matters: bool,
}

impl Ending {
    /// How the delivery ends. `told` is the end of stderr, `reply` what is on stdout, of the media
    /// type `content_type` if that says anything: the question of a task that waits for its
    /// caller.
    pub(super) fn outcome(
        self,
        told: impl FnOnce() -> String,
        reply: Vec<u8>,
        content_type: &str,
    ) -> Outcome {
        let Self { how, reason, delay } = self;
        let reason = || crate::handler::cut(reason.unwrap_or_else(told));
        let question = || match String::from_utf8(reply) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) if !content_type.is_empty() => Some(Payload::new(content_type, text)),
            Ok(text) => Some(Payload::text(text)),
            Err(error) => Some(Payload::new(content_type, error.into_bytes())),
        };
        match how {
            How::Fail => Outcome::Fail { reason: reason() },
            How::Reject => Outcome::Reject { reason: reason() },
            How::Retry => Outcome::Retry { reason: reason(), delay },
            How::DeadLetter => Outcome::DeadLetter { reason: reason() },
            How::Release => Outcome::Release,
            How::InputRequired => {
                Outcome::Pause { reason: PauseReason::Input, message: question() }
            }
            How::AuthRequired => Outcome::Pause { reason: PauseReason::Auth, message: question() },
        }
    }
}

/// Reads lines until the child closes its end, or has ended and nothing comes any more, and does
/// what they say. A malformed one about progress is reported once for the run and otherwise
/// ignored; one that was to do more is a fault.
pub(super) async fn follow(
    mut lines: impl AsyncBufRead + Unpin,
    task: &Task,
    mut ended: watch::Receiver<bool>,
) -> Said {
    let mut said = Said::default();
    let (mut percent, mut reported) = (0, false);
    let mut line = Vec::new();
    loop {
        let whole = tokio::select! {
            read = next_line(&mut lines, &mut line) => match read {
                Ok(Some(whole)) => whole,
                Ok(None) | Err(_) => break,
            },
            () = lingered(&mut ended) => break,
        };
        match parse(&line, whole) {
            Ok(Some(Line::Progress(ProgressLine { percent: given, text }))) => {
                percent = given.unwrap_or(percent);
                if let Err(refusal) = task.progress(percent, text).await {
                    // Progress is no reason to end the child; whatever else follows comes by
                    // itself.
                    tracing::debug!(task = %task.id(), %refusal, "progress was refused");
                }
            }
            Ok(Some(Line::Artifact { name, append, last, payload })) => {
                if let Err(refusal) = task.artifact(&name, payload, append, last).await {
                    let refused = || format!("artifact '{name}' was refused: {}", refusal.message);
                    said.fault.get_or_insert_with(refused);
                }
            }
            Ok(Some(Line::Ending(ending))) => said.ending = Some(ending),
            Ok(None) => {}
            Err(Malformed { reason, matters }) => {
                let shown: String = String::from_utf8_lossy(&line).chars().take(200).collect();
                if matters {
                    let fault = || format!("a line on descriptor 3 is wrong: {reason}: {shown}");
                    said.fault.get_or_insert_with(fault);
                } else if !reported {
                    reported = true;
                    tracing::warn!(task = %task.id(), line = shown, reason, "a progress line is ignored");
                }
            }
        }
    }
    said
}

/// Done a while after the child has ended.
pub(super) async fn lingered(ended: &mut watch::Receiver<bool>) {
    // Whoever tells goes only with the run.
    let _ = ended.wait_for(|ended| *ended).await;
    tokio::time::sleep(LINGER).await;
}

/// Reads one line without its end into `line`; `None` at the end of all, else whether it is whole.
async fn next_line(
    lines: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Option<bool>> {
    line.clear();
    let (mut any, mut whole) = (false, true);
    loop {
        let chunk = lines.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let room = LONGEST_LINE.saturating_sub(line.len());
        whole &= part.len() <= room;
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        lines.consume(used);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}

/// A JSON object is taken as such, any other line as a text.
fn parse(line: &[u8], whole: bool) -> Result<Option<Line>, Malformed> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with('{') {
        let text = text.to_owned();
        return Ok(Some(Line::Progress(ProgressLine { percent: None, text })));
    }
    // What is no JSON is taken for what it looks like, so that no outcome is lost for a quote.
    let looks = |word| text.contains(word);
    let matters = looks("\"outcome\"") || looks("\"artifact\"");
    let wrong = |reason: String| Malformed { reason, matters };
    if !whole {
        return Err(wrong(format!("it is over the limit of {LONGEST_LINE} bytes")));
    }
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let line = if fields.contains_key("outcome") {
        ending(fields)
    } else if fields.contains_key("artifact") {
        artifact(fields)
    } else {
        progress(fields)
    };
    line.map(Some).map_err(wrong)
}

fn read<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

fn progress(fields: Map<String, Value>) -> Result<Line, String> {
    let line: ProgressLine = read(fields)?;
    match line.percent {
        Some(percent) if percent > 100 => {
            Err(format!("percent is {percent}, the range is 0 to 100"))
        }
        _ => Ok(Line::Progress(line)),
    }
}

fn artifact(fields: Map<String, Value>) -> Result<Line, String> {
    let ArtifactLine { artifact: name, text, base64, content_type, append, last } = read(fields)?;
    let mut payload = match (text, base64) {
        (Some(text), None) => Payload::text(text),
        (None, Some(coded)) => {
            let bytes = STANDARD.decode(coded).map_err(|error| format!("base64: {error}"))?;
            Payload::new("application/octet-stream", bytes)
        }
        _ => return Err("an artifact has either text or base64".into()),
    };
    if let Some(content_type) = content_type {
        payload.content_type = content_type.into();
    }
    Ok(Line::Artifact { name, append, last: last.unwrap_or(true), payload })
}

fn ending(fields: Map<String, Value>) -> Result<Line, String> {
    let EndingLine { outcome: how, reason, delay_ms } = read(fields)?;
    if delay_ms.is_some() && how != How::Retry {
        return Err("delay_ms goes with the outcome retry".into());
    }
    if reason.is_some() && matches!(how, How::Release | How::InputRequired | How::AuthRequired) {
        return Err("this outcome has no reason; a question goes to stdout".into());
    }
    Ok(Line::Ending(Ending { how, reason, delay: delay_ms.map(Duration::from_millis) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Line>, (bool, String)> {
        parse(line.as_bytes(), true).map_err(|Malformed { reason, matters }| (matters, reason))
    }

    #[test]
    fn a_line_is_json_or_a_text() {
        let line = |percent, text: &str| {
            Ok(Some(Line::Progress(ProgressLine { percent, text: text.into() })))
        };
        assert_eq!(parsed(r#"{"percent":7,"text":"x"}"#), line(Some(7), "x"));
        assert_eq!(parsed(r#"{"percent":7}"#), line(Some(7), ""));
        assert_eq!(parsed(" half way \r"), line(None, "half way"));
        assert_eq!(parsed("  "), Ok(None));
        assert!(parsed(r#"{"percent":101}"#).unwrap_err().1.contains("101"));
        assert!(!parsed(r#"{"per"#).unwrap_err().0, "it was only to tell how far the work is");
    }

    #[test]
    fn an_artifact_is_a_text_or_bytes_and_whole_unless_it_says_otherwise() {
        let piece = |append, last, payload| {
            Ok(Some(Line::Artifact { name: "a".into(), append, last, payload }))
        };
        assert_eq!(
            parsed(r#"{"artifact":"a","text":"x"}"#),
            piece(false, true, Payload::text("x"))
        );
        assert_eq!(
            parsed(r#"{"artifact":"a","base64":"/w==","append":true,"last":false}"#),
            piece(true, false, Payload::new("application/octet-stream", vec![255]))
        );
        assert_eq!(
            parsed(r#"{"artifact":"a","text":"{}","content_type":"application/json"}"#),
            piece(false, true, Payload::new("application/json", "{}"))
        );
        for (wrong, why) in [
            (r#"{"artifact":"a"}"#, "either text or base64"),
            (r#"{"artifact":"a","base64":"?"}"#, "base64"),
            (r#"{"artifact":"a","text":"x","lats":true}"#, "lats"),
        ] {
            let (matters, reason) = parsed(wrong).unwrap_err();
            assert!(matters && reason.contains(why), "{wrong}: {reason}");
        }
    }

    #[test]
    fn a_word_for_the_end_that_is_wrong_is_not_passed_over() {
        for (wrong, why) in [
            (r#"{"outcome":"retri"}"#, "expected one of `fail`, `reject`, `retry`"),
            (r#"{"outcome":"fail","reason":"it "broke""}"#, "expected"),
            (r#"{"outcome":"fail","delay_ms":5}"#, "delay_ms"),
            (r#"{"outcome":"release","reason":"x"}"#, "no reason"),
            (r#"{"outcome":"retry","delay":"5s"}"#, "delay"),
        ] {
            let (matters, reason) = parsed(wrong).unwrap_err();
            assert!(matters && reason.contains(why), "{wrong}: {reason}");
        }
        let long = parse(br#"{"artifact":"a","text":"xxx"#, false).err().unwrap();
        assert!(long.matters && long.reason.contains("2097152"), "{}", long.reason);
    }

    #[tokio::test]
    async fn a_line_without_end_takes_bounded_room() {
        let mut input = vec![b'x'; LONGEST_LINE + 7];
        input.extend_from_slice(b"\nnext\nlast");
        let mut lines = tokio::io::BufReader::new(&input[..]);
        let mut line = Vec::new();
        assert_eq!(next_line(&mut lines, &mut line).await.unwrap(), Some(false));
        assert_eq!(line.len(), LONGEST_LINE);
        assert_eq!(next_line(&mut lines, &mut line).await.unwrap(), Some(true));
        assert_eq!(line, b"next");
        assert_eq!(next_line(&mut lines, &mut line).await.unwrap(), Some(true));
        assert_eq!(line, b"last");
        assert_eq!(next_line(&mut lines, &mut line).await.unwrap(), None);
    }
}
