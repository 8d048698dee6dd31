//! The progress lines of a child.

use crate::Task;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The longest line in bytes that is read; the rest of a longer one is skipped.
const LONGEST_LINE: usize = 16 << 10;

/// A line as it may come.
#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct Line {
    percent: Option<u8>,
    #[serde(default)]
    text: String,
}

/// Reads lines until the child closes its end, and passes each on as progress. A malformed one
/// is reported once for the run and otherwise ignored.
pub(super) async fn follow(mut lines: impl AsyncBufRead + Unpin, task: &Task) {
    let mut percent = 0;
    let mut reported = false;
    let mut line = Vec::new();
    while let Ok(true) = next_line(&mut lines, &mut line).await {
        match parse(&line) {
            Ok(Some(Line { percent: given, text })) => {
                percent = given.unwrap_or(percent);
                if let Err(refusal) = task.progress(percent, text).await {
                    // Progress is no reason to end the child; whatever else follows comes by
                    // itself.
                    tracing::debug!(task = %task.id(), %refusal, "progress was refused");
                }
            }
            Err(reason) if !reported => {
                reported = true;
                let shown: String = String::from_utf8_lossy(&line).chars().take(200).collect();
                tracing::warn!(task = %task.id(), line = shown, reason, "a progress line is ignored");
            }
            Ok(None) | Err(_) => {}
        }
    }
}

/// Reads one line without its end into `line`; false at the end of all.
async fn next_line(
    lines: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = lines.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        lines.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// A JSON object is taken as such, any other line as a text.
fn parse(line: &[u8]) -> Result<Option<Line>, String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with('{') {
        return Ok(Some(Line { percent: None, text: text.to_owned() }));
    }
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match line.percent {
        Some(percent) if percent > 100 => {
            Err(format!("percent is {percent}, the range is 0 to 100"))
        }
        _ => Ok(Some(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_or_a_text() {
        let line = |percent, text: &str| Ok(Some(Line { percent, text: text.into() }));
        assert_eq!(parse(br#"{"percent":7,"text":"x"}"#), line(Some(7), "x"));
        assert_eq!(parse(br#"{"percent":7}"#), line(Some(7), ""));
        assert_eq!(parse(b" half way \r"), line(None, "half way"));
        assert_eq!(parse(b"  "), Ok(None));
        assert!(parse(br#"{"percent":101}"#).unwrap_err().contains("101"));
        assert!(parse(br#"{"per"#).is_err());
        assert!(parse(b"\xFF").is_err());
    }

    #[tokio::test]
    async fn a_line_without_end_takes_bounded_room() {
        let mut input = vec![b'x'; 3 * LONGEST_LINE];
        input.extend_from_slice(b"\nnext\nlast");
        let mut lines = tokio::io::BufReader::new(&input[..]);
        let mut line = Vec::new();
        assert!(next_line(&mut lines, &mut line).await.unwrap());
        assert_eq!(line.len(), LONGEST_LINE);
        assert!(next_line(&mut lines, &mut line).await.unwrap());
        assert_eq!(line, b"next");
        assert!(next_line(&mut lines, &mut line).await.unwrap());
        assert_eq!(line, b"last");
        assert!(!next_line(&mut lines, &mut line).await.unwrap());
    }
}
