//! Agent cards: what the standard says of an agent, made of what it said when it registered.
//!
//! The broker fills in what it provides itself: interfaces, streaming, the extended card. Labels
//! of an agent say what has no other place at the broker, see [`INPUT_MODES`] and its neighbours.

use crate::fault::{Fault, FaultKind};
use crate::is_own;
use crate::wire::{
    self, AgentCapabilities, AgentExtension, AgentInterface, AgentSkill, Struct, part::Content,
};
use serde_json::{Map, Value, json};
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use trunkline_types::{AgentCard, AgentInfo, SkillSchemas, TenantId};

/// The label that names the media types which an agent takes, parted by commas. Others are
/// refused; without it everything is taken.
pub(crate) const INPUT_MODES: &str = "a2a-input-modes";
/// The label that names the media types which an agent answers with.
const OUTPUT_MODES: &str = "a2a-output-modes";
/// The label that names extensions which an agent's clients must declare.
const REQUIRED_EXTENSIONS: &str = "a2a-required-extensions";
/// The label that names extensions which its clients may declare.
const EXTENSIONS: &str = "a2a-extensions";
/// What an agent takes and gives if it says nothing.
const ANY: [&str; 3] = ["text/plain", "application/json", "*/*"];
/// What the extended card says besides the public one.
const DIRECTORY: &str = "urn:trunkline:directory:v1";
/// What a card says of what the work of its skills has to fit and what comes of it.
pub(crate) const SKILL_SCHEMAS: &str = "urn:trunkline:skill-schemas:v1";
/// The version of the protocol.
pub(crate) const PROTOCOL: &str = "1.0";
/// The version before it, which is spoken too.
pub(crate) const EARLIER: &str = "0.3";

/// Where the broker is reached, and for which tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) base: &'a str,
    pub(crate) tenant: &'a TenantId,
    /// Whether version 0.3 is spoken there too.
    pub(crate) earlier: bool,
}

/// The values of a label, parted by commas.
fn label<'a>(card: &'a AgentCard, name: &str) -> Vec<&'a str> {
    let found = card.labels.iter().find(|(known, _)| known == name);
    let values = found.map_or("", |(_, values)| values.as_str());
    values.split(',').map(str::trim).filter(|value| !value.is_empty()).collect()
}

fn modes(card: &AgentCard, name: &str) -> Vec<String> {
    let named = label(card, name);
    let modes = if named.is_empty() { &ANY[..] } else { &named };
    modes.iter().map(ToString::to_string).collect()
}

/// A client must declare the extensions that an agent requires.
pub(crate) fn check_extensions(card: &AgentCard, declared: &[String]) -> Result<(), Fault> {
    let required = label(card, REQUIRED_EXTENSIONS);
    match required.iter().find(|&&uri| declared.iter().all(|known| known != uri)) {
        None => Ok(()),
        Some(missing) => {
            let message = format!(
                "agent '{}' requires the extension {missing}; declare it in A2A-Extensions",
                card.id
            );
            let fault = Fault::new(FaultKind::ExtensionSupportRequired, message);
            Err(fault.with("extension", *missing))
        }
    }
}

/// Every part must be of a media type that the agent takes.
pub(crate) fn check_input(card: &AgentCard, message: &wire::Message) -> Result<(), Fault> {
    let taken = label(card, INPUT_MODES);
    if taken.is_empty() {
        return Ok(());
    }
    for part in &message.parts {
        let kind = match (&part.content, part.media_type.as_str()) {
            (Some(Content::Text(_)), "") => "text/plain",
            (Some(Content::Data(_)), "") => "application/json",
            (Some(Content::Raw(_)), "") => "application/octet-stream",
            // What a link leads to is not known here.
            (Some(Content::Url(_)) | None, "") => continue,
            (_, named) => named,
        };
        if !taken.iter().any(|taken| fits(taken, kind)) {
            let (shown, taken) = (kind.chars().take(128).collect::<String>(), taken.join(", "));
            let message = format!("agent '{}' does not take {shown}; it takes {taken}", card.id);
            let fault = Fault::new(FaultKind::ContentTypeNotSupported, message);
            return Err(fault.with("mediaType", shown));
        }
    }
    Ok(())
}

