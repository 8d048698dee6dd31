//! Every setting, once: its name, its range, its place.
//!
//! A setting that does nothing has no place here, and what the crates below decide for themselves
//! (the partition, the seeds) is not to be set.

use super::slot::Slot;
use std::time::Duration;

/// A setting by its section and key.
pub(super) struct Setting {
    /// The table of the file that it is in.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) key: &'static str,
    /// What it is and where it goes.
    pub(super) slot: Slot,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

macro_rules! span {
    ($section:literal, $key:literal, $($field:ident).+, $least:expr, $most:expr) => {
        Setting {
            section: $section,
            key: $key,
            slot: Slot::Span {
                get: |settings| settings.$($field).+,
                set: |settings, span| settings.$($field).+ = span,
                least: ms($least),
                most: ms($most),
            },
        }
    };
}

macro_rules! number {
    ($kind:ident, $section:literal, $key:literal, $($field:ident).+, $least:expr, $most:expr) => {
        Setting {
            section: $section,
            key: $key,
            slot: Slot::$kind {
                get: |settings| u64::try_from(settings.$($field).+).unwrap_or(u64::MAX),
                // The range keeps the number within what the field can hold.
                set: |settings, number| {
                    settings.$($field).+ = number.try_into().unwrap_or(settings.$($field).+);
                },
                least: $least,
                most: $most,
            },
        }
    };
}

/// All settings, by section and in the order in which they are shown.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        section: "server",
        key: "listen",
        slot: Slot::Text {
            get: |settings| settings.server.listen.to_string(),
            set: |settings, text| {
                settings.server.listen = text.parse().map_err(|_not_an_address| {
                    format!("'{text}' is no address; write it like 127.0.0.1:7420")
                })?;
                Ok(())
            },
        },
    },
    Setting {
        section: "server",
        key: "insecure",
        slot: Slot::Flag {
            get: |settings| settings.server.insecure,
            set: |settings, flag| settings.server.insecure = flag,
        },
    },
    number!(Size, "server", "max_frame_bytes", server.max_frame_bytes, 64 * KIB, 16 * MIB),
    number!(Count, "server", "max_connections", server.max_connections, 1, 1_000_000),
    number!(Count, "server", "max_streams", server.max_streams, 1, 1_000_000),
    number!(Size, "server", "max_waiting_bytes", server.max_waiting_bytes, 64 * KIB, 64 * GIB),
    span!("server", "hello_deadline", server.hello_deadline, 100, HOUR),
    span!("server", "drain_grace", server.drain_grace, 0, DAY),

    Setting {
        section: "broker",
        key: "data",
        slot: Slot::Text {
            get: |settings| match settings.data() {
                Ok(Some(path)) => path.display().to_string(),
                Ok(None) | Err(_) => String::new(),
            },
            set: |settings, text| {
                if text.is_empty() {
                    return Err("it is empty; leave it out for the default directory".into());
                }
                settings.data = Some(text.into());
                Ok(())
            },
        },
    },
    Setting {
        section: "broker",
        key: "ephemeral",
        slot: Slot::Flag {
            get: |settings| settings.ephemeral,
            set: |settings, flag| settings.ephemeral = flag,
        },
    },
    span!("broker", "lease", engine.lease, 100, DAY),
    span!("broker", "resume_grace", engine.resume_grace, 0, HOUR),
    span!("broker", "backoff_base", engine.backoff_base, 1, HOUR),
    span!("broker", "backoff_cap", engine.backoff_cap, 1, DAY),
    number!(Count, "broker", "losses", engine.losses, 0, 1_000_000),
    span!("broker", "absence_tolerance", engine.absence_tolerance, 10, HOUR),
    number!(Count, "broker", "inbox_ephemeral", engine.inbox_ephemeral, 1, 1_000_000_000),
    number!(Size, "broker", "inbox_ephemeral_bytes", engine.inbox_ephemeral_bytes, KIB, 1024 * GIB),
    number!(Count, "broker", "inbox_logged", engine.inbox_logged, 1, 1_000_000_000_000),
    span!("broker", "full_hint", engine.full_hint, 1, HOUR),
    number!(Count, "broker", "inboxes", engine.inboxes, 1, 1_000_000_000),
    span!("broker", "key_window", engine.key_window, SECOND, 365 * DAY),
    number!(Count, "broker", "keys", engine.keys, 1, 1_000_000_000),
    number!(Count, "broker", "ended_tasks", engine.ended_tasks, 1, 1_000_000_000),
    number!(Count, "broker", "task_events", engine.task_events, 1, 1_000_000_000),
    number!(Size, "broker", "ended_task_bytes", engine.ended_task_bytes, KIB, 1024 * GIB),
    number!(Size, "broker", "task_event_bytes", engine.task_event_bytes, KIB, 64 * GIB),
    number!(Count, "broker", "task_messages", engine.task_messages, 1, 65_536),
    number!(Size, "broker", "task_message_bytes", engine.task_message_bytes, KIB, 4 * MIB),
    number!(Count, "broker", "sessions", engine.sessions, 1, 1_000_000_000),
    number!(Count, "broker", "dead_letters", engine.dead_letters, 1, 1_000_000_000),
    span!("broker", "session_memory", engine.session_memory, SECOND, 30 * DAY),
    number!(Count, "broker", "remembered_sessions", engine.remembered_sessions, 1, 1_000_000_000),

    number!(Size, "log", "segment_bytes", log.segment_bytes, 64 * KIB, GIB),
    number!(Size, "log", "max_body_bytes", log.max_body_bytes, KIB, GIB),
    number!(Count, "log", "free_segments", log.free_segments, 0, 1_024),
    span!("log", "flush_within", log.flush_within, 0, 10 * SECOND),
    number!(Size, "log", "pending_bytes", log.pending_bytes, 64 * KIB, 64 * GIB),
    span!("log", "retry_space_after", log.retry_space_after, 10, HOUR),

    number!(Size, "limits", "payload_bytes", engine.limits.payload_bytes, 1, 8 * MIB),
    number!(Count, "limits", "headers", engine.limits.headers, 0, 4_096),
    number!(Size, "limits", "header_bytes", engine.limits.header_bytes, 64, 64 * KIB),
    number!(Count, "limits", "destinations", engine.limits.destinations, 1, 65_536),
    number!(Count, "limits", "operations_per_frame", engine.limits.operations_per_frame, 1, 65_536),
    number!(Count, "limits", "subscriptions", engine.limits.subscriptions, 1, 65_536),
    number!(Count, "limits", "card_entries", engine.limits.card_entries, 1, 65_536),
    number!(Count, "limits", "credit", engine.limits.credit, 1, 65_536),
    span!("limits", "longest_span", engine.limits.longest_span, SECOND, 3_650 * DAY),
    number!(Count, "limits", "attempts", engine.limits.attempts, 1, 10_000),
    number!(Size, "limits", "reason_bytes", engine.limits.reason_bytes, 64, 64 * KIB),
];

