//! The wire: packets on their way, late, twice, out of order, or lost with their connection.

use super::{Event, World};
use crate::totals::Count;
use trunkline_types::session::{ClientFrame, Hello, SessionItem, Welcome};
use trunkline_types::{Principal, Query, Refusal};

/// What travels to the broker.
#[derive(Clone, Debug)]
pub(crate) enum ToBroker {
    Hello(Box<Hello>, Principal),
    Frame(ClientFrame),
    /// The other end is seen to be gone.
    Gone,
    Ask(Query),
}

/// What travels to a client.
#[derive(Clone, Debug)]
pub(crate) enum ToClient {
    Welcome(Result<Box<Welcome>, Refusal>),
    Item(SessionItem),
    /// The other end is seen to be gone.
    Gone,
}

/// One connection between an actor and the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) actor: usize,
    /// Whether the broker has heard of it and not closed it.
    pub(crate) broker_open: bool,
    /// Whether the client has not given it up.
    pub(crate) client_open: bool,
    /// When the latest packet in each direction arrives; later ones do not overtake it.
    to_broker: u64,
    to_client: u64,
}

impl Link {
    pub(crate) fn new(actor: usize) -> Self {
        Self { actor, broker_open: true, client_open: true, to_broker: 0, to_client: 0 }
    }
}

impl World {
    fn delay(&mut self) -> u64 {
        self.rng.u64(10_000..=self.plan.wire.delay.max(20_000))
    }

    /// Sends a packet to the broker, in order unless the wire is at fault.
    pub(crate) fn send(&mut self, link: u64, packet: ToBroker) {
        let delay = self.delay();
        let frame = matches!(packet, ToBroker::Frame(_)) && !self.quiet;
        let twice = frame && self.chance(self.plan.wire.duplicated);
        let early = frame && self.chance(self.plan.wire.reordered);
        let Some(row) = self.links.get_mut(&link) else { return };
        let mut at = self.clock.time + delay;
        if early {
            self.totals.add(Count::Reordered);
        } else {
            at = at.max(row.to_broker + 1);
            row.to_broker = at;
        }
        if twice {
            self.totals.add(Count::Duplicated);
            let again = ToBroker::clone(&packet);
            let later = at + self.delay();
            self.calendar.plan(later, Event::AtBroker { link, packet: again });
        }
        self.calendar.plan(at, Event::AtBroker { link, packet });
    }

    /// Sends a packet to the client, in order.
    pub(crate) fn send_back(&mut self, link: u64, packet: ToClient) {
        let delay = self.delay();
        let Some(row) = self.links.get_mut(&link) else { return };
        let at = (self.clock.time + delay).max(row.to_client + 1);
        row.to_client = at;
        self.calendar.plan(at, Event::AtClient { link, packet });
    }

    /// The client gives a connection up; the broker notices soon, late, or very late.
    pub(crate) fn cut(&mut self, link: u64) {
        self.totals.add(Count::Cuts);
        if let Some(row) = self.links.get_mut(&link) {
            row.client_open = false;
        }
        let late = if self.chance(250) { self.plan.wire.delay * 8 } else { 0 };
        let at = self.clock.time + self.delay() + late;
        self.calendar.plan(at, Event::AtBroker { link, packet: ToBroker::Gone });
    }
}
