//! When cron expressions are due, and which are refused with which words.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use jiff::Timestamp;
use proptest::prelude::*;
use trunkline_engine::Rules;
use trunkline_rules::Rulebook;
use trunkline_types::WallTime;

fn wall(text: &str) -> WallTime {
    let at: Timestamp = text.parse().unwrap();
    WallTime(at.as_millisecond().try_into().unwrap())
}

/// The next times after one, in UTC.
fn due(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let rules = Rulebook::new();
    let mut at = wall(after);
    let mut times = Vec::new();
    for _ in 0..count {
        let Some(next) = rules.next_due(cron, zone, at).unwrap() else { break };
        assert!(next > at, "{cron}: {next:?} is not after {at:?}");
        let time = Timestamp::from_millisecond(next.0.try_into().unwrap()).unwrap();
        times.push(time.to_string());
        at = next;
    }
    times
}

fn refusal(cron: &str, zone: &str) -> String {
    Rulebook::new().next_due(cron, zone, WallTime(0)).unwrap_err()
}

#[test]
fn five_fields_and_six_with_the_second_in_front() {
    let after = "2026-01-01T00:00:00Z";
    assert_eq!(
        due("30 9 * * MON-FRI", "", after, 3),
        ["2026-01-01T09:30:00Z", "2026-01-02T09:30:00Z", "2026-01-05T09:30:00Z"]
    );
    assert_eq!(
        due("*/20 * * * * *", "", after, 2),
        ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z"]
    );
    assert_eq!(due("0 0 29 2 *", "UTC", after, 1), ["2028-02-29T00:00:00Z"]);
    assert_eq!(due("0 12 L * *", "", after, 1), ["2026-01-31T12:00:00Z"]);
}

#[test]
fn the_zone_decides_what_the_time_of_day_means() {
    let after = "2026-07-01T00:00:00Z";
    assert_eq!(due("0 9 * * *", "Europe/Berlin", after, 1), ["2026-07-01T07:00:00Z"]);
    assert_eq!(due("0 9 * * *", "Asia/Kolkata", after, 1), ["2026-07-01T03:30:00Z"]);
    assert_eq!(due("0 9 * * *", "", after, 1), ["2026-07-01T09:00:00Z"]);
}

#[test]
fn a_time_within_a_second_is_after_the_one_that_began_it() {
    let rules = Rulebook::new();
    let within = WallTime(wall("2026-01-01T00:00:59Z").0 + 500);
    assert_eq!(rules.next_due("* * * * *", "", within), Ok(Some(wall("2026-01-01T00:01:00Z"))));
    let at = wall("2026-01-01T00:01:00Z");
    assert_eq!(rules.next_due("* * * * *", "", at), Ok(Some(wall("2026-01-01T00:02:00Z"))));
    let just_before = WallTime(at.0 - 1);
    assert_eq!(rules.next_due("* * * * *", "", just_before), Ok(Some(at)));
}

#[test]
fn a_local_time_that_is_left_out_is_due_once_after_the_gap() {
    // In Berlin 02:00 became 03:00 on 29 March 2026, at 01:00 UTC.
    assert_eq!(
        due("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 3),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]
    );
}

#[test]
fn a_local_time_that_comes_twice_is_due_once() {
    // In Berlin 03:00 became 02:00 on 25 October 2026, at 01:00 UTC.
    assert_eq!(
        due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    // Asked in between, when the clock shows 02:10 for the second time.
    assert_eq!(
        due("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["2026-10-26T01:30:00Z"]
    );
}

#[test]
fn a_rhythm_goes_on_through_both_changes() {
    let hourly = |after| due("0 * * * *", "Europe/Berlin", after, 4);
    assert_eq!(
        hourly("2026-03-28T23:30:00Z"),
        [
            "2026-03-29T00:00:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-29T02:00:00Z",
            "2026-03-29T03:00:00Z"
        ]
    );
    assert_eq!(
        hourly("2026-10-24T23:30:00Z"),
        [
            "2026-10-25T00:00:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T02:00:00Z",
            "2026-10-25T03:00:00Z"
        ]
    );
}

#[test]
fn a_day_that_never_comes_is_never_due() {
    for cron in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 31 2 *"] {
        assert_eq!(
            Rulebook::new().next_due(cron, "Europe/Berlin", WallTime(0)),
            Ok(None),
            "{cron}"
        );
    }
    let end = WallTime(u64::MAX);
    assert_eq!(Rulebook::new().next_due("* * * * *", "", end), Ok(None));
}

#[test]
fn a_refusal_says_which_field_and_what_would_be_right() {
    for (cron, message) in [
        ("61 * * * *", "the minute '61' of the cron expression '61 * * * *' is wrong"),
        ("0 0 0 * 13 *", "the month '13' of"),
        ("* * * * MOO", "the day of week 'MOO' of"),
        ("0 25 * * *", "the hour '25' of"),
        ("* * * *", "has 4 fields; it needs 5 (minute, hour, day of month, month, day of week)"),
        ("* * * * * * *", "has 7 fields; it needs 5"),
        ("", "the cron expression '' has 0 fields"),
        ("@daily", "the cron expression '@daily' is a short name; write '0 0 * * *'"),
        ("@reboot", "is a short name; write out its fields"),
        ("* @daily * * *", "the hour '@daily' of"),
    ] {
        let refusal = refusal(cron, "");
        assert!(refusal.contains(message), "{cron}:\n{refusal}\n{message}");
    }
    assert!(refusal(&"*".repeat(300), "").contains("300 bytes, the limit is 256"));
    assert_eq!(
        refusal("* * * * *", "Europe/Berln"),
        "unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"
    );
    assert_eq!(
        refusal("* * * * *", "#"),
        "unknown time zone '#'; it is an IANA name such as Europe/Berlin"
    );
}

proptest! {
    #[test]
    fn any_text_is_due_or_refused_without_panic(
        fields in prop::collection::vec("[0-9*,/#LW?+A-Z-]{1,6}", 4..8),
        text in ".{0,40}",
        zone in "[A-Za-z/_+0-9]{0,20}",
        after in any::<u64>(),
    ) {
        let rules = Rulebook::new();
        for cron in [fields.join(" "), text] {
            if let Ok(Some(next)) = rules.next_due(&cron, "Europe/Berlin", WallTime(after % (1 << 42))) {
                prop_assert!(next.0 > after % (1 << 42));
            }
            let _ = rules.next_due(&cron, &zone, WallTime(after));
        }
    }
}
