//! The card of an agent elsewhere: what is mirrored of it, and by which interface it is called.

use crate::card::{EARLIER, PROTOCOL};
use serde_json::{Map, Value};

/// Most skills that are read of a card.
const MOST_SKILLS: usize = 200;

/// How requests are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// JSON-RPC 2.0.
    JsonRpc,
    /// HTTP+JSON.
    Rest,
}

/// Which version of the standard is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// 1.0.
    V1,
    /// 0.3.
    V03,
}

/// Where and how an agent elsewhere is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its URL, without a slash at the end.
    pub url: String,
    /// How requests are written.
    pub binding: Binding,
    /// Which version is spoken.
    pub spoken: Spoken,
    /// The tenant that requests name; empty for none.
    pub tenant: String,
}

impl Interface {
    /// What it is, for people: `JSONRPC 1.0`.
    pub fn name(&self) -> &'static str {
        match (self.binding, self.spoken) {
            (Binding::JsonRpc, Spoken::V1) => "JSONRPC 1.0",
            (Binding::Rest, Spoken::V1) => "HTTP+JSON 1.0",
            (Binding::JsonRpc, Spoken::V03) => "JSONRPC 0.3",
            (Binding::Rest, Spoken::V03) => "HTTP+JSON 0.3",
        }
    }
}

/// What is mirrored of an agent elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DownstreamCard {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The version of its code.
    pub version: String,
    /// The ids of its skills.
    pub skills: Vec<String>,
    /// The tags of its skills, each once.
    pub tags: Vec<String>,
    /// The media types that it takes.
    pub input_modes: Vec<String>,
    /// The media types that it answers with.
    pub output_modes: Vec<String>,
    /// The extensions that its clients must declare.
    pub required_extensions: Vec<String>,
    /// Whether it tells events while it works.
    pub streaming: bool,
    /// How it is called.
    pub interface: Interface,
}

impl DownstreamCard {
    /// Reads a card of 1.0 or 0.3, and picks the interface: the first that is spoken here, of 1.0
    /// if there is one.
    ///
    /// # Errors
    /// What is wrong with it: a field is missing, or no interface is spoken here.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let card: Value =
            serde_json::from_slice(body).map_err(|error| format!("is no JSON: {error}"))?;
        let Value::Object(card) = card else { return Err("is no JSON object".to_owned()) };
        let is_new = card.contains_key("supportedInterfaces");
        if !is_new && !card.contains_key("url") {
            return Err("lacks supportedInterfaces, as 1.0 has it, and url, as 0.3 had it".into());
        }
        let interface = if is_new { pick(&card)? } else { pick_03(&card)? };
        let capabilities = field(&card, "", "capabilities")?;
        let skills = list(&card, "", "skills")?;
        let (mut ids, mut tags) = (Vec::new(), Vec::new());
        for (place, skill) in skills.iter().enumerate().take(MOST_SKILLS) {
            let place = format!("skills[{place}].");
            let skill =
                skill.as_object().ok_or_else(|| format!("has {place} that is no object"))?;
            ids.push(text(skill, &place, "id")?);
            text(skill, &place, "name")?;
            for tag in texts(skill, "tags") {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        }
        let extensions = capabilities.get("extensions").and_then(Value::as_array);
        let required = extensions.into_iter().flatten();
        let required = required.filter(|it| it["required"] == Value::Bool(true));
        list(&card, "", "defaultInputModes")?;
        list(&card, "", "defaultOutputModes")?;
        Ok(Self {
            name: text(&card, "", "name")?,
            description: text(&card, "", "description")?,
            version: text(&card, "", "version")?,
            skills: ids,
            tags,
            input_modes: texts(&card, "defaultInputModes"),
            output_modes: texts(&card, "defaultOutputModes"),
            required_extensions: required
                .filter_map(|it| it["uri"].as_str().map(str::to_owned))
                .collect(),
            streaming: capabilities.get("streaming") == Some(&Value::Bool(true)),
            interface,
        })
    }
}

fn field<'a>(of: &'a Map<String, Value>, place: &str, name: &str) -> Result<&'a Value, String> {
    of.get(name).filter(|value| !value.is_null()).ok_or_else(|| format!("lacks {place}{name}"))
}

