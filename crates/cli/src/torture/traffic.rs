//! What senders send.

use super::plan::{ECHO, Plan};
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use trunkline_agent::{RequestError, Session};
use trunkline_types::{
    Destination, Durability, Failure, FailureCode, IdempotencyKey, NameError, Refusal, Topic,
};

/// How long a request may take, kills included.
const ANSWER: Duration = Duration::from_mins(1);
/// After how many publishes a lane goes on to another idempotency key. Lanes share keys.
const REPEATS: u64 = 3;
/// How often what may be tried again is tried: lost connections cost attempts, and the load must
/// tell a dead letter that it planned from one that it did not.
pub(super) const ATTEMPTS: u32 = 100;

/// How fast every lane sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    period: Duration,
}

impl Pace {
    /// The pace at which `lanes` together send `rate` a second.
    pub(super) fn new(rate: u32, lanes: u64) -> Self {
        let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
        Self { period: Duration::from_secs(1) * lanes / rate }
    }
}

/// What became of requests.
#[derive(Clone, Default, Debug)]
pub(super) struct Asked {
    /// Answered as they should be.
    pub(super) answered: u64,
    /// Taken by a stop of the broker or a lease that ran out, and told so.
    pub(super) lost: u64,
    /// Refused.
    pub(super) refused: u64,
    /// Requests that were not answered, or wrongly.
    pub(super) wrong: Vec<String>,
}

impl Asked {
    /// Adds another sender's.
    pub(super) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.lost += other.lost;
        self.refused += other.refused;
        self.wrong.extend(other.wrong.iter().cloned());
    }
}

/// One line of publishes, each sent when the one before is accepted.
#[derive(Debug)]
pub(super) struct Lane {
    session: Session,
    prefix: String,
    number: u64,
    rng: Rng,
    next: u64,
    stop: Arc<AtomicBool>,
    asked: Asked,
}

impl Lane {
    pub(super) fn new(
        session: Session,
        prefix: &str,
        number: u64,
        seed: u64,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let rng = Rng::with_seed(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let prefix = prefix.to_owned();
        Self { session, prefix, number, rng, next: 0, stop, asked: Asked::default() }
    }

    /// Sends until it is told to stop.
    pub(super) async fn run(mut self, pace: Pace) -> Asked {
        let mut ticks = tokio::time::interval(pace.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            self.next += 1;
            match self.send().await {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => {
                    self.asked.refused += 1;
                    if self.session.is_closed() {
                        self.asked.wrong.push(format!("a session was ended: {refusal}"));
                        break;
                    }
                    if let Some(span) = refusal.retry_after {
                        tokio::time::sleep(span).await;
                    }
                }
                Err(error) => self.asked.wrong.push(error.to_string()),
            }
        }
        self.asked
    }

    async fn send(&mut self) -> Result<Result<(), Refusal>, NameError> {
        let serial = format!("{}-{}-{}", self.prefix, self.number, self.next);
        let filler = self.rng.usize(0..40);
        let (plan, way) = match self.rng.u8(0..100) {
            0..60 => (Plan::Answer, Way::Synced),
            60..63 => (Plan::Nested, Way::Synced),
            63..66 => (Plan::Retry, Way::Synced),
            66..68 => (Plan::Fail, Way::Synced),
            68 => (Plan::Dead, Way::Synced),
            69..71 => (Plan::Upper, Way::Synced),
            71..78 => (Plan::Answer, Way::Keyed),
            78..84 => (Plan::Answer, Way::Buffered),
            84..88 => (Plan::Answer, Way::Ephemeral),
            88..92 => (Plan::Answer, Way::Awaited),
            92..96 => (Plan::Answer, Way::Request),
            _ => (Plan::Answer, Way::Event),
        };
        let to = Destination::skill(plan.skill())?;
        let payload = plan.payload(&serial, filler);
        let task = self.session.send(to, payload.clone()).attempts(ATTEMPTS);
        Ok(match way {
            Way::Synced => task.await.map(drop),
            Way::Buffered => task.durability(Durability::Buffered).await.map(drop),
            Way::Ephemeral => task.durability(Durability::Ephemeral).await.map(drop),
            Way::Keyed => {
                drop(task);
                self.keyed().await?
            }
            Way::Awaited => {
                let result = task.wait_at_most(ANSWER).wait().await;
                let right =
                    result.map(|reply| plan.accepts(payload.as_bytes(), &reply.payload.data));
                self.answered(&serial, right, false)
            }
            Way::Request => {
                drop(task);
                let echo = Destination::skill(ECHO)?;
                let result = self.session.request(echo, payload.clone()).timeout(ANSWER).await;
                let right = result.map(|reply| reply.payload.data == payload.as_bytes());
                self.answered(&serial, right, true)
            }
            Way::Event => {
                drop(task);
                let topic = Topic::new(format!("torture.lane.{}", self.number))?;
                let says = format!("{topic} {serial}");
                self.session.publish(topic, says).await.map(drop)
            }
        })
    }

    /// Sends what another lane, or this one, has sent or will send under the same key.
    async fn keyed(&mut self) -> Result<Result<(), Refusal>, NameError> {
        let key = format!("{}-key-{}", self.prefix, self.next / REPEATS);
        let payload = Plan::Answer.payload(&key, 4);
        let to = Destination::skill(Plan::Answer.skill())?;
        let key = IdempotencyKey::new(&key)?;
        Ok(self.session.send(to, payload).attempts(ATTEMPTS).key(key).await.map(drop))
    }

    fn answered(
        &mut self,
        serial: &str,
        result: Result<bool, RequestError>,
        may_be_lost: bool,
    ) -> Result<(), Refusal> {
        match result {
            Ok(true) => self.asked.answered += 1,
            Ok(false) => self.asked.wrong.push(format!("{serial} has a wrong answer")),
            Err(RequestError::Failed(failure)) if may_be_lost && is_told(&failure) => {
                self.asked.lost += 1;
            }
            Err(RequestError::Failed(failure)) => {
                self.asked.wrong.push(format!("{serial} has no answer: {failure}"));
            }
            Err(RequestError::Refused(refusal)) => return Err(refusal),
        }
        Ok(())
    }
}

/// Whether a plain request, which is attempted once and kept in memory only, was ended by a stop
/// of the broker or by a lease that ran out, as behind a network that stalls.
fn is_told(failure: &Failure) -> bool {
    match failure.code {
        FailureCode::Lost => true,
        FailureCode::DeadLettered => failure.reason.contains("lease ran out"),
        _ => false,
    }
}

/// How something is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Synced,
    Keyed,
    Buffered,
    Ephemeral,
    Awaited,
    Request,
    Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_shared_out_over_the_lanes() {
        assert_eq!(Pace::new(1_600, 32).period, Duration::from_millis(20));
        assert_eq!(Pace::new(20, 32).period, Duration::from_millis(1_600));
    }
}
