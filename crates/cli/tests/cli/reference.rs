//! The reference page against the settings that the binary shows.

use crate::harness::run;
use std::collections::BTreeSet;

#[test]
fn the_reference_has_every_setting_and_no_other() {
    let page = include_str!("../../../../docs/reference.md");
    let shown = run(["config", "show", "--json"]).json();
    let shown = shown.as_object().unwrap();
    let mut rows = BTreeSet::new();
    for line in page.lines() {
        // The name of a setting, a dot between its section and its key, begins its row.
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once('`'))
        else {
            continue;
        };
        let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let words = |text: &str| text.chars().all(part);
        if !name.split_once('.').is_some_and(|(section, key)| words(section) && words(key)) {
            continue;
        }
        let setting = shown.get(name).unwrap_or_else(|| panic!("there is no setting '{name}'"));
        assert!(rows.insert(name), "'{name}' is there twice");
        let variable = format!("TRUNKLINE_{}", name.replace('.', "__")).to_ascii_uppercase();
        // The default directory depends on who asks.
        let default = setting["default"].as_str().filter(|_| name != "broker.data");
        let default = default.unwrap_or("see `serve`");
        let when = if setting["reloads"] == true { "reload" } else { "restart" };
        let range = setting["range"].as_str().unwrap();
        let wanted = format!(" | `{variable}` | {default} | {range} | {when} |");
        assert!(rest.starts_with(&wanted), "the row of '{name}' should go on with{wanted}");
    }
    let missing: Vec<_> = shown.keys().filter(|name| !rows.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/reference.md lacks {missing:?}");
}
