//! Bytes that rot beneath a round's broker, and what must be left then.

use super::counts::Count;
use super::damage::Flip;
use super::fault::Fault;
use super::process::{Process, words, words_since};
use super::promise::Promise;
use super::round::{Found, Plan};
use super::site::{Site, client, list, log_path, start};
use super::verdict;
use crate::error::CliError;
use fastrand::Rng;
use std::collections::HashMap;
use std::time::Duration;
use trunkline_types::{MessageId, TaskSnapshot};

/// How long a broker may take to end in order.
const ORDERLY: Duration = Duration::from_secs(30);
/// Flips a bit in a closed segment of the broker once it is stopped. It starts without the block
/// and names it, or it names it and starts when it is mended.
///
/// # Errors
/// A broker cannot be started or ended by itself, or a file cannot be read or written.
pub(super) async fn flip(
    plan: &Plan,
    site: &Site,
    mut broker: Process,
    before: &HashMap<MessageId, TaskSnapshot>,
    rng: &mut Rng,
    found: &mut Found,
) -> Result<(), CliError> {
    if rng.bool() {
        broker.stop(ORDERLY).await?;
    } else {
        broker.kill().await?;
    }
    let Some(flip) = Flip::draw(&plan.directory, rng)? else { return Ok(()) };
    *found.faults.entry(Fault::BitFlip).or_default() += 1;
    let log = log_path(&plan.directory);
    let said = words(&log);
    broker = start(plan, site)?;
    let ready = broker.ready(site.address).await;
    let words = words_since(&log, said)?;
    found.tallies.check(Promise::DamageNamed, Fault::BitFlip, flip.is_named_in(&words), || {
        format!("a bit was flipped in {}, and the broker said '{}'", flip.place(), words.trim())
    });
    let lost = match ready {
        Ok(()) => {
            found.counts.more(Count::FlipsPassed, 1);
            flip.records
        }
        Err(error) if broker.is_running()? => return Err(error),
        Err(_) => {
            found.counts.more(Count::FlipsRefused, 1);
            flip.turn()?;
            broker = start(plan, site)?;
            broker.ready(site.address).await?;
            0
        }
    };
    let after = list(&client(site.address)?).await?;
    verdict::contained(lost, before, &after, &mut found.tallies);
    broker.kill().await
}
