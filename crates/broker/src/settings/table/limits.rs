//! The bounds on what a client may send.

use super::{DAY, KIB, MIB, SECOND};
use crate::BrokerConfig;
use crate::settings::Setting;
use crate::{number_setting as number, span_setting as span};

/// The section `limits`.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting<BrokerConfig>] = &[
    number!(Size, "limits", "payload_bytes", engine.limits.payload_bytes, 1, 8 * MIB, Reload,
        "largest payload of one envelope"),
    number!(Count, "limits", "headers", engine.limits.headers, 0, 4_096, Reload,
        "most headers of one envelope"),
    number!(Size, "limits", "header_bytes", engine.limits.header_bytes, 64, 64 * KIB, Reload,
        "largest header, name and value together"),
    number!(Count, "limits", "destinations", engine.limits.destinations, 1, 65_536, Reload,
        "most agents named in one destination"),
    number!(Count, "limits", "operations_per_frame", engine.limits.operations_per_frame, 1, 65_536, Reload,
        "most operations in one frame"),
    number!(Count, "limits", "subscriptions", engine.limits.subscriptions, 1, 65_536, Reload,
        "most subscriptions of one agent or session"),
    number!(Count, "limits", "card_entries", engine.limits.card_entries, 1, 65_536, Reload,
        "most skills, types, capabilities or labels of one agent, each"),
    number!(Size, "limits", "schema_bytes", engine.limits.schema_bytes, 0, MIB, Reload,
        "largest JSON Schema that an agent declares; with 0 none is taken"),
    number!(Size, "limits", "card_schema_bytes", engine.limits.card_schema_bytes, 0, 4 * MIB, Reload,
        "most bytes of all schemas that one agent declares"),
    number!(Count, "limits", "credit", engine.limits.credit, 1, 65_536, Reload,
        "most deliveries that one session may hold"),
    span!("limits", "longest_span", engine.limits.longest_span, SECOND, 3_650 * DAY, Reload,
        "longest time to live, delay or run that may be asked for"),
    number!(Count, "limits", "attempts", engine.limits.attempts, 1, 10_000, Reload,
        "most attempts that may be asked for"),
    number!(Size, "limits", "reason_bytes", engine.limits.reason_bytes, 64, 64 * KIB, Reload,
        "longest reason or progress text"),
];
