//! The table against the configs that it sets, and against its page.

use super::*;
use crate::config::Settings;
use crate::output::units::exact_span;
use std::fmt::Write;
use std::path::Path;
use trunkline_broker::settings::Slot;

#[test]
fn every_default_is_within_its_range_and_can_be_given_back() {
    for setting in all().filter(|setting| setting.name() != "broker.data") {
        let mut settings = Settings::default();
        let shown = setting.show(&settings);
        let set = setting.set_text(&mut settings, &shown);
        assert_eq!(set, Ok(()), "{}", setting.name());
        assert_eq!(setting.show(&settings), shown, "{}", setting.name());
    }
}

#[test]
fn every_field_of_a_config_can_be_set_or_is_decided_elsewhere() {
    // `logged` follows from `ephemeral`; seed and salt are drawn; limits are a section, and the
    // server is told of their payload; the broker brings the rules, the index and the way to
    // payloads; how far cleaning goes at a time is for tests to lower.
    let elsewhere = [
        "partition",
        "seed",
        "logged",
        "limits",
        "defect",
        "salt",
        "rules",
        "key_index",
        "task_index",
        "letter_index",
        "payloads",
        "clean_step_bytes",
    ];
    let Settings { server, broker: BrokerConfig { engine, log, .. }, .. } = Settings::default();
    let limits = engine.limits.clone();
    for text in [
        format!("{server:#?}"),
        format!("{engine:#?}"),
        format!("{log:#?}"),
        format!("{limits:#?}"),
    ] {
        let fields = text.lines().filter_map(|line| line.strip_prefix("    "));
        let fields = fields.filter_map(|line| line.split_once(": ")).map(|(name, _)| name);
        for field in fields.filter(|name| !name.starts_with(' ')) {
            let known = all().any(|setting| setting.key() == field);
            assert!(known || elsewhere.contains(&field), "'{field}' cannot be set");
        }
    }
}

/// The private key that RFC 8410 shows in its section 10.3.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";

/// A value of a setting that is not its default.
fn another<S: Default>(slot: &Slot<S>, name: &str, default: &str, key: &Path) -> String {
    match (slot, name) {
        (Slot::Span { least, .. }, _) => exact_span(*least),
        (Slot::Size { least, most, .. } | Slot::Count { least, most, .. }, _) => {
            if default == least.to_string() { most } else { least }.to_string()
        }
        (Slot::Flag { get, .. }, _) => (!get(&S::default())).to_string(),
        (Slot::Text { .. }, "a2a_agent") => "helper".into(),
        (Slot::Text { .. }, "a2a_url") => "https://host".into(),
        (Slot::Text { .. }, "a2a_push_allow" | "a2a_proxy_allow") => {
            "hooks.internal,10.0.0.0/8".into()
        }
        (Slot::Text { .. }, "a2a_proxy_private") => "never".into(),
        // It is read at once, so that what is wrong with it is said at the start.
        (Slot::Text { .. }, "a2a_signing_key") => key.to_str().unwrap().into(),
        (Slot::Text { .. }, "listen") => "127.0.0.1:1".into(),
        (Slot::Text { .. }, "max_run") => "1h".into(),
        (Slot::Text { .. }, "priority_weights") => "1:1:1:255".into(),
        (Slot::Text { .. }, "routing") => "random".into(),
        (Slot::Text { .. }, "when_full") => "wait".into(),
        (Slot::Text { .. }, _) => "/somewhere".into(),
    }
}

#[test]
fn every_setting_changes_its_own_value_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("card.pem");
    std::fs::write(&key, KEY).unwrap();
    for setting in all() {
        let mut settings = Settings::default();
        let text = either!(setting, it => another(&it.slot, it.key, &setting.default(), &key));
        setting.set_text(&mut settings, &text).unwrap();
        let changed: Vec<_> = all()
            .filter(|other| other.show(&settings) != other.show(&Settings::default()))
            // Without a directory there is none to show.
            .filter(|other| setting.key() != "ephemeral" || other.key() == "ephemeral")
            .map(Setting::name)
            .collect();
        assert_eq!(changed, [setting.name()]);
    }
}

#[test]
fn texts_with_rules_of_their_own_are_refused_with_what_would_be_right() {
    let refused = |name: &str, text: &str| {
        let setting = all().find(|setting| setting.name() == name).unwrap();
        setting.set_text(&mut Settings::default(), text).unwrap_err()
    };
    for text in ["1:2:4", "1:2:4:0", "1:2:4:256", "1:2:4:x", ""] {
        assert!(refused("broker.priority_weights", text).contains("1:2:4:8"), "{text}");
    }
    assert!(refused("broker.routing", "round-robbin").contains("did you mean 'round-robin'?"));
    assert!(refused("broker.when_full", "drop").contains("reject, wait, drop-oldest"));
    assert!(refused("broker.max_run", "0s").contains("1ms to 365d, or none"));
    assert!(refused("server.a2a_agent", "a b").contains("agent id 'a b'"));
    assert!(refused("server.a2a_url", "ftp://host").contains("https://"));
    assert!(refused("server.a2a_proxy_private", "yes").contains("loopback, always and never"));
    assert!(refused("server.a2a_push_allow", "10.0.0.0/8,a b").contains("'a b'"));
    assert!(refused("broker.warning", "101").contains("the range is 1 to 100"));
}

#[test]
fn the_page_has_every_setting_with_its_default_and_range() {
    let page = include_str!("../../../../../docs/cli.md");
    let mut rows = String::new();
    for setting in all() {
        let name = setting.name();
        // The default directory depends on who asks.
        let default = if name == "broker.data" { "see `serve`".into() } else { setting.default() };
        let when = if setting.reloads() { "reload" } else { "restart" };
        let (range, doc) = (setting.range(), setting.doc());
        writeln!(rows, "| `{name}` | {default} | {range} | {when} | {doc} |").unwrap();
    }
    assert!(page.contains(&rows), "docs/cli.md should have these rows:\n{rows}");
}
