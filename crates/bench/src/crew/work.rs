//! The side that is killed: agents that check and complete what they are handed, and say so first.

use super::told::Word;
use crate::clock::Clock;
use crate::load::{SKILL, agent_name, described};
use crate::observe::{Flow, Observed};
use crate::payload::Stamp;
use crate::plan::Wanted;
use crate::{BenchError, Config, Scenario, broker};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use trunkline_agent::{Handler, HandlerFuture, Task};
use trunkline_client::Transport;
use trunkline_types::Outcome;

/// Longer than any run.
const EVER: Duration = Duration::from_hours(24 * 365);
/// Out of how many tasks one is held, once that is asked for: the others are done as before, so that
/// the kill comes amid their settlements.
const HELD: u64 = 2;

/// What such a process is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct CrewArgs {
    /// The broker
    #[arg(long)]
    pub url: String,
    /// What carries sessions
    #[arg(long)]
    pub transport: Transport,
    /// The run whose payloads are handled
    #[arg(long)]
    pub run: u64,
    /// Bytes of each payload
    #[arg(long)]
    pub payload: usize,
    /// How many agents the run has, of which every second one is here
    #[arg(long)]
    pub agents: u32,
    /// Workers of each agent
    #[arg(long)]
    pub workers: Option<u32>,
    /// Give agents more room than the library does
    #[arg(long)]
    pub tuned: bool,
}

/// Which agents of a run are in such a process.
pub(super) fn numbers(agents: u32) -> impl Iterator<Item = u32> {
    (1..agents).step_by(2)
}

struct Mortal {
    run: u64,
    size: usize,
    /// Whether some tasks are not to be completed any more.
    holds: Arc<AtomicBool>,
    /// Tasks that came since.
    came: Arc<AtomicU64>,
}

impl Handler for Mortal {
    fn handle(&self, task: Task) -> HandlerFuture {
        let holds = self.holds.load(Ordering::SeqCst);
        if holds && self.came.fetch_add(1, Ordering::SeqCst).is_multiple_of(HELD) {
            say(Word::Held);
            return Box::pin(std::future::pending());
        }
        say(match Stamp::check(&task.payload().data, self.size) {
            None => Word::Damaged,
            Some(stamp) if stamp.run != self.run => Word::Foreign,
            Some(stamp) => Word::Whole(stamp.number),
        });
        Box::pin(std::future::ready(Outcome::Complete { reply: None }))
    }
}

/// Works until standard input ends, with the process that started this. A line there asks for tasks
/// to be held.
///
/// # Errors
/// The broker refuses an agent.
pub(crate) async fn work(args: CrewArgs) -> Result<(), BenchError> {
    let CrewArgs { url, transport, run, payload, agents, workers, tuned } = args;
    let wanted = Wanted { agents: Some(agents), workers, tuned, ..Wanted::default() };
    let config = Config::new(Scenario::Failure, &wanted)?;
    let flow = Flow::new(Clock::new(), 0, false);
    let host = Observed::new(broker::client(&url, transport)?, Arc::clone(&flow));
    let (holds, came) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut crew = Vec::new();
    for number in numbers(agents) {
        let (holds, came) = (Arc::clone(&holds), Arc::clone(&came));
        let handler = Mortal { run, size: payload, holds, came };
        let agent = described(&host, &config, &agent_name(number)).skill(SKILL, handler);
        crew.push(agent.start().await.map_err(BenchError::refused("cannot start an agent"))?);
    }
    say(Word::Ready);
    tokio::spawn(confirmed(flow));
    let asked = tokio::task::spawn_blocking(move || {
        for _ in io::stdin().lines().map_while(Result::ok) {
            holds.store(true, Ordering::SeqCst);
        }
    });
    asked.await.map_err(|error| BenchError::Load(error.to_string()))
}

/// Says of every confirmation that it came.
async fn confirmed(flow: Arc<Flow>) {
    let mut refused = 0;
    loop {
        let before = flow.confirmed();
        flow.reach(before + 1, EVER).await;
        say(Word::Confirmed(flow.confirmed()));
        if flow.refused() > refused {
            refused = flow.refused();
            say(Word::Refused(refused));
        }
    }
}

/// One line at once: a kill leaves all of it or nothing.
fn say(word: Word) {
    // Whoever does not listen any more is gone, and this process is about to go too.
    let _ = io::stdout().write_all(format!("{word}\n").as_bytes());
}