/// Whether a media type is within a range such as `text/*`.
fn fits(range: &str, kind: &str) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_lowercase();
    let (range, kind) = (essence(range), essence(kind));
    match range.strip_suffix('*') {
        Some("*/") => true,
        Some(start) if start.ends_with('/') => kind.starts_with(start),
        _ => range == kind,
    }
}

/// Where an agent is reached: by its path over HTTP, by the field `tenant` over gRPC. The standard
/// wants a URL there too, but clients of gRPC dial a host and a port without a scheme.
fn interfaces(place: Place<'_>, agent: Option<&str>) -> Vec<AgentInterface> {
    let Place { base, tenant, earlier } = place;
    let tenant = if *tenant == TenantId::default() { "" } else { tenant.as_str() };
    let (url, in_grpc) = match (agent, tenant) {
        (None, _) => (base.to_owned(), tenant.to_owned()),
        (Some(id), "") => (format!("{base}/agents/{id}"), format!("agents/{id}")),
        (Some(id), _) => (format!("{base}/agents/{id}"), format!("agents/{id}/{tenant}")),
    };
    let interface = |url: &str, binding: &str, tenant: &str| AgentInterface {
        url: url.to_owned(),
        protocol_binding: binding.to_owned(),
        tenant: tenant.to_owned(),
        protocol_version: PROTOCOL.to_owned(),
    };
    let mut all = vec![interface(&url, "JSONRPC", tenant), interface(&url, "HTTP+JSON", tenant)];
    let dialled = dialled(base);
    if let Some(place) = &dialled {
        all.push(interface(place, "GRPC", &in_grpc));
    }
    // The earlier version knew no tenants.
    if earlier && tenant.is_empty() {
        let protocol_version = || EARLIER.to_owned();
        for binding in ["JSONRPC", "HTTP+JSON"] {
            let protocol_version = protocol_version();
            all.push(AgentInterface { protocol_version, ..interface(&url, binding, "") });
        }
        // Nothing in its requests names an agent, so that only the root is reached over gRPC.
        if let (None, Some(place)) = (agent, &dialled) {
            let protocol_version = protocol_version();
            all.push(AgentInterface { protocol_version, ..interface(place, "GRPC", "") });
        }
    }
    all
}

/// The host and port that a client of gRPC dials; `None` behind a path, where there is no gRPC.
fn dialled(base: &str) -> Option<String> {
    let (scheme, host) = base.split_once("://").unwrap_or(("http", base));
    if host.contains('/') {
        return None;
    }
    // An address of version 6 has colons in its brackets.
    let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let port = if scheme == "https" { 443 } else { 80 };
    Some(if has_port { host.to_owned() } else { format!("{host}:{port}") })
}

fn capabilities(extensions: Vec<AgentExtension>) -> AgentCapabilities {
    AgentCapabilities {
        streaming: Some(true),
        push_notifications: Some(true),
        extensions,
        extended_agent_card: Some(true),
    }
}

fn directory(params: Value) -> AgentExtension {
    let Value::Object(params) = params else { return AgentExtension::default() };
    AgentExtension {
        uri: DIRECTORY.to_owned(),
        description: "what the broker's directory knows besides".to_owned(),
        required: false,
        params: Some(Struct(params)),
    }
}

/// The schemas that an agent declares, by skill: a skill of the standard has no place for them.
fn skill_schemas(card: &AgentCard) -> Option<AgentExtension> {
    if card.schemas.is_empty() {
        return None;
    }
    let of = |SkillSchemas { skill, input, output }: &SkillSchemas| {
        let parts = [("input", input), ("output", output)].into_iter();
        let read = parts.filter_map(|(name, schema)| {
            // What is no JSON object is no schema, and is not in a card.
            let schema: Value = serde_json::from_str(schema.as_ref()?.as_str()).ok()?;
            Some((name.to_owned(), schema))
        });
        (skill.to_string(), Value::Object(read.collect()))
    };
    let skills = card.schemas.iter().map(of).collect();
    Some(AgentExtension {
        uri: SKILL_SCHEMAS.to_owned(),
        description: "JSON Schemas of what skills take and give".to_owned(),
        required: false,
        params: Some(Struct(Map::from_iter([("skills".to_owned(), Value::Object(skills))]))),
    })
}

fn skill(name: &str, description: &str, tags: Vec<String>) -> AgentSkill {
    AgentSkill {
        id: name.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        tags,
        ..AgentSkill::default()
    }
}

fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

