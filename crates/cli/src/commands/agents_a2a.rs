//! `agents add`, `remove` and `list --a2a`: servers of A2A elsewhere as agents of the broker.

use super::agents::joined;
use crate::connect::Link;
use crate::error::CliError;
use crate::input::read_file;
use crate::marks::pair;
use crate::output::{self, Output, units};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trunkline_server::a2a_agent_json;
use trunkline_types::{A2aAgent, A2aAgentSettings, AgentId};

/// What `agents add` takes.
#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// Where it is: the URL of its card, or what its card is below.
    #[arg(long, value_name = "URL")]
    a2a: String,
    /// Its id here; without one it is made of the name that its card says.
    #[arg(long)]
    id: Option<AgentId>,
    /// A message may be sent to it again when it is not known what became of it.
    #[arg(long)]
    idempotent: bool,
    /// A header that it is sent with each request; may be given several times. The value is not
    /// shown again.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// The same with the value from a file, such as /dev/stdin: whoever lists processes sees what
    /// the command line says.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    header_file: Vec<(String, String)>,
    /// A token that it is sent as `Authorization: Bearer`. It is not shown again.
    #[arg(long, value_name = "TOKEN")]
    bearer: Option<String>,
    /// The same from a file, such as /dev/stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "bearer")]
    bearer_file: Option<PathBuf>,
    /// How often its card is read: 1s to 1d.
    #[arg(
        long,
        value_name = "SPAN",
        default_value = "1m",
        allow_hyphen_values = true,
        value_parser = units::parse_span
    )]
    refresh: Duration,
    /// How long it may take to answer a message, if the task's time to live is not shorter: 10ms
    /// to 1d.
    #[arg(
        long,
        value_name = "SPAN",
        default_value = "10m",
        allow_hyphen_values = true,
        value_parser = units::parse_span
    )]
    answer_within: Duration,
    /// The host of the URL may be at an address that is not public, such as localhost.
    #[arg(long)]
    allow_private: bool,
}

impl AddArgs {
    fn settings(self) -> Result<A2aAgentSettings, CliError> {
        let Self { a2a: url, id, idempotent, mut header, header_file, bearer, .. } = self;
        let Self { bearer_file, refresh, answer_within, allow_private, .. } = self;
        for (name, file) in header_file {
            header.push((name, secret(Path::new(&file))?));
        }
        let bearer = bearer
            .map_or_else(|| bearer_file.as_deref().map(secret).transpose(), |it| Ok(Some(it)));
        header.extend(bearer?.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
        let headers = header.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Ok(A2aAgentSettings { url, id, idempotent, headers, refresh, answer_within, allow_private })
    }
}

/// What a file says without the end of its line.
fn secret(file: &Path) -> Result<String, CliError> {
    let text = String::from_utf8(read_file(file)?);
    let text = text.map_err(|_no_text| {
        CliError::usage(format_args!("{} is no text; write the value only", file.display()))
    })?;
    let value = text.trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        let message = format_args!("{} is empty; write the value into it", file.display());
        return Err(CliError::usage(message));
    }
    Ok(value.to_owned())
}

/// Adds one.
pub(super) async fn add(link: &Link, args: AddArgs, output: &Output) -> Result<(), CliError> {
    let agent = link.add_a2a_agent(args.settings()?).await?;
    if output.is_json() {
        return output.value(&a2a_agent_json(&agent));
    }
    let skills = joined(agent.skills.iter());
    output.line(format_args!(
        "added {}: {} at {}{}",
        agent.id,
        agent.binding,
        agent.interface,
        if skills.is_empty() { String::new() } else { format!(", skills {skills}") }
    ))
}

/// Removes one.
pub(super) async fn remove(link: &Link, id: AgentId, output: &Output) -> Result<(), CliError> {
    link.remove_a2a_agent(id.clone()).await?;
    if output.is_json() {
        return output.value(&json!({ "id": id.to_string(), "done": "removed" }));
    }
    output.line(format_args!("removed {id}"))
}

/// Lists them.
pub(super) async fn list(link: &Link, most: usize, output: &Output) -> Result<(), CliError> {
    let agents = link.a2a_agents().await?;
    let more = agents.len() > most;
    let agents = &agents[..agents.len().min(most)];
    if output.is_json() {
        output.value(&agents.iter().map(a2a_agent_json).collect::<Value>())?;
    } else if agents.is_empty() {
        output.note("no servers of A2A elsewhere; add one with `trunkline agents add --a2a URL`");
    } else {
        let row = |agent: &A2aAgent| {
            [
                agent.id.to_string(),
                agent.url.clone(),
                agent.binding.to_string(),
                joined(agent.skills.iter()),
                agent.read_at.map_or_else(|| "never".to_owned(), units::age),
                agent.trouble.clone().unwrap_or_else(|| "takes work".to_owned()),
            ]
        };
        let header = ["ID", "URL", "BINDING", "SKILLS", "CARD READ", "STATE"];
        output.table(&output::rows(header, &[], agents.iter().map(row)))?;
    }
    if more {
        output.note(format_args!("there are more than {most}: raise --limit"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::fs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        add: AddArgs,
    }

    fn settings(options: &[&str]) -> Result<A2aAgentSettings, CliError> {
        let line = ["add", "--a2a", "http://x.example"].iter().chain(options);
        Line::try_parse_from(line).unwrap().add.settings()
    }

    #[test]
    fn what_files_say_is_sent_without_the_ends_of_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (token, key) = (file("token", b"s3cret\n"), file("key", b" k3y\r\n"));
        let header = format!("x-key={key}");
        let told = settings(&["--header-file", &header, "--bearer-file", &token]).unwrap();
        let wanted = [("x-key", " k3y"), ("authorization", "Bearer s3cret")];
        assert_eq!(told.headers, wanted.map(|(name, value)| (name.into(), value.into())));

        for (text, what) in [(&b"\n"[..], "is empty"), (&[0xff], "is no text")] {
            let wrong = file("wrong", text);
            let told = settings(&["--bearer-file", &wrong]).unwrap_err().to_string();
            assert!(told.contains(what) && told.contains(&wrong), "{told}");
            let told = settings(&["--header-file", &format!("x={wrong}")]).unwrap_err().to_string();
            assert!(told.contains(what), "{told}");
        }
    }
}
