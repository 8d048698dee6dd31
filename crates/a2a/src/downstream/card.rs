//! The card of an agent elsewhere: what is mirrored of it, and by which interface it is called.

use crate::card::{EARLIER, PROTOCOL, SKILL_SCHEMAS};
use crate::wire::AgentSkill;
use serde_json::{Map, Value};

/// Most skills that are read of a card.
const MOST_SKILLS: usize = 200;
/// The longest label that is made of a card, in bytes: what it has in lists, parted by commas.
pub const LONGEST_LABEL: usize = 900;

/// How requests are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// JSON-RPC 2.0.
    JsonRpc,
    /// HTTP+JSON.
    Rest,
    /// gRPC.
    Grpc,
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
            (Binding::Grpc, Spoken::V1) => "GRPC 1.0",
            (Binding::Grpc, Spoken::V03) => "GRPC 0.3",
        }
    }
}

/// What is mirrored of an agent elsewhere.
#[derive(Clone, PartialEq, Debug)]
pub struct DownstreamCard {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The version of its code.
    pub version: String,
    /// Its skills, as it tells of them, up to the limit.
    pub skills: Vec<AgentSkill>,
    /// How many more it has.
    pub more_skills: usize,
    /// The tags of its skills, each once.
    pub tags: Vec<String>,
    /// The media types that it takes.
    pub input_modes: Vec<String>,
    /// The media types that it answers with.
    pub output_modes: Vec<String>,
    /// The extensions that its clients must declare. They fit into a label.
    pub required_extensions: Vec<String>,
    /// The others that they may.
    pub extensions: Vec<String>,
    /// Whether it tells events while it works.
    pub streaming: bool,
    /// How it is called.
    pub interface: Interface,
}

