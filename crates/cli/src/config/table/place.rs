//! The settings of where a broker keeps its work.

use super::Own;
use trunkline_broker::settings::{Slot, Takes};

/// What stands in the section `broker` before all that the broker itself knows.
pub(super) const SETTINGS: &[Own] = &[
    Own {
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
            range: "a directory",
        },
        takes: Takes::Restart,
        doc: "where accepted work is kept",
    },
    Own {
        section: "broker",
        key: "ephemeral",
        slot: Slot::Flag {
            get: |settings| settings.ephemeral,
            set: |settings, flag| settings.ephemeral = flag,
        },
        takes: Takes::Restart,
        doc: "keep everything in memory: a restart loses it",
    },
];