fn text(of: &Map<String, Value>, place: &str, name: &str) -> Result<String, String> {
    match field(of, place, name)? {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::String(_) => Err(format!("lacks {place}{name}")),
        _ => Err(format!("has {place}{name} that is no text")),
    }
}

fn list<'a>(of: &'a Map<String, Value>, place: &str, name: &str) -> Result<&'a [Value], String> {
    match field(of, place, name)? {
        Value::Array(items) if !items.is_empty() => Ok(items),
        Value::Array(_) => Err(format!("lacks {place}{name}: the list is empty")),
        _ => Err(format!("has {place}{name} that is no list")),
    }
}

fn texts(of: &Map<String, Value>, name: &str) -> Vec<String> {
    let items = of.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The version that a card names, if it is spoken here. A patch number is of no account.
fn spoken(version: &str) -> Option<Spoken> {
    let mut numbers = version.splitn(3, '.');
    let minor = [numbers.next(), numbers.next()].map(Option::unwrap_or_default).join(".");
    match minor.as_str() {
        PROTOCOL => Some(Spoken::V1),
        EARLIER => Some(Spoken::V03),
        _ => None,
    }
}

/// What is called of an interface; HTTP+JSON of the earlier version is not.
fn binding(named: &str, spoken: Spoken) -> Option<Binding> {
    match (named, spoken) {
        ("JSONRPC", _) => Some(Binding::JsonRpc),
        ("HTTP+JSON", Spoken::V1) => Some(Binding::Rest),
        _ => None,
    }
}

fn none_spoken(offered: &[String]) -> String {
    format!(
        "offers {}; spoken here are JSONRPC 1.0, HTTP+JSON 1.0 and JSONRPC 0.3",
        if offered.is_empty() { "no interface".to_owned() } else { offered.join(", ") }
    )
}

fn pick(card: &Map<String, Value>) -> Result<Interface, String> {
    let mut offered = Vec::new();
    let mut best: Option<Interface> = None;
    for (place, item) in list(card, "", "supportedInterfaces")?.iter().enumerate() {
        let place = format!("supportedInterfaces[{place}].");
        let item = item.as_object().ok_or_else(|| format!("has {place} that is no object"))?;
        let url = text(item, &place, "url")?;
        let named = text(item, &place, "protocolBinding")?;
        let version = text(item, &place, "protocolVersion")?;
        let tenant = item.get("tenant").and_then(Value::as_str).unwrap_or_default().to_owned();
        offered.push(format!("{named} {version}"));
        let Some(spoken) = spoken(&version) else { continue };
        let Some(binding) = binding(&named, spoken) else { continue };
        // The card's order is its preference, within a version.
        let is_better =
            best.as_ref().is_none_or(|best| best.spoken == Spoken::V03 && spoken == Spoken::V1);
        if is_better {
            let url = url.trim_end_matches('/').to_owned();
            best = Some(Interface { url, binding, spoken, tenant });
        }
    }
    best.ok_or_else(|| none_spoken(&offered))
}

fn pick_03(card: &Map<String, Value>) -> Result<Interface, String> {
    let version = text(card, "", "protocolVersion")?;
    let preferred = card.get("preferredTransport").and_then(Value::as_str).unwrap_or("JSONRPC");
    let mut all = vec![(preferred.to_owned(), text(card, "", "url")?)];
    let more = card.get("additionalInterfaces").and_then(Value::as_array);
    for (place, item) in more.into_iter().flatten().enumerate() {
        let place = format!("additionalInterfaces[{place}].");
        let item = item.as_object().ok_or_else(|| format!("has {place} that is no object"))?;
        all.push((text(item, &place, "transport")?, text(item, &place, "url")?));
    }
    let offered: Vec<_> = all.iter().map(|(named, _)| format!("{named} {version}")).collect();
    if spoken(&version) != Some(Spoken::V03) {
        return Err(none_spoken(&offered));
    }
    let found = all.into_iter().find(|(named, _)| named == "JSONRPC");
    let (_, url) = found.ok_or_else(|| none_spoken(&offered))?;
    let url = url.trim_end_matches('/').to_owned();
    let (binding, spoken) = (Binding::JsonRpc, Spoken::V03);
    Ok(Interface { url, binding, spoken, tenant: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn card() -> Value {
        json!({
            "name": "Counter", "description": "Counts.", "version": "2",
            "supportedInterfaces": [
                {"url": "http://a/grpc", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
                {"url": "http://a/old", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
                {"url": "http://a/rest/", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0",
                 "tenant": "t"},
                {"url": "http://a/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0.1"},
            ],
            "capabilities": {"streaming": true, "extensions": [
                {"uri": "urn:a", "required": true}, {"uri": "urn:b"},
            ]},
            "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
            "skills": [{"id": "count", "name": "Count", "description": "x", "tags": ["n", "m"]},
                       {"id": "sum", "name": "Sum", "description": "x", "tags": ["n"]}],
        })
    }

    fn card_03() -> Value {
        json!({
            "name": "Old", "description": "d", "version": "1", "protocolVersion": "0.3.0",
            "url": "http://b/rest", "preferredTransport": "HTTP+JSON",
            "additionalInterfaces": [{"transport": "JSONRPC", "url": "http://b/rpc/"}],
            "capabilities": {}, "defaultInputModes": ["text"], "defaultOutputModes": ["text"],
            "skills": [{"id": "s", "name": "S"}],
        })
    }

    fn read(card: &Value) -> Result<DownstreamCard, String> {
        DownstreamCard::read(card.to_string().as_bytes())
    }

    #[test]
    fn the_first_interface_that_is_spoken_here_is_picked_of_the_later_version() {
        let known = read(&card()).unwrap();
        assert_eq!(
            (known.interface.url.as_str(), known.interface.name()),
            ("http://a/rest", "HTTP+JSON 1.0")
        );
        assert_eq!(known.interface.tenant, "t");
        assert_eq!(
            (known.skills, known.tags),
            (vec!["count".into(), "sum".into()], vec!["n".into(), "m".into()])
        );
        assert_eq!((known.required_extensions, known.streaming), (vec!["urn:a".to_owned()], true));
        let mut only_old = card();
        only_old["supportedInterfaces"].as_array_mut().unwrap().truncate(2);
        assert_eq!(read(&only_old).unwrap().interface.name(), "JSONRPC 0.3");
    }

    #[test]
    fn a_card_of_the_earlier_version_is_read_wherever_it_names_json_rpc() {
        let known = read(&card_03()).unwrap();
        assert_eq!(
            (known.interface.url.as_str(), known.interface.name()),
            ("http://b/rpc", "JSONRPC 0.3")
        );
        assert!(!known.streaming);
        let mut other = card_03();
        other["additionalInterfaces"] = json!([]);
        let why = read(&other).unwrap_err();
        assert!(why.contains("offers HTTP+JSON 0.3.0; spoken here are JSONRPC 1.0"), "{why}");
        other["protocolVersion"] = "0.2.5".into();
        assert!(read(&other).is_err());
    }

    #[test]
    fn a_missing_field_is_named() {
        for name in [
            "name",
            "description",
            "version",
            "capabilities",
            "defaultInputModes",
            "defaultOutputModes",
            "skills",
        ] {
            for mut card in [card(), card_03()] {
                card.as_object_mut().unwrap().remove(name);
                assert_eq!(read(&card).unwrap_err(), format!("lacks {name}"));
            }
        }
        let mut without = card();
        without["skills"][1].as_object_mut().unwrap().remove("id");
        assert_eq!(read(&without).unwrap_err(), "lacks skills[1].id");
        let mut without = card();
        without["supportedInterfaces"][0]["url"] = "".into();
        assert_eq!(read(&without).unwrap_err(), "lacks supportedInterfaces[0].url");
        let mut without = card();
        without["supportedInterfaces"] = json!([]);
        assert!(read(&without).unwrap_err().contains("the list is empty"));
        assert!(read(&json!({"name": "x"})).unwrap_err().starts_with("lacks supportedInterfaces"));
        assert!(read(&json!([])).is_err() && DownstreamCard::read(b"<html>").is_err());
        let mut grpc = card();
        grpc["supportedInterfaces"].as_array_mut().unwrap().truncate(1);
        assert!(read(&grpc).unwrap_err().starts_with("offers GRPC 1.0; spoken here"));
    }
}
