//! What must hold between settings, and which of them can change while a broker runs.

use crate::error::OpenError;
use std::time::Duration;
use trunkline_engine::EngineConfig;
use trunkline_log::LogConfig;

/// The largest payload that a record may be made of.
const MOST_PAYLOAD: usize = 8 << 20;

/// What the address of an inbox needs in a record at most: its kind, a name, their length.
const ADDRESS: usize = 8 + 128 + 4;

/// What the schemas of a skill need in a record at most besides their texts: its name, lengths.
const SCHEMAS: usize = 128 + 16;

/// What a record needs besides its parts.
const RECORD_REST: usize = 4 << 10;

/// Checks settings against their ranges and against each other, as [`Broker::open`] and
/// [`Broker::reconfigure`] do.
///
/// [`Broker::open`]: crate::Broker::open
/// [`Broker::reconfigure`]: crate::Broker::reconfigure
///
/// # Errors
/// [`OpenError::Setting`] names the setting, its value and what it must be.
pub fn check(engine: &EngineConfig, log: &LogConfig) -> Result<(), OpenError> {
    check_ranges(engine).and_then(|()| check_record(engine, log)).map_err(OpenError::Setting)
}

/// Settings that replace those in force: what can change while a broker runs is as wanted, the
/// rest as it was. Also the names of what differs and stays as it was until a restart.
pub(crate) fn merged(
    before: &EngineConfig,
    wanted: EngineConfig,
) -> (EngineConfig, Vec<&'static str>) {
    let mut kept = Vec::new();
    if wanted.partition != before.partition {
        kept.push("partition");
    }
    if wanted.key_window != before.key_window {
        kept.push("key_window");
    }
    let config = EngineConfig {
        partition: before.partition,
        seed: before.seed,
        logged: before.logged,
        rules: before.rules.clone(),
        key_index: before.key_index.clone(),
        task_index: before.task_index.clone(),
        letter_index: before.letter_index.clone(),
        payloads: before.payloads.clone(),
        // Keys on disk lie there with the end of their window.
        key_window: before.key_window,
        ..wanted
    };
    (config, kept)
}

fn check_ranges(engine: &EngineConfig) -> Result<(), String> {
    for (name, span) in [
        ("lease", Some(engine.lease)),
        ("resume_grace", Some(engine.resume_grace)),
        ("key_window", Some(engine.key_window)),
        ("max_run", engine.max_run),
        ("breaker_window", (engine.breaker_failures > 0).then_some(engine.breaker_window)),
        ("breaker_open", (engine.breaker_failures > 0).then_some(engine.breaker_open)),
    ] {
        if span == Some(Duration::ZERO) {
            return Err(format!("{name} is zero; it must be longer"));
        }
    }
    if engine.backoff_base > engine.backoff_cap {
        let (base, cap) = (engine.backoff_base, engine.backoff_cap);
        return Err(format!(
            "backoff_base is {base:?} and backoff_cap is {cap:?}; the first must not be longer"
        ));
    }
    if let Some(place) = engine.priority_weights.iter().position(|&weight| weight == 0) {
        let priority = trunkline_types::Priority::ALL[place];
        return Err(format!(
            "the weight of priority '{priority}' is 0, the range is 1 to 255; with 0 it would \
             starve"
        ));
    }
    if engine.clean_percent < 150 {
        return Err(format!(
            "clean_percent is {}; it is at least 150, or cleaning writes more than it frees",
            engine.clean_percent
        ));
    }
    if !(1..=100).contains(&engine.warning) {
        return Err(format!("warning is {}, the range is 1 to 100 percent", engine.warning));
    }
    if engine.breaker_failures > 0 && engine.breaker_probes == 0 {
        return Err("breaker_probes is 0, so that no breaker would ever close; it is at least 1, \
                    or set breaker_failures to 0 for no breakers"
            .to_owned());
    }
    for (name, value) in [
        ("inboxes", engine.inboxes),
        ("sessions", engine.sessions),
        ("gather_agents", engine.gather_agents),
        ("logged_copies", engine.logged_copies),
        ("limits.operations_per_frame", engine.limits.operations_per_frame),
        ("limits.destinations", engine.limits.destinations),
    ] {
        if value == 0 {
            return Err(format!("{name} is 0; it is at least 1"));
        }
    }
    if engine.limits.payload_bytes > MOST_PAYLOAD {
        let bytes = engine.limits.payload_bytes;
        return Err(format!("limits.payload_bytes is {bytes}, the limit is {MOST_PAYLOAD}"));
    }
    Ok(())
}