impl Setting {
    /// The name with its section, as messages have it.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn every_default_is_within_its_range_and_can_be_given_back() {
        for setting in SETTINGS.iter().filter(|setting| setting.name() != "broker.data") {
            let mut settings = Settings::default();
            let shown = setting.slot.show(&settings);
            let set = setting.slot.set_text(&mut settings, &shown);
            assert_eq!(set, Ok(()), "{}", setting.name());
            assert_eq!(setting.slot.show(&settings), shown, "{}", setting.name());
        }
    }

    #[test]
    fn every_field_of_a_config_can_be_set_or_is_decided_elsewhere() {
        // `logged` follows from `ephemeral`; seed and salt are drawn; limits are a section, and the
        // server is told of their payload.
        let elsewhere = ["partition", "seed", "logged", "limits", "defect", "salt"];
        let Settings { server, engine, log, .. } = Settings::default();
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
                let known = SETTINGS.iter().any(|setting| setting.key == field);
                assert!(known || elsewhere.contains(&field), "'{field}' cannot be set");
            }
        }
    }

    #[test]
    fn every_setting_changes_its_own_value_and_no_other() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            let text = match &setting.slot {
                Slot::Span { least, .. } => crate::output::units::exact_span(*least),
                Slot::Size { least, .. } | Slot::Count { least, .. } => least.to_string(),
                Slot::Flag { .. } => "true".into(),
                Slot::Text { .. } if setting.key == "listen" => "127.0.0.1:1".into(),
                Slot::Text { .. } => "/somewhere".into(),
            };
            setting.slot.set_text(&mut settings, &text).unwrap();
            let changed: Vec<_> = SETTINGS
                .iter()
                .filter(|other| other.slot.show(&settings) != other.slot.show(&Settings::default()))
                // Without a directory there is none to show.
                .filter(|other| setting.key != "ephemeral" || other.key == "ephemeral")
                .map(Setting::name)
                .collect();
            assert_eq!(changed, [setting.name()]);
        }
    }
}
