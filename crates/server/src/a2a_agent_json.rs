//! An agent elsewhere as JSON, the same over HTTP and on the command line.

use serde_json::{Value, json};
use trunkline_types::{A2aAgent, SkillName};

/// An agent elsewhere as JSON, spans in milliseconds; its headers by their names only.
pub fn a2a_agent_json(agent: &A2aAgent) -> Value {
    let A2aAgent {
        id,
        url,
        idempotent,
        headers,
        refresh,
        answer_within,
        allow_private,
        interface,
        binding,
        streaming,
        skills,
        read_at,
        trouble,
    } = agent;
    json!({
        "id": id.as_str(),
        "url": url,
        "idempotent": idempotent,
        "headers": headers.iter().map(smol_str::SmolStr::as_str).collect::<Vec<_>>(),
        "refresh_ms": refresh.as_millis(),
        "answer_within_ms": answer_within.as_millis(),
        "allow_private": allow_private,
        "interface": interface,
        "binding": binding.as_str(),
        "streaming": streaming,
        "skills": skills.iter().map(SkillName::as_str).collect::<Vec<_>>(),
        "read_at_ms": read_at.map(|at| at.0),
        "trouble": trouble,
    })
}
