//! What the broker's own task remembers of the one elsewhere: which it is, how much was said to it,
//! and what of it was told. It is read back from the task's events, so that whoever gets the task
//! next goes on where it was left.

use super::head::{self, Head, is_note};
use super::relay::Relay;
use serde::{Deserialize, Serialize};
use trunkline_types::{Payload, TaskEvent, TaskEventBody, TaskUpdate};

/// The artifact of a task that notes its [`Link`], and what artifacts say besides their parts.
/// Clients of the standard are not told of it.
pub const LINK: &str = "a2a-proxy";

/// Which task elsewhere a task of the broker is done by.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Its id; empty while none is known.
    pub task: String,
    /// Its conversation; empty while none is known.
    pub context: String,
    /// How many messages it has taken.
    pub said: usize,
    /// What it waited for last is known by this; 0 for nothing.
    pub asked: u64,
    /// How many messages it had taken then.
    pub asked_at: usize,
    /// Whether the next message is on its way: if this is read back, nobody knows what became of
    /// it.
    pub sending: bool,
}

impl Link {
    /// As it is noted.
    pub fn note(&self) -> Payload {
        head::note(self)
    }
}

/// What the events of a task remember.
#[derive(Clone, Debug, Default)]
pub struct Recall {
    /// The task elsewhere.
    pub link: Link,
    /// What was told of it.
    pub relay: Relay,
    /// The number of the last event that was read or is missing.
    pub last: u64,
    /// Whether events are missing behind which no link was noted.
    pub gap: bool,
}

impl Recall {
    /// Takes the next news of the task.
    pub fn take(&mut self, update: &TaskUpdate) {
        match update {
            TaskUpdate::Event(TaskEvent { number, body, .. }) => {
                self.last = *number;
                let TaskEventBody::Artifact(chunk) = body else { return };
                if !is_note(chunk) {
                    self.relay.told(chunk);
                } else if let Some(head) = Head::read(chunk) {
                    self.relay.noted(head);
                } else if let Ok(link) = serde_json::from_slice(&chunk.payload.data) {
                    (self.link, self.gap) = (link, false);
                }
            }
            TaskUpdate::Gap { last, .. } => (self.last, self.gap) = (*last, true),
            TaskUpdate::Progress(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{ArtifactChunk, Epoch, WallTime};

    fn noted(number: u64, link: &Link) -> TaskUpdate {
        let (name, payload) = (LINK.into(), link.note());
        let chunk = ArtifactChunk { name, append: false, last: false, payload };
        let body = TaskEventBody::Artifact(chunk);
        TaskUpdate::Event(TaskEvent { number, epoch: Epoch(1), at: WallTime(0), body })
    }

    #[test]
    fn the_latest_link_is_remembered_and_a_gap_is_known_until_one_is_noted() {
        let mut recall = Recall::default();
        let sending = Link { sending: true, ..Link::default() };
        recall.take(&noted(3, &sending));
        assert_eq!((recall.link.clone(), recall.last), (sending, 3));
        recall.take(&TaskUpdate::Gap { first: 4, last: 9 });
        assert!(recall.gap && recall.last == 9);
        let known = Link { task: "t".into(), context: "c".into(), said: 1, ..Link::default() };
        recall.take(&noted(10, &known));
        assert_eq!((recall.link, recall.gap, recall.last), (known, false, 10));
    }
}
