//! Cron expressions and time zones: an answer lies in the future, is the first one, and does not
//! depend on what was asked before.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use trunkline_engine::Rules;
use trunkline_rules::Rulebook;
use trunkline_types::WallTime;

/// Remembers what was asked before, as a broker's does.
static USED: LazyLock<Rulebook> = LazyLock::new(Rulebook::new);

/// Up to the year 2262, so that what is due next is still within the calendar.
const LATEST: u64 = 1 << 43;

fuzz_target!(|data: &[u8]| {
    let Some((time, text)) = data.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let after = WallTime(u64::from_le_bytes(*time));
    let (cron, zone) = text.split_once('\n').unwrap_or((text, ""));
    let fresh = Rulebook::new();
    let due = fresh.next_due(cron, zone, after);
    assert_eq!(USED.next_due(cron, zone, after), due, "what was asked before is of no account");
    let Ok(Some(due)) = due else { return };
    assert!(due > after, "{due:?} is not after {after:?}");
    if after.0 > LATEST {
        return;
    }
    // The same is the answer for every time in between, whether it is remembered or not.
    let before = WallTime(due.0 - 1);
    let middle = WallTime(after.0 + (before.0 - after.0) / 2);
    for between in [before, middle] {
        for rules in [&fresh, &Rulebook::new()] {
            assert_eq!(rules.next_due(cron, zone, between), Ok(Some(due)), "after {between:?}");
        }
    }
    if let Ok(Some(next)) = fresh.next_due(cron, zone, due) {
        assert!(next > due, "{next:?} is not after {due:?}");
    }
});
