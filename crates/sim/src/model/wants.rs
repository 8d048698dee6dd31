//! The small language of filters and recurrences in which simulated actors speak: a filter is
//! `header=value`, a recurrence `every MILLISECONDS`.

use trunkline_types::session::Subscription;
use trunkline_types::{Destination, Filter, Publish, WallTime};

/// Whether a filter is one at all.
pub(crate) fn compiles(filter: &Filter) -> bool {
    filter.as_str().contains('=')
}

/// Whether a filter wants an event.
pub(crate) fn wants(filter: &Filter, publish: &Publish) -> bool {
    let Some((name, value)) = filter.as_str().split_once('=') else { return false };
    publish.envelope.headers.iter().any(|(n, v)| n == name && v == value)
}

/// Whether a subscription wants an event.
pub(crate) fn subscribed(wanted: &Subscription, publish: &Publish) -> bool {
    let Destination::Topic(topic) = &publish.envelope.destination else { return false };
    wanted.pattern.matches(topic)
        && wanted.filter.as_ref().is_none_or(|filter| wants(filter, publish))
}

/// When a recurrence is due after a time; `None` if it never is or is none.
pub(crate) fn next_due(cron: &str, after: WallTime) -> Option<WallTime> {
    let every: u64 = cron.strip_prefix("every ")?.parse().ok().filter(|&every| every > 0)?;
    Some(WallTime((after.0 / every + 1) * every))
}
