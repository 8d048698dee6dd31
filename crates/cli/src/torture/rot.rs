//! Bytes that rot beneath a round's broker, and what must be left then.

use super::counts::Count;
use super::damage::{Aim, Flip};
use super::fault::Fault;
use super::process::{Process, words, words_since};
use super::promise::Promise;
use super::round::{Found, Plan};
use super::site::{Site, client, list, log_path, start};
use super::verdict;
use crate::commands::storage::store_error;
use crate::error::CliError;
use fastrand::Rng;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use trunkline_agent::{Host, Session};
use trunkline_client::Client;
use trunkline_types::{MessageId, TaskSnapshot};

/// Where the index is in a data directory.
const INDEX: &str = "index/keys.sqlite";
/// How long a broker may take to end in order.
const ORDERLY: Duration = Duration::from_secs(30);
/// How long a broker may take to list again what it can, and to count the rest as forgotten.
const COUNTED: Duration = Duration::from_secs(30);
/// How often it is asked for that.
const PROBE: Duration = Duration::from_millis(50);

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
    let Some(Aim { flip, segment, block }) = Aim::draw(&plan.directory, rng)? else {
        return Ok(());
    };
    let told = trunkline_broker::told_of(&plan.directory, segment, &block);
    let told = told.map_err(|error| store_error(&error))?;
    if !flip.turn()? {
        return Ok(());
    }
    *found.faults.entry(Fault::BitFlip).or_default() += 1;
    let log = log_path(&plan.directory);
    let said = words(&log);
    broker = start(plan, site)?;
    let ready = broker.ready(site.address).await;
    let words = words_since(&log, said)?;
    found.tallies.check(Promise::DamageNamed, Fault::BitFlip, flip.is_named_in(&words), || {
        format!("a bit was flipped in {}, and the broker said '{}'", flip.place(), words.trim())
    });
    let told = match ready {
        Ok(()) => {
            found.counts.more(Count::FlipsPassed, 1);
            told
        }
        Err(error) if broker.is_running()? => return Err(error),
        Err(_) => {
            found.counts.more(Count::FlipsRefused, 1);
            flip.turn()?;
            broker = start(plan, site)?;
            broker.ready(site.address).await?;
            BTreeSet::new()
        }
    };
    let after = list(&client(site.address)?).await?;
    verdict::contained(&told, before, &after, &mut found.tallies);
    broker.kill().await
}

/// Flips a bit in the file of the index, while the broker is stopped or runs. Whatever it was, the
/// broker starts and goes on. Tells every task that is on record then.
///
/// # Errors
/// A broker cannot be started or ended by itself, or the file cannot be read or written.
pub(super) async fn flip_index(
    plan: &Plan,
    site: &Site,
    broker: &mut Process,
    before: HashMap<MessageId, TaskSnapshot>,
    rng: &mut Rng,
    found: &mut Found,
) -> Result<HashMap<MessageId, TaskSnapshot>, CliError> {
    let client = client(site.address)?;
    let forgotten = forgotten(&client).await?;
    let (running, orderly) = (rng.bool(), rng.bool());
    if !running {
        end(broker, orderly).await?;
    }
    let Some(flip) = Flip::draw_in(plan.directory.join(INDEX), rng)? else {
        if !running {
            *broker = start(plan, site)?;
            broker.ready(site.address).await?;
        }
        return Ok(before);
    };
    *found.faults.entry(Fault::IndexFlip).or_default() += 1;
    let put_aside = put_aside(&plan.directory)?;
    if running {
        // Whether the damage is met or not: what it leads to is judged below.
        let _ = list(&client).await;
        end(broker, orderly).await?;
    }
    // Damage in the middle is met when it is read, and the file is put aside at the next start. Some is
    // met only when all of the file is looked through, as a broker does that is stopped in order.
    for stop in [Some(orderly), Some(true), None] {
        let log = log_path(&plan.directory);
        let said = words(&log);
        *broker = start(plan, site)?;
        match broker.ready(site.address).await {
            Ok(()) => {}
            Err(error) if broker.is_running()? => return Err(error),
            // It may say that it is of another version, and be left alone.
            Err(_) => {
                let words = words_since(&log, said)?;
                let named = words.contains(INDEX);
                found.tallies.check(Promise::DamageNamed, Fault::IndexFlip, named, || {
                    format!("a bit was flipped in {INDEX}, and the broker said '{}'", words.trim())
                });
                flip.turn()?;
                *broker = start(plan, site)?;
                broker.ready(site.address).await?;
            }
        }
        if let Some(orderly) = stop {
            let _ = list(&client).await;
            end(broker, orderly).await?;
        }
    }
    // A list leaves a damaged row out at once; it counts as forgotten once it was taken out.
    let begun = Instant::now();
    let (after, gone) = loop {
        let late = begun.elapsed() > COUNTED;
        match list(&client).await {
            Ok(after) => {
                let gone = self::forgotten(&client).await?.saturating_sub(forgotten);
                let is_counted = verdict::changed(&before, &after).len() as u64 <= gone;
                if is_counted || late {
                    break (after, gone);
                }
            }
            // What a list meets may fail it, and is made again then.
            Err(error) if late => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(PROBE).await;
    };
    let aside = self::put_aside(&plan.directory)?.saturating_sub(put_aside);
    found.counts.more(Count::IndexAside, aside);
    verdict::index_contained(gone, &before, &after, &mut found.tallies);
    Ok(after)
}

/// How many indexes of a data directory were put aside.
fn put_aside(directory: &Path) -> Result<u64, CliError> {
    let listed = match std::fs::read_dir(directory.join("quarantine")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        listed => listed?,
    };
    let mut count = 0;
    for entry in listed {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // What SQLite kept beside it has an ending behind the number.
        let number = name.strip_prefix("keys.sqlite.").map(str::parse::<u32>);
        count += u64::from(matches!(number, Some(Ok(_))));
    }
    Ok(count)
}

async fn end(broker: &mut Process, orderly: bool) -> Result<(), CliError> {
    if !orderly {
        return broker.kill().await;
    }
    broker.stop(ORDERLY).await?;
    Ok(())
}

/// How many tasks the broker says that it has forgotten.
async fn forgotten(client: &Client) -> Result<u64, CliError> {
    let session: Session = client.session().await?;
    let stats = session.stats().await?;
    session.close();
    Ok(stats.tasks_forgotten)
}
