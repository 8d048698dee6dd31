//! What a registered agent costs in memory that has no connection: agents come, each with a skill
//! and a description, take one message each, settle it and leave, and every byte of the engine's
//! heap is counted. The argument is the number of agents.

mod heap;

use heap::Heap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use trunkline_engine::{Command, ConnectionKey, Engine, EngineConfig, Mono, Now, Output, Verdicts};
use trunkline_types::session::{ClientFrame, Credit, Hello};
use trunkline_types::{AgentCard, Principal, SessionId, WallTime};

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = std::env::args().nth(1).ok_or("how many agents?")?.parse()?;
    let now = Now { mono: Mono(1), wall: WallTime(1) };
    let mut engine = Engine::new(EngineConfig::default());
    let mut out = Output::default();
    engine.start(now, &mut out);
    let mut text = String::new();
    for full in [false, true] {
        let before = Heap::now();
        for number in 0..count {
            let kind = if full { "full" } else { "bare" };
            let mut card = AgentCard::new(format!("{kind}-{number:08}").parse()?);
            if full {
                card.description = "Reads a text and tells in a few words what it says.".into();
                card.skills = vec!["summarise".parse()?];
                card.types = vec!["reader".into()];
                card.labels = vec![("tier".into(), "gold".into())];
            }
            let connection = ConnectionKey(number + 1);
            let hello = Box::new(Hello {
                session: SessionId(u128::from(number) + 1),
                card: Some(card),
                credit: Credit { deliveries: 1, events: 0 },
                subscriptions: Vec::new(),
                next_operation: 1,
                held: Vec::new(),
            });
            let principal = Principal::default();
            engine.handle(now, Command::Connect { connection, principal, hello }, &mut out);
            let latest = engine.sequence();
            engine.durable(now, latest, latest, &mut out);
            let frame = ClientFrame::Goodbye;
            let command = Command::Frame { connection, frame, verdicts: Verdicts::new() };
            engine.handle(now, command, &mut out);
            out.clear();
        }
        let what = if full { "with a card of 4 parts" } else { "with nothing but an id" };
        let grown = before.grown_for(usize::try_from(count)?);
        let _ = write!(text, "a registered agent {what}: {grown}");
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
