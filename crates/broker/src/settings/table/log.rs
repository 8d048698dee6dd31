//! The settings of the log. They are read once, when it is opened.

use super::{GIB, HOUR, KIB, SECOND};
use crate::BrokerConfig;
use crate::settings::Setting;
use crate::{number_setting as number, span_setting as span};

/// The section `log`.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting<BrokerConfig>] = &[
    number!(Size, "log", "segment_bytes", log.segment_bytes, 64 * KIB, GIB, Restart,
        "length of a new segment file"),
    number!(Size, "log", "max_body_bytes", log.max_body_bytes, KIB, GIB, Restart,
        "longest record"),
    number!(Count, "log", "free_segments", log.free_segments, 0, 1_024, Restart,
        "dead segment files that wait to be used again; more are deleted"),
    number!(Count, "log", "reserve_segments", log.reserve_segments, 0, 64, Restart,
        "prepared segments that new work may not use, so that a full disk can be cleaned"),
    number!(Size, "log", "clean_min_bytes", engine.clean_min_bytes, 0, 1_024 * GIB, Reload,
        "the log is not cleaned while it has no more bytes than this"),
    number!(Count, "log", "clean_percent", engine.clean_percent, 150, 10_000, Reload,
        "the log is cleaned when it has more bytes than so many percent of what is live"),
    span!("log", "flush_within", log.flush_within, 0, 10 * SECOND, Restart,
        "after how long at most a buffered record is flushed"),
    number!(Size, "log", "pending_bytes", log.pending_bytes, 64 * KIB, 64 * GIB, Restart,
        "bytes not yet written from which on new durable work waits"),
    span!("log", "retry_space_after", log.retry_space_after, 10, HOUR, Restart,
        "how often a full disk is tried again"),
];
