//! What is going to happen, in order of time, and of planning where times are equal.

use super::wire::{ToBroker, ToClient};
use std::collections::BTreeMap;
use trunkline_types::{Sequence, Token};

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet reaches the broker.
    AtBroker { link: u64, packet: ToBroker },
    /// A packet reaches a client.
    AtClient { link: u64, packet: ToClient },
    /// An actor does something of its own accord.
    Act(usize),
    /// An actor tries to connect.
    Connect(usize),
    /// An actor renews its leases.
    Beat(usize),
    /// A handler is done.
    Work { actor: usize, token: Token },
    /// The driver writes what has gathered.
    Write,
    /// The driver flushes.
    Flush,
    /// The disk reads payloads that the engine wants back.
    Load(Vec<Sequence>),
    /// The broker starts again.
    Restart,
    /// The broker, at its end in order, looks who may go.
    Drain,
    /// A pause of the broker ends.
    Resume,
    /// The disk has room again.
    Room,
    /// The log has caught up with what was decided.
    CaughtUp,
    /// A fault.
    Fault(FaultKind),
    /// The laws that look at the whole state are checked.
    Check,
}

/// A fault that comes again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultKind {
    Crash,
    Stop,
    Pause,
    Freeze,
    Configure,
    Jump,
    DiskError,
    Full,
    Congest,
    Clean,
}

/// The events to come.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    events: BTreeMap<(u64, u64), Event>,
    planned: u64,
}

impl Calendar {
    pub(crate) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }

    /// Whether a fault of a kind is planned.
    pub(crate) fn has_fault(&self, kind: FaultKind) -> bool {
        self.events.values().any(|event| matches!(event, Event::Fault(other) if *other == kind))
    }

    pub(crate) fn next_at(&self) -> Option<u64> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn take(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// Forgets what the driver had planned, because it is no more.
    pub(crate) fn forget_driver(&mut self) {
        self.events.retain(|_, event| {
            !matches!(
                event,
                Event::Write | Event::Flush | Event::Load(_) | Event::Drain | Event::Resume
            )
        });
    }
}
