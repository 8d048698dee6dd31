//! What waits here for a worker, in one lane for all plain handlers and one for each that takes
//! batches or may run only so often at once.
//!
//! Within a lane it is first in, first out. Between lanes workers take turns, so that a handler
//! that is at its bound holds up nobody else.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use trunkline_types::Token;
use trunkline_types::session::Delivery;

/// The lane of all handlers that have none of their own.
pub(super) const PLAIN: usize = 0;

/// How the deliveries of a lane are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// How many at once, at most.
    pub(super) batch: usize,
    /// How long fewer than that wait for more.
    pub(super) linger: Duration,
    /// How many workers may be at it at once.
    pub(super) parallel: u32,
}

/// See the module.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// Whose turn it is.
    turn: usize,
}

struct Lane {
    plan: Plan,
    waiting: VecDeque<Delivery>,
    /// How many workers are at it and await no reply. A reply may come after its handler has
    /// ended, so that it is one too few until then.
    running: i64,
    /// Since when what waits has gathered, if the lane lingers.
    since: Option<Instant>,
}

/// What could be begun at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ready {
    /// How many workers could begin something.
    pub(super) units: usize,
    /// How many deliveries they would have.
    pub(super) deliveries: usize,
}

impl Plan {
    /// Of handlers that take one delivery at a time, in any number at once.
    pub(super) const PLAIN: Self = Self { batch: 1, linger: Duration::ZERO, parallel: u32::MAX };
}

impl Lane {
    fn new(plan: Plan) -> Self {
        Self { plan, waiting: VecDeque::new(), running: 0, since: None }
    }

    /// What could be begun. An `eager` look waits for no fuller batches.
    fn ready(&self, eager: bool) -> Ready {
        let room = usize::try_from(i64::from(self.plan.parallel) - self.running).unwrap_or(0);
        if room == 0 || self.waiting.is_empty() {
            return Ready::default();
        }
        let batch = self.plan.batch;
        let units = if eager || self.has_lingered() {
            self.waiting.len().div_ceil(batch)
        } else {
            self.waiting.len() / batch
        };
        let units = units.min(room);
        Ready { units, deliveries: self.waiting.len().min(units * batch) }
    }

    fn has_lingered(&self) -> bool {
        self.due().is_none_or(|due| due <= Instant::now())
    }

    /// When what waits is no longer held back for more to come; `None` if it is not.
    fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.plan.linger)
    }

    /// What waits has begun to gather, or is gone.
    fn mark(&mut self) {
        let gathers = !self.plan.linger.is_zero() && !self.waiting.is_empty();
        self.since = gathers.then(Instant::now);
    }
}

impl Lanes {
    /// Lanes by these plans; the first is that of the plain handlers.
    pub(super) fn new(plans: &[Plan]) -> Self {
        Self { lanes: plans.iter().copied().map(Lane::new).collect(), turn: 0 }
    }

    /// Whether every delivery goes to the plain lane.
    pub(super) fn is_plain(&self) -> bool {
        self.lanes.len() == 1
    }

    pub(super) fn push(&mut self, lane: usize, delivery: Delivery) {
        let lane = &mut self.lanes[lane];
        lane.waiting.push_back(delivery);
        if lane.waiting.len() == 1 {
            lane.mark();
        }
    }

    /// Takes in what a plain handler is to do.
    pub(super) fn extend_plain(&mut self, deliveries: impl Iterator<Item = Delivery>) {
        self.lanes[PLAIN].waiting.extend(deliveries);
    }

    /// Puts back what was taken and not begun, before everything else of its lane.
    pub(super) fn put_back(&mut self, lane: usize, delivery: Delivery) {
        let lane = &mut self.lanes[lane];
        lane.waiting.push_front(delivery);
        if lane.waiting.len() == 1 {
            lane.mark();
        }
    }