fn texts(of: &[SmolStr]) -> Vec<&str> {
    of.iter().map(SmolStr::as_str).collect()
}

fn description(card: &AgentCard) -> String {
    if card.description.is_empty() {
        format!("Agent {}", card.id)
    } else {
        card.description.clone()
    }
}

fn tags_of(card: &AgentCard) -> Vec<String> {
    let known = card.types.iter().chain(&card.capabilities).map(ToString::to_string);
    let tags: Vec<_> = known.collect();
    if tags.is_empty() { vec![card.id.to_string()] } else { tags }
}

/// The skills of an agent: what is `told` of them, or else what is known of the agent itself.
fn skills_of<'a>(
    card: &'a AgentCard,
    told: &'a [AgentSkill],
) -> impl Iterator<Item = AgentSkill> + 'a {
    card.skills.iter().map(move |name| {
        let told = told.iter().find(|skill| skill.id == name.as_str()).cloned();
        told.unwrap_or_else(|| skill(name.as_str(), &description(card), tags_of(card)))
    })
}

/// The card of one agent, which stands at the root unless its `own` path is meant. Of some of its
/// skills more is `told` than their names.
pub(crate) fn of_agent(
    info: &AgentInfo,
    told: &[AgentSkill],
    place: Place<'_>,
    own: bool,
    extended: bool,
) -> wire::AgentCard {
    let card = &info.card;
    let id = card.id.as_str();
    let description = description(card);
    let mut skills: Vec<_> = skills_of(card, told).collect();
    if skills.is_empty() {
        // The standard has no agent without a skill; this one takes what is sent to it.
        skills.push(skill("message", &description, tags_of(card)));
    }
    let mut extensions = Vec::new();
    for (name, required) in [(REQUIRED_EXTENSIONS, true), (EXTENSIONS, false)] {
        let named = label(card, name).into_iter().map(str::to_owned);
        extensions.extend(named.map(|uri| AgentExtension { uri, required, ..Default::default() }));
    }
    extensions.extend(skill_schemas(card));
    if extended {
        let labels =
            card.labels.iter().map(|(name, value)| (name.to_string(), json!(value.as_str())));
        extensions.push(directory(json!({
            "presence": info.presence.as_str(),
            "types": texts(&card.types),
            "capabilities": texts(&card.capabilities),
            "labels": Value::Object(labels.collect()),
            "region": card.region.as_str(),
        })));
    }
    wire::AgentCard {
        name: or(&card.name, id).to_owned(),
        description,
        supported_interfaces: interfaces(place, own.then_some(id)),
        version: or(&card.version, "0.0.0").to_owned(),
        capabilities: Some(capabilities(extensions)),
        default_input_modes: modes(card, INPUT_MODES),
        default_output_modes: modes(card, OUTPUT_MODES),
        skills,
        ..wire::AgentCard::default()
    }
}

/// The card of the broker itself, which stands for all its agents.
#[derive(Debug, Default)]
pub(crate) struct BrokerCard {
    /// Each skill with what is known of it from all who offer it.
    skills: BTreeMap<String, AgentSkill>,
    agents: Vec<String>,
}

impl BrokerCard {
    /// One more agent, of whose skills more may be `told` than their names.
    pub(crate) fn add(&mut self, info: &AgentInfo, told: &[AgentSkill]) {
        let card = &info.card;
        if is_own(card.id.as_str()) {
            return;
        }
        for mut more in skills_of(card, told) {
            // The broker's own defaults say nothing of this agent.
            for (modes, name) in
                [(&mut more.input_modes, INPUT_MODES), (&mut more.output_modes, OUTPUT_MODES)]
            {
                if modes.is_empty() {
                    modes.extend(label(card, name).into_iter().map(str::to_owned));
                }
            }
            match self.skills.entry(more.id.clone()) {
                Entry::Vacant(place) => drop(place.insert(more)),
                Entry::Occupied(mut known) => add_to(known.get_mut(), more),
            }
        }
        self.agents.push(card.id.to_string());
    }