impl DownstreamCard {
    /// Reads a card of 1.0 or 0.3, and picks the interface: the first that is spoken here and that
    /// `may_be_called`, of 1.0 if there is one.
    ///
    /// # Errors
    /// What is wrong with it: a field is missing, no interface is spoken here, or why the best of
    /// those that are may not be called.
    pub fn read(
        body: &[u8],
        may_be_called: impl Fn(&Interface) -> Result<(), String>,
    ) -> Result<Self, String> {
        let card: Value =
            serde_json::from_slice(body).map_err(|error| format!("is no JSON: {error}"))?;
        let Value::Object(card) = card else { return Err("is no JSON object".to_owned()) };
        let is_new = card.contains_key("supportedInterfaces");
        if !is_new && !card.contains_key("url") {
            return Err("lacks supportedInterfaces, as 1.0 has it, and url, as 0.3 had it".into());
        }
        let interfaces = if is_new { offered(&card)? } else { offered_03(&card)? };
        let interface = pick(interfaces, may_be_called)?;
        let capabilities = field(&card, "", "capabilities")?;
        let skills = list(&card, "", "skills")?;
        let (mut known, mut tags) = (Vec::new(), Vec::new());
        for (place, skill) in skills.iter().enumerate().take(MOST_SKILLS) {
            let place = format!("skills[{place}].");
            let skill = read_skill(skill, &place)?;
            for tag in &skill.tags {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
            known.push(skill);
        }
        let extensions = capabilities.get("extensions").and_then(Value::as_array);
        let (mut required_extensions, mut others) = (Vec::new(), Vec::new());
        for extension in extensions.into_iter().flatten() {
            let Some(uri) = extension["uri"].as_str() else { continue };
            if extension["required"] == Value::Bool(true) {
                required_extensions.push(uri.to_owned());
            } else if uri != SKILL_SCHEMAS {
                // Without the schemas, which are not mirrored, it says nothing.
                others.push(uri.to_owned());
            }
        }
        // Clients could not be told of those that are left out, and would be refused elsewhere.
        if let Some(uri) = required_extensions.iter().find(|uri| uri.contains(',')) {
            return Err(format!("requires the extension '{uri}', whose URI has a comma"));
        }
        let length = required_extensions.join(",").len();
        if length > LONGEST_LABEL {
            return Err(format!(
                "requires extensions whose URIs have {length} bytes, the limit is {LONGEST_LABEL}"
            ));
        }
        list(&card, "", "defaultInputModes")?;
        list(&card, "", "defaultOutputModes")?;
        Ok(Self {
            name: text(&card, "", "name")?,
            description: text(&card, "", "description")?,
            version: text(&card, "", "version")?,
            skills: known,
            more_skills: skills.len().saturating_sub(MOST_SKILLS),
            tags,
            input_modes: texts(&card, "defaultInputModes"),
            output_modes: texts(&card, "defaultOutputModes"),
            required_extensions,
            extensions: others,
            streaming: capabilities.get("streaming") == Some(&Value::Bool(true)),
            interface,
        })
    }
}

/// What a card says of a skill. Who may call it is the broker's to say.
fn read_skill(said: &Value, place: &str) -> Result<AgentSkill, String> {
    let said = said.as_object().ok_or_else(|| format!("has {place} that is no object"))?;
    let id = text(said, place, "id")?;
    let tags = match field(said, place, "tags")? {
        // 0.3 let the list be empty; a card of 1.0 must have a tag.
        Value::Array(tags) if tags.is_empty() => vec![id.clone()],
        Value::Array(tags) if tags.iter().all(Value::is_string) => texts(said, "tags"),
        _ => return Err(format!("has {place}tags that is no list of texts")),
    };
    Ok(AgentSkill {
        id,
        name: text(said, place, "name")?,
        description: text(said, place, "description")?,
        tags,
        examples: texts(said, "examples"),
        input_modes: texts(said, "inputModes"),
        output_modes: texts(said, "outputModes"),
        security_requirements: Vec::new(),
    })
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

/// What is called of an interface; gRPC of the earlier version is not.
fn binding(named: &str, spoken: Spoken) -> Option<Binding> {
    match (named, spoken) {
        ("JSONRPC", _) => Some(Binding::JsonRpc),
        ("HTTP+JSON", _) => Some(Binding::Rest),
        ("GRPC", Spoken::V1) => Some(Binding::Grpc),
        _ => None,
    }
}

/// Where an interface is called. One of gRPC is often named by host and port alone: it is called as
/// another interface at that place is, of which a card has the `urls`.
fn address(url: &str, binding: Binding, urls: &[&str]) -> String {
    let url = url.trim_end_matches('/');
    if binding != Binding::Grpc {
        return url.to_owned();
    }
    match url.split_once("://") {
        Some(("grpc", place)) => format!("http://{place}"),
        Some(("grpcs", place)) => format!("https://{place}"),
        Some(_) => url.to_owned(),
        None if url.ends_with(":443") || urls.iter().any(|other| is_behind_tls(url, other)) => {
            format!("https://{url}")
        }
        None => format!("http://{url}"),
    }
}

/// Whether a URL is one of `https` at a host and port.
fn is_behind_tls(place: &str, url: &str) -> bool {
    let rest = url.strip_prefix("https://").unwrap_or_default();
    rest.split(['/', '?', '#']).next().is_some_and(|known| known.eq_ignore_ascii_case(place))
}

/// What a card offers: what is spoken here, the best first, and the names of everything.
#[derive(Default)]
struct Offered {
    spoken: Vec<Interface>,
    names: Vec<String>,
}

impl Offered {
    fn add(&mut self, (named, version): (&str, &str), (url, urls): (&str, &[&str]), tenant: &str) {
        self.names.push(format!("{named} {version}"));
        let Some(spoken) = spoken(version) else { return };
        let Some(binding) = binding(named, spoken) else { return };
        let (url, tenant) = (address(url, binding, urls), tenant.to_owned());
        self.spoken.push(Interface { url, binding, spoken, tenant });
    }
}

/// The best interface that may be called.
fn pick(
    offered: Offered,
    may_be_called: impl Fn(&Interface) -> Result<(), String>,
) -> Result<Interface, String> {
    let Offered { mut spoken, names } = offered;
    // The card's order is its preference, within a version.
    spoken.sort_by_key(|interface| interface.spoken == Spoken::V03);
    let mut why = None;
    for interface in spoken {
        match may_be_called(&interface) {
            Ok(()) => return Ok(interface),
            Err(refused) => drop(why.get_or_insert(refused)),
        }
    }
    Err(why.unwrap_or_else(|| {
        format!(
            "offers {}; spoken here are JSONRPC, HTTP+JSON and GRPC 1.0, JSONRPC and HTTP+JSON 0.3",
            if names.is_empty() { "no interface".to_owned() } else { names.join(", ") }
        )
    }))
}

fn offered(card: &Map<String, Value>) -> Result<Offered, String> {
    let mut offered = Offered::default();
    let items = list(card, "", "supportedInterfaces")?;
    let urls: Vec<&str> = items.iter().filter_map(|item| item["url"].as_str()).collect();
    for (place, item) in items.iter().enumerate() {
        let place = format!("supportedInterfaces[{place}].");
        let item = item.as_object().ok_or_else(|| format!("has {place} that is no object"))?;
        let url = text(item, &place, "url")?;
        let named = text(item, &place, "protocolBinding")?;
        let version = text(item, &place, "protocolVersion")?;
        let tenant = item.get("tenant").and_then(Value::as_str).unwrap_or_default();
        offered.add((&named, &version), (&url, &urls), tenant);
    }
    Ok(offered)
}

fn offered_03(card: &Map<String, Value>) -> Result<Offered, String> {
    let version = text(card, "", "protocolVersion")?;
    let preferred = card.get("preferredTransport").and_then(Value::as_str).unwrap_or("JSONRPC");
    let mut offered = Offered::default();
    let mut add = |named: &str, url: &str| {
        offered.add((named, &version), (url, &[]), "");
        // In a card without a list of versions nothing else can be meant.
        offered.spoken.retain(|interface| interface.spoken == Spoken::V03);
    };
    add(preferred, &text(card, "", "url")?);
    let more = card.get("additionalInterfaces").and_then(Value::as_array);
    for (place, item) in more.into_iter().flatten().enumerate() {
        let place = format!("additionalInterfaces[{place}].");
        let item = item.as_object().ok_or_else(|| format!("has {place} that is no object"))?;
        add(&text(item, &place, "transport")?, &text(item, &place, "url")?);
    }
    Ok(offered)
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
                {"uri": SKILL_SCHEMAS, "params": {"skills": {}}},
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
            "skills": [{"id": "s", "name": "S", "description": "x", "tags": ["n"]}],
        })
    }

    fn read(card: &Value) -> Result<DownstreamCard, String> {
        DownstreamCard::read(card.to_string().as_bytes(), |_any| Ok(()))
    }

    #[test]
    fn the_first_interface_that_is_spoken_here_is_picked_of_the_later_version() {
        let known = read(&card()).unwrap();
        assert_eq!(
            (known.interface.url.as_str(), known.interface.name()),
            ("http://a/grpc", "GRPC 1.0")
        );
        let mut without = card();
        without["supportedInterfaces"].as_array_mut().unwrap().remove(0);
        let known = read(&without).unwrap();
        assert_eq!(
            (known.interface.url.as_str(), known.interface.name()),
            ("http://a/rest", "HTTP+JSON 1.0")
        );
        assert_eq!(known.interface.tenant, "t");
        let skill = &known.skills[0];
        assert_eq!((skill.id.as_str(), skill.name.as_str()), ("count", "Count"));
        assert_eq!((known.skills.len(), known.tags), (2, vec!["n".to_owned(), "m".to_owned()]));
        assert_eq!((known.required_extensions, known.streaming), (vec!["urn:a".to_owned()], true));
        assert_eq!(known.extensions, ["urn:b"]);
        without["supportedInterfaces"].as_array_mut().unwrap().truncate(1);
        assert_eq!(read(&without).unwrap().interface.name(), "JSONRPC 0.3");
    }

    #[test]
    fn an_interface_that_may_not_be_called_is_passed_over_and_the_best_one_says_why() {
        let read = |refused: &[&str]| {
            DownstreamCard::read(card().to_string().as_bytes(), |interface| {
                let is_refused = refused.iter().any(|url| interface.url == *url);
                if is_refused { Err(format!("refuses {}", interface.url)) } else { Ok(()) }
            })
        };
        let all = ["http://a/grpc", "http://a/rest", "http://a/rpc", "http://a/old"];
        for (count, picked) in [(1, all[1]), (2, all[2]), (3, all[3])] {
            assert_eq!(read(&all[..count]).unwrap().interface.url, picked);
        }
        assert_eq!(read(&all).unwrap_err(), "refuses http://a/grpc");
    }

    #[test]
    fn an_interface_of_grpc_is_called_where_its_host_and_port_are() {
        for (named, called) in [
            ("a:7420", "http://a:7420"),
            ("a:443", "https://a:443"),
            ("grpc://a:1", "http://a:1"),
            ("grpcs://a:1", "https://a:1"),
            ("https://a/", "https://a"),
        ] {
            assert_eq!(address(named, Binding::Grpc, &[]), called);
        }
        let others = ["http://b:1/x", "https://a:8443/agents/x"];
        assert_eq!(address("a:8443", Binding::Grpc, &others), "https://a:8443");
        assert_eq!(address("b:1", Binding::Grpc, &others), "http://b:1");
    }

    #[test]
    fn a_card_of_the_earlier_version_is_called_by_what_it_prefers_of_what_is_spoken() {
        let known = read(&card_03()).unwrap();
        assert_eq!(
            (known.interface.url.as_str(), known.interface.name()),
            ("http://b/rest", "HTTP+JSON 0.3")
        );
        assert!(!known.streaming);
        let mut other = card_03();
        other["preferredTransport"] = "GRPC".into();
        let known = read(&other).unwrap();
        assert_eq!(
            (known.interface.url.as_str(), known.interface.name()),
            ("http://b/rpc", "JSONRPC 0.3")
        );
        other["additionalInterfaces"] = json!([]);
        let why = read(&other).unwrap_err();
        assert!(why.contains("offers GRPC 0.3.0; spoken here are JSONRPC"), "{why}");
        other["preferredTransport"] = "JSONRPC".into();
        for version in ["0.2.5", "1.0"] {
            other["protocolVersion"] = version.into();
            assert!(read(&other).is_err(), "{version}");
        }
    }

    #[test]
    fn what_is_over_a_limit_is_refused_or_counted() {
        let mut many = card();
        let skill = many["skills"][0].clone();
        many["skills"] = vec![skill; MOST_SKILLS + 3].into();
        let known = read(&many).unwrap();
        assert_eq!((known.skills.len(), known.more_skills), (MOST_SKILLS, 3));
        let required = |uri: &str| {
            let mut card = card();
            let extension = json!({"uri": uri, "required": true});
            card["capabilities"]["extensions"] = json!([extension]);
            read(&card)
        };
        assert_eq!(required("urn:a").unwrap().required_extensions, ["urn:a"]);
        let why = required(&format!("urn:{}", "a".repeat(LONGEST_LABEL))).unwrap_err();
        assert!(why.contains("have 904 bytes, the limit is 900"), "{why}");
        let why = required("urn:a,b").unwrap_err();
        assert!(why.contains("'urn:a,b', whose URI has a comma"), "{why}");
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
        for name in ["id", "name", "description", "tags"] {
            for mut without in [card(), card_03()] {
                let last = without["skills"].as_array().unwrap().len() - 1;
                without["skills"][last].as_object_mut().unwrap().remove(name);
                assert_eq!(read(&without).unwrap_err(), format!("lacks skills[{last}].{name}"));
            }
        }
        let mut other = card();
        other["skills"][0]["tags"] = json!([5]);
        let why = read(&other).unwrap_err();
        assert_eq!(why, "has skills[0].tags that is no list of texts");
        other["skills"][0]["tags"] = json!([]);
        let known = read(&other).unwrap();
        assert_eq!(known.skills[0].tags, [known.skills[0].id.clone()]);
        let mut without = card();
        without["supportedInterfaces"][0]["url"] = "".into();
        assert_eq!(read(&without).unwrap_err(), "lacks supportedInterfaces[0].url");
        let mut without = card();
        without["supportedInterfaces"] = json!([]);
        assert!(read(&without).unwrap_err().contains("the list is empty"));
        assert!(read(&json!({"name": "x"})).unwrap_err().starts_with("lacks supportedInterfaces"));
        assert!(read(&json!([])).is_err());
        assert!(DownstreamCard::read(b"<html>", |_any| Ok(())).is_err());
        let mut other = card();
        other["supportedInterfaces"].as_array_mut().unwrap().truncate(1);
        other["supportedInterfaces"][0]["protocolVersion"] = "2.0".into();
        assert!(read(&other).unwrap_err().starts_with("offers GRPC 2.0; spoken here"));
    }
}