    /// Moves what one worker takes at once into its hands: a batch, or up to a `handful` for
    /// plain handlers. Tells which lane it is from; [`Lanes::leave`] ends it.
    pub(super) fn take(
        &mut self,
        handful: usize,
        eager: bool,
        into: &mut VecDeque<Delivery>,
    ) -> Option<usize> {
        for step in 0..self.lanes.len() {
            let at = (self.turn + step) % self.lanes.len();
            let lane = &mut self.lanes[at];
            if lane.ready(eager).units == 0 {
                continue;
            }
            let most = if at == PLAIN { handful } else { lane.plan.batch };
            into.extend(lane.waiting.drain(..most.min(lane.waiting.len())));
            if at != PLAIN {
                lane.running += 1;
                lane.mark();
            }
            self.turn = (at + 1) % self.lanes.len();
            return Some(at);
        }
        None
    }

    /// A worker is done with what it took from a lane, or awaits a reply.
    pub(super) fn leave(&mut self, lane: usize) {
        if lane != PLAIN {
            self.lanes[lane].running -= 1;
        }
    }

    /// A worker that has awaited a reply goes on.
    pub(super) fn come_back(&mut self, lane: usize) {
        if lane != PLAIN {
            self.lanes[lane].running += 1;
        }
    }

    /// What could be begun at once.
    pub(super) fn ready(&self, eager: bool) -> Ready {
        let mut sum = Ready::default();
        for lane in &self.lanes {
            let Ready { units, deliveries } = lane.ready(eager);
            sum.units += units;
            sum.deliveries += deliveries;
        }
        sum
    }

    /// Whether anything could be begun at once.
    pub(super) fn is_ready(&self, eager: bool) -> bool {
        self.lanes.iter().any(|lane| lane.ready(eager).units > 0)
    }

    /// When a batch that is held back for more to come is to begin as it is.
    pub(super) fn due(&self) -> Option<Instant> {
        let free = |lane: &&Lane| lane.running < i64::from(lane.plan.parallel);
        let held = self.lanes.iter().filter(free);
        held.filter_map(Lane::due).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    pub(super) fn tokens(&self, into: &mut Vec<Token>) {
        for lane in &self.lanes {
            into.extend(lane.waiting.iter().map(|delivery| delivery.token));
        }
    }

    /// Removes a delivery. Tells whether it was there.
    pub(super) fn remove(&mut self, token: Token) -> bool {
        for lane in &mut self.lanes {
            let at = lane.waiting.iter().position(|delivery| delivery.token == token);
            if let Some(at) = at {
                lane.waiting.remove(at);
                if lane.waiting.is_empty() {
                    lane.since = None;
                }
                return true;
            }
        }
        false
    }

    pub(super) fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.waiting.clear();
            lane.since = None;
        }
    }
}

/// How many deliveries so many workers have at once when every handler runs as often as it may,
/// the largest batches first.
pub(super) fn capacity(plans: &[Plan], workers: u32) -> u32 {
    let mut plans: Vec<_> = plans.iter().collect();
    plans.sort_by_key(|plan| std::cmp::Reverse(plan.batch));
    let mut left = workers;
    let mut sum = 0_u32;
    for plan in plans {
        let some = plan.parallel.min(left);
        left -= some;
        let batch = u32::try_from(plan.batch).unwrap_or(u32::MAX);
        sum = sum.saturating_add(some.saturating_mul(batch));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_is_what_workers_hold_at_once() {
        let limited = Plan { parallel: 2, ..Plan::PLAIN };
        let batches = Plan { batch: 10, parallel: 1, ..Plan::PLAIN };
        assert_eq!(capacity(&[Plan::PLAIN], 8), 8);
        assert_eq!(capacity(&[limited], 8), 2);
        assert_eq!(capacity(&[Plan::PLAIN, batches], 8), 17);
        assert_eq!(capacity(&[Plan { batch: 10, ..Plan::PLAIN }], 4), 40);
    }
}
