//! What filters say of events, what is refused with which words, and what they may cost.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use proptest::prelude::*;
use trunkline_content::{Compression, Json, MsgPack, compress};
use trunkline_engine::Rules;
use trunkline_rules::Rulebook;
use trunkline_types::{
    Destination, Encoding, Envelope, Filter, Kind, MessageId, Partition, Payload, Priority, Publish,
};

fn event(payload: Payload) -> Publish {
    let to = Destination::Topic("build.linux.done".parse().unwrap());
    let id = MessageId::from_parts(1, Partition(0), 1);
    let mut envelope = Envelope::new(id, Kind::Event, to, payload);
    envelope.source = Some("builder-1".parse().unwrap());
    envelope.priority = Priority::High;
    envelope.context_id = Some("c-1".parse().unwrap());
    envelope.ordering_key = Some("k-1".parse().unwrap());
    envelope.headers = vec![("env".into(), "prod".into()), ("env".into(), "late".into())];
    Publish::new(envelope)
}

fn json(text: &str) -> Publish {
    event(Payload::new("application/json", text.to_owned()))
}

fn wants(filter: &str, publish: &Publish) -> bool {
    let rules = Rulebook::new();
    let filter = Filter::new(filter).unwrap();
    rules.check_filter(&filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let wanted = rules.matches(&filter, publish);
    assert_eq!(rules.verdicts(publish, [filter.clone()]).verdicts, [(filter, wanted.into())]);
    wanted
}

fn refusal(filter: &str) -> String {
    Rulebook::new().check_filter(&Filter::new(filter).unwrap()).unwrap_err()
}

#[test]
fn every_variable_says_what_the_event_has() {
    let event = json(r#"{"a": 1}"#);
    for filter in [
        "topic == 'build.linux.done'",
        "kind == 'event'",
        "source == 'builder-1'",
        "priority == 'high'",
        "headers.env == 'prod' && headers['env'] == 'prod'",
        "content_type == 'application/json'",
        "size == 8",
        "payload.a == 1",
        "context_id == 'c-1'",
        "ordering_key == 'k-1'",
    ] {
        assert!(wants(filter, &event), "{filter}");
        assert!(!wants(&format!("!({filter})"), &event), "{filter}");
    }
    let mut bare = event;
    bare.envelope.source = None;
    bare.envelope.context_id = None;
    bare.envelope.destination = Destination::All;
    assert!(wants("source == '' && context_id == '' && topic == ''", &bare));
}

#[test]
fn functions_operators_and_loops_act() {
    let event = json(
        r#"{"size": 12.5, "big": 18446744073709551615, "tags": ["a", "bc"], "on": true,
            "items": [{"n": 1}, {"n": 5}], "name": "tests passed", "none": null}"#,
    );
    for filter in [
        "payload.size > 10 && payload.size < 13",
        "payload.items[1].n + 1 == 6",
        "payload.big > 18446744073709551614u",
        "'bc' in payload.tags && !('x' in payload.tags)",
        "payload.on",
        "payload.none == null",
        "has(payload.name) && !has(payload.missing)",
        "payload.name.startsWith('tests') && payload.name.endsWith('passed')",
        "payload.name.contains('s p') && payload.name.matches('^[a-z ]+$')",
        "matches(topic, r'\\.linux\\.') && size(payload.tags) == 2",
        "payload.items.exists(i, i.n > 4) && !payload.items.all(i, i.n > 4)",
        "payload.items.exists_one(i, i.n == 5)",
        "payload.items.exists(i, i.n == 5 && headers.env == 'prod' && topic != '')",
        "priority in ['high', 'urgent'] || false",
        "type(payload.name) == string && int(payload.size) == 12",
        "payload.on ? size > 0 : false",
    ] {
        assert!(wants(filter, &event), "{filter}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_not_wanted() {
    let event = json(r#"{"a": "text"}"#);
    for filter in ["payload.b == 1", "payload.a > 1", "payload.a", "headers.none == ''"] {
        assert!(!wants(filter, &event), "{filter}");
        assert!(!wants(&format!("!({filter})"), &event), "{filter}");
    }
    assert!(wants("payload.b == 1 || kind == 'event'", &event), "one side is enough");
}

#[test]
fn the_payload_is_read_in_every_form_that_is_json_underneath() {
    let value = serde_json::json!({"n": 7, "list": [1, "two"]});
    let json = Json(&value).encode().unwrap();
    let packed = MsgPack(&value).encode().unwrap();
    let text = Payload::text(value.to_string());
    let bare = Payload::from(value.to_string().into_bytes());
    for payload in [json, packed, text, bare] {
        assert!(wants("payload.n == 7 && payload.list[1] == 'two'", &event(payload.clone())));
        for &encoding in Encoding::ALL {
            let long = serde_json::json!({"n": 7, "pad": "x".repeat(9000)});
            let payload =
                compress(Json(&long).encode().unwrap(), &Compression { encoding, above: 0 });
            assert_eq!(payload.encoding, encoding);
            assert!(wants("payload.n == 7", &event(payload)), "{encoding}");
        }
    }
}

#[test]
fn a_payload_that_is_too_large_or_no_json_is_null() {
    let long = format!(r#"{{"n": 7, "pad": "{}"}}"#, "x".repeat(256 << 10));
    let plain = Payload::new("application/json", long);
    let bomb = compress(plain.clone(), &Compression::new(Encoding::Gzip));
    let not_json = Payload::text("n: 7");
    let binary = Payload::new("application/octet-stream", r#"{"n": 7}"#.to_owned());
    let damaged = Payload { encoding: Encoding::Zstd, ..Payload::text(r#"{"n": 7}"#) };
    for payload in [plain, bomb, not_json, binary, damaged] {
        let event = event(payload);
        assert!(!wants("payload.n == 7", &event) && !wants("payload.n != 7", &event));
        assert!(wants("payload == null && size > 0", &event));
    }
}

#[test]
fn a_refusal_says_what_where_and_what_would_be_right() {
    for (filter, message) in [
        ("topik == 'a'", "unknown variable 'topik' at column 1; did you mean 'topic'?"),
        ("size > 1 && zzz", "unknown variable 'zzz' at column 13; there are topic, kind, source"),
        (
            "topic.startWith('a')",
            "unknown function 'startWith' at column 7; did you mean 'startsWith'?",
        ),
        ("topic.contains()", "'contains' takes 2 values at column 7, not 1"),
        ("payload.a.exists(x)", "'exists' is written LIST.exists(x, CONDITION) at column 11"),
        (
            "payload.a.map(x, x) == []",
            "a filter has no 'map' or 'filter' at column 15; ask with exists",
        ),
        (
            "topic.matches(source)",
            "the pattern of 'matches' at column 7 must be a text written out",
        ),
        ("topic.matches('(')", "the pattern '(' of 'matches' at column 7 is wrong: unclosed group"),
        (
            "topic.matches('(a{100}){100}')",
            "takes more than 32768 bytes compiled; write fewer or smaller repetitions",
        ),
        ("topic", "it gives a text, where true or false is wanted"),
        ("size + 1", "it gives a sum, where true or false is wanted"),
        ("headers.env", "it gives a text, where"),
        ("topic == 'a", "at column 10"),
        ("topic = 'a'", "at column 7"),
        ("size >\n  > 1", "at line 2, column 3"),
        ("Message{a: 1} == 1", "a filter cannot make a 'Message' at column 1"),
        ("payload.?a == 1", "unsupported syntax '.?'"),
        (
            "payload.a.exists(x, payload.a.exists(y, y == x))",
            "a loop stands within another at column 38",
        ),
        (
            "payload.a.all(x, x in payload.a)",
            "'payload' stands within a loop at column 1, where only the loop's variable",
        ),
        ("payload.a.all(x, headers == x)", "'headers' stands within a loop"),
        ("payload.a.exists(x, x.matches('a'))", "'matches' stands within a loop"),
    ] {
        let refusal = refusal(filter);
        assert!(refusal.contains(message), "{filter}:\n{refusal}\n{message}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn a_filter_over_a_bound_is_refused_with_the_bound() {
    let many = |count: usize, part: &str, join: &str| vec![part; count].join(join);
    for (filter, message) in [
        (format!("size in [{}]", many(1001, "1", ",")), "more than 1000 parts"),
        (format!("payload{} == 1", "[0]".repeat(30)), "more than 24 levels deep"),
        (format!("{}size{} > 1", "int(".repeat(500), ")".repeat(500)), "more than 20 levels deep"),
        (format!("{} == 1", many(50, "size", "-")), "more than 24 levels deep"),
        (format!("{} == ''", many(18, "'a'", "+")), "more than 16 additions"),
        (many(9, "topic.matches('a')", "||"), "more than 8 patterns"),
        ("true?true:".repeat(65) + "true", "65 question marks, the limit is 64"),
        (format!("{}true", "!-".repeat(900)), "more than 24 levels deep"),
    ] {
        let refusal = refusal(&filter);
        assert!(refusal.contains(message), "{filter}:\n{refusal}");
    }
    let wide = (0..150).map(|n| format!("topic == 't{n}'")).collect::<Vec<_>>().join(" || ");
    assert!(!wants(&wide, &json("1")), "many alternatives side by side are no depth");
}

#[test]
fn the_deepest_filter_that_is_allowed_needs_little_stack() {
    let deep = format!("{} > 1", vec!["size"; 23].join("-"));
    let ternaries = format!("{}true", "false?false:".repeat(22));
    let nested = format!("{}size{} == 1", "int(".repeat(19), ")".repeat(19));
    for filter in [deep, ternaries, nested] {
        let run = move || wants(&filter, &json("1"));
        // Half of what a thread has by default.
        std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
    }
}

#[test]
fn more_work_than_is_allowed_is_not_wanted_and_less_is() {
    let list = |count: usize| json(&format!("{{\"l\": [{}1]}}", "0,".repeat(count)));
    let filter = "payload.l.exists(x, x == 1)";
    assert!(wants(filter, &list(5_000)));
    assert!(!wants(filter, &list(50_000)), "beyond the bound");
    let often = vec!["payload.l != payload"; 30].join(" && ");
    assert!(wants(&often, &list(5_000)));
    assert!(!wants(&often, &list(50_000)), "beyond the bound");
    assert!(wants("payload.l[50000] == 1", &list(50_000)), "one look is cheap");
}

#[test]
fn a_nasty_pattern_reads_a_bounded_text_and_is_bounded_itself() {
    let nasty = ["payload.t.matches('(a|aa|a?a)+(x?y?z?){20}b$')"; 8].join(" || ");
    let text = |count: usize| json(&format!("{{\"t\": \"{}\"}}", "a".repeat(count)));
    assert!(!wants(&nasty, &text(16 << 10)));
    assert!(wants("payload.t.matches('a$')", &text(16 << 10)));
    assert!(!wants("payload.t.matches('a$')", &text((16 << 10) + 1)), "too long to be read");
    assert!(!wants("!payload.t.matches('a$')", &text((16 << 10) + 1)), "and not told as a no");
}

#[test]
fn a_payload_nested_as_deep_as_json_may_be_is_read() {
    let deep = format!("{}1{}", "[".repeat(126), "]".repeat(126));
    assert!(wants("payload == payload", &json(&deep)));
    let deeper = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(wants("payload == null", &json(&deeper)));
}

/// Texts made of what filters are made of, sensible or not.
fn any_filter() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "topic",
        "payload",
        "headers",
        "size",
        "x",
        ".",
        "a",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "?",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        "&&",
        "||",
        " in ",
        "1",
        "0",
        "1.5",
        "2u",
        "'t'",
        "\"",
        "'",
        "r'\\d'",
        "b'x'",
        "true",
        "null",
        ".exists(x, ",
        ".all(a, ",
        "has(",
        ".matches('a+')",
        "size(",
        "int(",
        "9223372036854775807",
        "\\",
        "é",
        "//",
        "\n",
        "'''",
        "@",
        "`",
        "type(",
        ".exists_one(payload, ",
    ]);
    prop::collection::vec(part, 1..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_compiles_or_is_refused_and_evaluates_without_panic(text in any_filter()) {
        let rules = Rulebook::new();
        let Ok(filter) = Filter::new(text) else { return Ok(()) };
        if rules.check_filter(&filter).is_ok() {
            for event in [json(r#"{"a": [1, {"a": "b"}], "t": -1}"#), json("[0, 1]"), json("x")] {
                let wanted = rules.matches(&filter, &event);
                prop_assert_eq!(wanted, Rulebook::new().matches(&filter, &event));
            }
        } else {
            prop_assert!(!rules.matches(&filter, &json("1")));
        }
    }
}
