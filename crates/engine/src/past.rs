//! What is over leaves memory for the index on disk: ended tasks, and dead letters with what becomes
//! of them. Each is handed to the driver as it happens, in the order of its records.
//!
//! A replay keeps nothing that the index has, and hands over again what it does not have yet.

use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::settle::{ClearedLetter, DiedLetter};
use crate::task::EndedTask;
use std::sync::Arc;
use trunkline_types::{Epoch, Publish, Sequence};

/// Something for the index.
#[derive(Clone, PartialEq, Debug)]
pub enum Past {
    /// A logged task has ended.
    Ended(Box<EndedTask>),
    /// A logged message has become a dead letter.
    Died(Box<DiedLetter>),
    /// A logged dead letter was sent again or deleted: the index is to have it no longer.
    Cleared(Box<ClearedLetter>),
}

impl Past {
    /// The place of the record that tells of it. The index may take it in once that is on disk.
    pub fn place(&self) -> Sequence {
        match self {
            Self::Ended(task) => task.place,
            Self::Died(letter) => letter.place,
            Self::Cleared(cleared) => cleared.place,
        }
    }

    /// About how many bytes it needs.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Ended(task) => task.bytes(),
            Self::Died(letter) => letter.bytes(),
            Self::Cleared(_) => 200,
        }
    }
}

/// Up from which places what is over was in memory when a question was answered. What records
/// before them tell of is in the index, or forgotten.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InMemory {
    /// Ended tasks.
    pub tasks_from: Sequence,
    /// Logged dead letters.
    pub letters_from: Sequence,
    /// To a question for dead letters: those of the tenant that are gone, although the index may
    /// have them still.
    pub cleared: Vec<ClearedLetter>,
    /// To such a question: the numbers of the letters on the page, by which lists are ordered.
    pub numbers: Vec<u64>,
}

/// Something that is to be handed to the driver.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) past: Past,
    /// What was sent and where that is to be read, if its payload has left memory.
    pub(crate) unread: Option<(Sequence, Arc<Publish>)>,
}

/// Whether the index takes in what is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Following {
    /// It does, sooner or later.
    Yes,
    /// It takes in nothing more.
    Stopped,
}

impl Engine {
    /// Tells the driver of what is over.
    pub(crate) fn tell_handed(&mut self, out: &mut Output) {
        if !self.handed.is_empty() {
            let mut handed = std::mem::take(&mut self.handed);
            // A letter is cleared by a record that others have followed by then.
            handed.sort_by_key(|handed| handed.past.place());
            out.effects
                .extend(handed.into_iter().map(|handed| Effect::Past(self.read_handed(handed))));
        }
    }

    /// Takes out what is over by what was replayed and is not in the index yet; to be called after
    /// every record, or it stays in memory until the engine is started.
    pub fn take_past(&mut self) -> Vec<Past> {
        if self.epoch == Epoch(0) {
            // Events of tasks may still have to be dated.
            return Vec::new();
        }
        let handed = std::mem::take(&mut self.handed);
        handed.into_iter().map(|handed| self.read_handed(handed)).collect()
    }

    /// Lets go of what is over beyond the bounds on memory, once the index has all that was taken
    /// out while records are replayed; how far it goes need not be known yet. A long log would
    /// otherwise need as much memory.
    pub fn let_go_of_past(&mut self) {
        let following = std::mem::replace(&mut self.following, Following::Stopped);
        self.forget_ended_tasks(0);
        self.forget_letters();
        self.following = following;
    }

    /// What is handed over, whole: of what had left memory by then the payload is read, or it has
    /// none if that cannot be read.
    fn read_handed(&self, handed: Handed) -> Past {
        let Handed { mut past, unread } = handed;
        if let Some((at, stub)) = unread {
            let whole = self.stub_or_lost(at, &stub);
            match &mut past {
                Past::Ended(task) => task.payload = whole.envelope.payload.clone(),
                Past::Died(letter) => letter.letter.publish = whole,
                Past::Cleared(_) => {}
            }
        }
        past
    }

    /// Whether the index gets everything that is over, so that it stays in memory until then
    /// whatever the bounds are. The driver sees to it that not too much gathers.
    pub(crate) fn index_follows(&self) -> bool {
        self.following == Following::Yes
    }
}
