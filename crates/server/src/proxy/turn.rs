//! One delivery at work: what is known of it, and what the broker's task is told.

use super::http::Beside;
use super::relay::{Relayer, beside, refused};
use smol_str::SmolStr;
use tokio::sync::watch;
use trunkline_a2a::wire::stream_response::Payload as Told;
use trunkline_a2a::{End, LINK, Link, Recall, Relay, Step, whole_reply};
use trunkline_agent::{HandlerResult, Task};
use trunkline_types::Payload;

/// How often a task that was just answered may be shown as it was before.
const STALE: u32 = 20;
/// After so many pieces, or so many bytes of them, the task notes anew where it is: old events of
/// a long task are forgotten.
const PIECES: u32 = 500;
const PIECE_BYTES: usize = 8 << 20;

/// One delivery at work.
pub(super) struct Turn<'a> {
    pub(super) by: &'a Relayer,
    pub(super) task: &'a Task,
    pub(super) known: &'a watch::Sender<String>,
    pub(super) link: Link,
    pub(super) relay: Relay,
    /// Whether what was noted before is forgotten.
    pub(super) doubtful: bool,
    pub(super) beside: Beside,
    /// The pieces of artifacts that a plain request, which has none, is answered with, and which
    /// artifact each is of.
    plain: Vec<(SmolStr, Payload)>,
    pieces: u32,
    piece_bytes: usize,
    /// How often a task was shown as it was before its last message.
    pub(super) stale: u32,
}

impl<'a> Turn<'a> {
    /// Reads back what was noted before.
    pub(super) async fn begin(
        by: &'a Relayer,
        task: &'a Task,
        known: &'a watch::Sender<String>,
    ) -> HandlerResult<Self> {
        let recall = if task.is_task() {
            by.shared.recalled(task.id()).await.map_err(refused)?
        } else {
            Recall::default()
        };
        let Recall { link, relay, last: _, gap } = recall;
        known.send_replace(link.task.clone());
        let (beside, plain) = (beside(task), Vec::new());
        let (pieces, piece_bytes, stale) = (0, 0, 0);
        Ok(Self {
            by,
            task,
            known,
            link,
            relay,
            doubtful: gap,
            beside,
            plain,
            pieces,
            piece_bytes,
            stale,
        })
    }

    /// Notes where the task is, as durably as what the broker accepts.
    pub(super) async fn note(&mut self) -> HandlerResult<()> {
        (self.pieces, self.piece_bytes) = (0, 0);
        if !self.task.is_task() {
            return Ok(());
        }
        self.task.artifact(LINK, self.link.note(), false, false).await.map_err(refused)?;
        // What is shown is durable.
        self.by.shared.snapshot(self.task.id()).await.map_err(refused)?;
        Ok(())
    }

    /// What a plain request is answered with, if nothing else is said.
    pub(super) fn plain_reply(&self) -> Option<Payload> {
        let pieces: Vec<Payload> = self.plain.iter().map(|(_, piece)| piece.clone()).collect();
        whole_reply(&pieces)
    }

    /// Tells the broker's task what is new, to its end.
    pub(super) async fn take(&mut self, told: Told) -> HandlerResult<Option<End>> {
        for step in self.relay.take(told) {
            match step {
                Step::Progress(progress) => {
                    self.task.progress(progress.percent, progress.text).await.map_err(refused)?;
                }
                Step::Artifact(chunk) if !self.task.is_task() => {
                    if !chunk.append {
                        self.plain.retain(|(name, _)| *name != chunk.name);
                    }
                    self.plain.push((chunk.name, chunk.payload));
                }
                Step::Head(note) => {
                    if self.task.is_task() {
                        self.task.artifact(LINK, note, true, false).await.map_err(refused)?;
                    }
                }
                Step::Artifact(chunk) => {
                    self.pieces += 1;
                    self.piece_bytes += chunk.payload.data.len();
                    let (append, last) = (chunk.append, chunk.last);
                    let said = self.task.artifact(&chunk.name, chunk.payload, append, last);
                    said.await.map_err(refused)?;
                    if self.pieces >= PIECES || self.piece_bytes >= PIECE_BYTES {
                        self.note().await?;
                    }
                }
                Step::End(End::Waits { mark, shown: true, .. })
                    if mark != 0
                        && mark == self.link.asked
                        && self.link.said > self.link.asked_at
                        && self.stale < STALE =>
                {
                    self.stale += 1;
                }
                Step::End(end) => return Ok(Some(end)),
            }
        }
        Ok(None)
    }
}
