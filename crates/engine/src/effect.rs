//! What an engine wants done, and the records that must be written first.

use crate::command::{ConnectionKey, QueryKey};
use crate::past::{InMemory, Past};
use crate::record::Record;
use trunkline_types::session::{SessionItem, Welcome};
use trunkline_types::{Answer, Filter, Refusal, Sequence, TenantId, TopicPattern};

/// Something the driver is to do. An effect never appears before the records that it rests on
/// are as durable as promised, so the driver may perform it at once.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// A hello is answered. After a refusal the connection is forgotten.
    Welcome {
        /// Over which connection.
        connection: ConnectionKey,
        /// How.
        result: Result<Box<Welcome>, Refusal>,
    },
    /// A session is told something.
    Item {
        /// Over which connection.
        connection: ConnectionKey,
        /// What.
        item: SessionItem,
    },
    /// The engine has forgotten the connection: nothing more will come for it.
    Closed {
        /// Which connection.
        connection: ConnectionKey,
    },
    /// A subscription with a filter came or went: the driver may evaluate the filter for events
    /// on topics that match the pattern, see [`Verdicts`](crate::Verdicts).
    Filter {
        /// Whose.
        tenant: TenantId,
        /// For which topics.
        pattern: TopicPattern,
        /// The filter.
        filter: Filter,
        /// Whether it came.
        wanted: bool,
    },
    /// Payloads that have left memory are wanted back. The driver reads these records of the log,
    /// which it has written, and answers with [`Command::Loaded`](crate::Command::Loaded), in any
    /// order among several of these; it does not keep a turn of the engine waiting for that.
    Load {
        /// The places of the records, in ascending order.
        places: Vec<Sequence>,
    },
    /// Everything durable is told of by records from this place on, and these are on disk: the
    /// older ones may be given up, with an index not before that has taken them in for good.
    Cleaned {
        /// The place of the first record that must stay.
        before: Sequence,
    },
    /// Something is over: the index is to have it, once its record is on disk. Nothing waits for
    /// that, so this alone may appear before its record is durable.
    Past(Past),
    /// A question is answered. Lists are of what is in memory; with an index the driver completes
    /// them, see [`merge_tasks`](crate::merge_tasks), [`merge_context`](crate::merge_context) and
    /// [`merge_letters`](crate::merge_letters).
    Answer {
        /// What was in memory then.
        known: Box<InMemory>,
        /// Which question.
        query: QueryKey,
        /// How.
        result: Result<Answer, Refusal>,
    },
}

/// What came of handling something. The driver owns it and reuses it.
#[derive(Debug, Default)]
pub struct Output {
    /// Records to append to the log, in order and without gaps.
    pub records: Vec<(Sequence, Record)>,
    /// Effects to perform, in order.
    pub effects: Vec<Effect>,
    /// Whether something waits for a flush; otherwise the records may stay unflushed for as long
    /// as the log allows buffered ones.
    pub flush: bool,
}

impl Output {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.effects.is_empty()
    }

    /// Forgets everything, keeping the allocations.
    pub fn clear(&mut self) {
        self.records.clear();
        self.effects.clear();
        self.flush = false;
    }
}
