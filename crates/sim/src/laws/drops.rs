//! What is dropped by rule: the oldest event of a full inbox for a newer one, or an event whose
//! time has come and that nobody wants.

use crate::check::{Check, Violation, ensure};
use crate::model::{Entry, Model, Place, pending};
use trunkline_types::{InboxAddress, Kind, WhenFull};

/// Whether an entry may be dropped now.
///
/// # Errors
/// Law 7 if an older one should have gone first.
pub(crate) fn right(model: &Model, entry: &Entry) -> Result<bool, Violation> {
    if entry.inbox == pending() {
        return Ok(super::pending::may_drop(model, entry));
    }
    let waits = entry.place == Place::Waiting;
    let allowed = when_full(model, &entry.inbox) == WhenFull::DropOldest && model.rules.tight;
    oldest(model, entry)?;
    Ok(waits && allowed && is_event_like(entry.publish.envelope.kind))
}

fn oldest(model: &Model, entry: &Entry) -> Check {
    let open = model.book.open.get(&entry.inbox).into_iter().flatten();
    let older = open.filter_map(|number| model.book.entries.get(number)).find(|other| {
        other.number < entry.number
            && other.place == Place::Waiting
            && other.leases == 0
            && !other.delayed
            && is_event_like(other.publish.envelope.kind)
            && other.publish.envelope.ordering_key.is_none()
            && other.expires_at().is_none_or(|at| at > model.now.wall)
            && model.reached(other.accepted, other.durability())
    });
    // What came back may be older than what never left; it is in its place all the same.
    let passed = older.filter(|_| entry.leases == 0 && !entry.delayed);
    ensure!(
        passed.is_none(),
        "7 order",
        "{} is dropped before an older event: {passed:?}",
        entry.id()
    );
    Ok(())
}

fn when_full(model: &Model, inbox: &InboxAddress) -> WhenFull {
    let settings = model.book.settings.get(inbox);
    settings.and_then(|settings| settings.when_full).unwrap_or(model.rules.when_full)
}

fn is_event_like(kind: Kind) -> bool {
    matches!(kind, Kind::Event | Kind::Broadcast | Kind::ContextShare | Kind::Status)
}
