//! The other side of what a child is told: the delivery around this process, for which it works.
//!
//! Nothing of it is believed: what is malformed is named, and an agent that is not there or does
//! not know this run lends nothing.

use super::environment::{CONTEXT_ID, LEND, ROOT_ID, TASK_ID, TRACEPARENT};
use super::lender::{LENT, Token};
use crate::Cause;
use std::env;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long an agent may take to answer that it lends.
const PROMPT: Duration = Duration::from_secs(5);

/// Why the delivery around this process cannot be made out.
#[derive(Debug, thiserror::Error)]
pub enum AroundError {
    /// A variable of the environment is not as an agent sets it.
    #[error("{variable} is '{value}': {reason}")]
    Malformed {
        /// Its name.
        variable: &'static str,
        /// Its value, cut to what can be shown.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent around this process does not lend.
    #[error("the agent around this process lends nothing: {0}")]
    Unreachable(io::Error),
}

/// The delivery that this process works for as the child of an executable agent: the [`Cause`] of
/// what it sends. `None` if it is no such child.
///
/// # Errors
/// A variable of the environment is malformed.
pub fn cause() -> Result<Option<Cause>, AroundError> {
    let Some(id) = variable(TASK_ID)? else { return Ok(None) };
    let root = variable(ROOT_ID)?.unwrap_or(id);
    let traceparent = variable::<String>(TRACEPARENT)?.map(Into::into);
    Ok(Some(Cause { id, root, context: variable(CONTEXT_ID)?, traceparent }))
}

/// Lends the place of the delivery that this process works for, as long as it waits for an
/// answer: another delivery may run in the meantime, such as one that the answer depends on.
/// `None` if this process is no child of an executable agent, or of one that does not lend.
///
/// # Errors
/// The variable of the environment is malformed, or the agent is not there.
pub async fn lend() -> Result<Option<Lent>, AroundError> {
    let Some(Lending { token, path }) = variable(LEND)? else { return Ok(None) };
    let greeting = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(token.line().as_bytes()).await?;
        let mut answer = [0; LENT.len()];
        stream.read_exact(&mut answer).await?;
        if answer == *LENT { Ok(Lent { stream }) } else { Err(io::ErrorKind::InvalidData.into()) }
    };
    let late = |_| Err(io::ErrorKind::TimedOut.into());
    let lent = tokio::time::timeout(PROMPT, greeting).await.unwrap_or_else(late);
    lent.map(Some).map_err(AroundError::Unreachable)
}

/// A place that is lent. It is asked back when this is dropped or the process ends, however it
/// ends.
#[derive(Debug)]
pub struct Lent {
    stream: UnixStream,
}

impl Lent {
    /// Asks for the place back and waits until this process has it again, so that no more
    /// deliveries are worked on at once than the agent may.
    pub async fn end(mut self) {
        // An agent that is gone has no place to give back.
        if self.stream.shutdown().await.is_ok() {
            let _ = self.stream.read(&mut [0]).await;
        }
    }
}

/// What is in the variable by which a child is told how to lend: `TOKEN:PATH`.
struct Lending {
    token: Token,
    path: PathBuf,
}

impl FromStr for Lending {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let parts = text.split_once(':');
        let parts = parts.and_then(|(token, path)| Some((Token::parse(token)?, path)));
        let (token, path) = parts.ok_or("it is written TOKEN:PATH, as `trunkline agent` does")?;
        Ok(Self { token, path: path.into() })
    }
}

/// A variable of the environment; an empty one is none.
fn variable<T: FromStr<Err: fmt::Display>>(name: &'static str) -> Result<Option<T>, AroundError> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy();
    read(name, &value).map(Some)
}

fn read<T: FromStr<Err: fmt::Display>>(
    variable: &'static str,
    value: &str,
) -> Result<T, AroundError> {
    value.parse().map_err(|error: T::Err| {
        let value = value.chars().take(64).collect();
        AroundError::Malformed { variable, value, reason: error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::MessageId;

    #[test]
    fn what_is_malformed_is_named_with_its_value() {
        let error = read::<MessageId>(TASK_ID, "7").unwrap_err().to_string();
        assert!(error.starts_with("TRUNKLINE_TASK_ID is '7': "), "{error}");
        for text in ["", "x", "12:/tmp/x", &format!("{}:/tmp/x", "g".repeat(32))] {
            let error = read::<Lending>(LEND, text).err().unwrap().to_string();
            assert!(error.contains("TOKEN:PATH"), "{error}");
        }
        let text = format!("{}:/tmp/a:b", "0f".repeat(16));
        let lending = read::<Lending>(LEND, &text).ok().unwrap();
        assert_eq!(lending.path, PathBuf::from("/tmp/a:b"));
        assert_eq!(lending.token.line(), format!("{}\n", "0f".repeat(16)));
    }
}