    /// The card.
    pub(crate) fn finish(self, place: Place<'_>, extended: bool) -> wire::AgentCard {
        let mut skills: Vec<_> = self.skills.into_values().collect();
        if skills.is_empty() {
            let text = "no agent is registered yet; each has an endpoint at /agents/ID";
            skills.push(skill("none", text, vec!["none".to_owned()]));
        }
        let directory = extended.then(|| directory(json!({ "agents": self.agents })));
        let extensions = directory.into_iter().collect();
        let description = "Agents behind a broker. A message here goes to an agent that offers \
                           the skill named by metadata.skill; each agent also has an endpoint of \
                           its own at /agents/ID.";
        wire::AgentCard {
            name: "Trunkline".to_owned(),
            description: description.to_owned(),
            supported_interfaces: interfaces(place, None),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Some(capabilities(extensions)),
            default_input_modes: ANY.map(str::to_owned).into(),
            default_output_modes: ANY.map(str::to_owned).into(),
            skills,
            ..wire::AgentCard::default()
        }
    }
}

/// Adds what another agent tells of the same skill. Its name and what it does are told by the first.
fn add_to(known: &mut AgentSkill, more: AgentSkill) {
    let add = |known: &mut Vec<String>, more: Vec<String>| {
        for text in more {
            if !known.contains(&text) {
                known.push(text);
            }
        }
    };
    add(&mut known.tags, more.tags);
    add(&mut known.examples, more.examples);
    for (known, more) in
        [(&mut known.input_modes, more.input_modes), (&mut known.output_modes, more.output_modes)]
    {
        // Who names none takes and gives anything.
        if known.is_empty() || more.is_empty() {
            known.clear();
        } else {
            add(known, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::AgentId;

    fn card(labels: &[(&str, &str)]) -> AgentCard {
        let mut card = AgentCard::new(AgentId::new("a").unwrap());
        card.labels =
            labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        card
    }

    fn message(parts: &Value) -> wire::Message {
        serde_json::from_value(json!({ "parts": parts })).unwrap()
    }

    #[test]
    fn only_named_media_types_are_taken_if_any_is_named() {
        let picky = card(&[(INPUT_MODES, "text/plain, image/*")]);
        let text = message(&json!([{"text": "x"}, {"raw": "AA==", "mediaType": "image/png"}]));
        assert_eq!(check_input(&picky, &text), Ok(()));
        let data = message(&json!([{"text": "x"}, {"data": 1}]));
        let fault = check_input(&picky, &data).unwrap_err();
        assert_eq!(fault.kind, FaultKind::ContentTypeNotSupported);
        assert!(fault.message.contains("application/json"), "{}", fault.message);
        assert_eq!(check_input(&card(&[]), &data), Ok(()));
    }

    #[test]
    fn a_client_of_grpc_dials_a_host_and_a_port() {
        for (base, place) in [
            ("http://a:7420", Some("a:7420")),
            ("http://a", Some("a:80")),
            ("https://a", Some("a:443")),
            ("https://a:8443", Some("a:8443")),
            ("https://[::1]", Some("[::1]:443")),
            ("https://[::1]:8443", Some("[::1]:8443")),
            ("https://a/b", None),
        ] {
            assert_eq!(dialled(base).as_deref(), place, "{base}");
        }
    }

    #[test]
    fn what_several_agents_tell_of_a_skill_is_joined() {
        let skill = |tags: &[&str], modes: &[&str]| AgentSkill {
            id: "s".into(),
            name: "S".into(),
            description: "d".into(),
            tags: tags.iter().map(ToString::to_string).collect(),
            examples: tags.iter().map(ToString::to_string).collect(),
            input_modes: modes.iter().map(ToString::to_string).collect(),
            ..AgentSkill::default()
        };
        let mut known = skill(&["a", "b"], &["text/plain"]);
        add_to(&mut known, skill(&["b", "c"], &["image/png"]));
        assert_eq!(known.tags, ["a", "b", "c"]);
        assert_eq!(known.examples, ["a", "b", "c"]);
        assert_eq!(known.input_modes, ["text/plain", "image/png"]);
        add_to(&mut known, skill(&[], &[]));
        assert!(known.input_modes.is_empty(), "one of them takes anything");
    }

    #[test]
    fn a_required_extension_must_be_declared() {
        let strict = card(&[(REQUIRED_EXTENSIONS, "urn:a,urn:b")]);
        let fault = check_extensions(&strict, &["urn:a".into()]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::ExtensionSupportRequired);
        assert!(fault.message.contains("urn:b"), "{}", fault.message);
        assert_eq!(check_extensions(&strict, &["urn:b".into(), "urn:a".into()]), Ok(()));
        assert_eq!(check_extensions(&card(&[]), &[]), Ok(()));
    }
}