fn check_record(engine: &EngineConfig, log: &LogConfig) -> Result<(), String> {
    let limits = &engine.limits;
    // The largest records are an envelope with everything that it may have, with the inboxes that
    // it goes to, and an agent's card.
    let envelope = limits.payload_bytes
        + engine.logged_copies.saturating_mul(ADDRESS)
        + limits.headers * limits.header_bytes
        + limits.destinations * 128
        + limits.reason_bytes;
    let card = limits.card_entries * (4 * limits.header_bytes + SCHEMAS)
        + limits.card_schema_bytes
        + 2 * limits.reason_bytes;
    let needed = envelope.max(card) + RECORD_REST;
    if needed > log.max_body_bytes {
        return Err(format!(
            "log.max_body_bytes is {}, but the limits on envelopes and cards (payload_bytes {}, \
             headers {}, card_entries {}, card_schema_bytes {} and others) and on the inboxes that \
             a logged envelope goes to (logged_copies {}) need {needed}; raise the one or lower the \
             others",
            log.max_body_bytes,
            limits.payload_bytes,
            limits.headers,
            limits.card_entries,
            limits.card_schema_bytes,
            engine.logged_copies
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut EngineConfig)) -> String {
        let mut engine = EngineConfig::default();
        change(&mut engine);
        check(&engine, &LogConfig::default()).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_hold_and_each_range_and_relation_is_named() {
        check(&EngineConfig::default(), &LogConfig::default()).unwrap();
        for (text, message) in [
            (refused(|it| it.lease = Duration::ZERO), "lease is zero"),
            (refused(|it| it.max_run = Some(Duration::ZERO)), "max_run is zero"),
            (refused(|it| it.breaker_open = Duration::ZERO), "breaker_open is zero"),
            (refused(|it| it.backoff_base = Duration::from_mins(1)), "backoff_base is 60s and"),
            (
                refused(|it| it.priority_weights[0] = 0),
                "priority 'low' is 0, the range is 1 to 255",
            ),
            (refused(|it| it.clean_percent = 149), "clean_percent is 149; it is at least 150"),
            (refused(|it| it.warning = 101), "warning is 101, the range is 1 to 100"),
            (refused(|it| it.breaker_probes = 0), "breaker_probes is 0"),
            (refused(|it| it.gather_agents = 0), "gather_agents is 0"),
            (refused(|it| it.logged_copies = 0), "logged_copies is 0"),
            (refused(|it| it.logged_copies = 200_000), "(logged_copies 200000) need 29"),
            (refused(|it| it.limits.payload_bytes = 9 << 20), "the limit is 8388608"),
            (refused(|it| it.limits.card_schema_bytes = 17 << 20), "card_schema_bytes 17825792"),
            (refused(|it| it.limits.headers = 20_000), "log.max_body_bytes is 16777216, but"),
        ] {
            assert!(text.contains(message), "{text}\n{message}");
        }
        let mut none =
            EngineConfig { breaker_probes: 0, breaker_failures: 0, ..Default::default() };
        none.breaker_open = Duration::ZERO;
        check(&none, &LogConfig::default()).unwrap();
    }

    #[test]
    fn what_cannot_change_while_a_broker_runs_stays_and_is_named() {
        let before = EngineConfig { seed: 7, logged: true, ..EngineConfig::default() };
        let wanted = EngineConfig {
            seed: 8,
            logged: false,
            key_window: Duration::from_secs(1),
            lease: Duration::from_secs(9),
            ..EngineConfig::default()
        };
        let (config, kept) = merged(&before, wanted);
        assert_eq!(kept, ["key_window"]);
        assert_eq!((config.seed, config.logged), (7, true));
        assert_eq!(config.key_window, before.key_window);
        assert_eq!(config.lease, Duration::from_secs(9));
    }
}
