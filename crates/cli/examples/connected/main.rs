//! What a connected agent costs in the broker's memory, by who asked for it: agents come, each over a
//! connection of its own, and do nothing; every byte of the broker's heap that was not there before is
//! counted. The arguments are the number of agents and what carries their sessions, `framed` or `grpc`.
//!
//! The agents are in a process of their own, which is this program again.

mod profile;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use trunkline_agent::{Host, Task};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_client::{Client, ClientConfig, Transport};
use trunkline_server::{Server, ServerConfig};

/// How many come before, so that what the first of a kind cost is not counted.
const FIRST: usize = 50;
/// The fewest bytes of an agent at one line that are shown by themselves.
const LEAST: usize = 32;
/// How long the broker has to be done with those that came.
const REST: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match &arguments[1..] {
        [count, transport] => runtime.block_on(weigh(count.parse()?, transport)),
        [url, count, transport, name] => {
            runtime.block_on(connect(url, count.parse()?, transport.parse()?, name))
        }
        _ => Err("how many agents, and over what?".into()),
    }
}

async fn weigh(count: usize, transport: &str) -> Result<(), Box<dyn Error>> {
    let config = ServerConfig { listen: ([127, 0, 0, 1], 0).into(), ..ServerConfig::default() };
    let bound = Server::bind(config)?;
    let url = format!("http://{}", bound.local_addr());
    let handle = bound.handle();
    tokio::spawn(bound.serve(CancellationToken::new()));
    handle.set_broker(Broker::open(BrokerConfig::ephemeral()).await?);
    let start = |count: usize, name: &str| -> Result<_, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([&url, &count.to_string(), transport, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or("no pipe")?;
        // It says a line when all of them are there.
        tokio::task::block_in_place(|| BufReader::new(said).read_line(&mut String::new()))?;
        Ok(child)
    };
    let mut first = start(FIRST, "first")?;
    tokio::time::sleep(REST).await;
    profile::begin();
    let mut others = start(count, "other")?;
    tokio::time::sleep(REST).await;
    let found = profile::end();
    for child in [&mut first, &mut others] {
        drop(child.stdin.take());
        child.wait()?;
    }
    std::io::stdout().write_all(told(found, count)?.as_bytes())?;
    Ok(())
}

/// What was found, for each of so many agents: by crate, then by the line that asked for it.
fn told(found: profile::Found, count: usize) -> Result<String, std::fmt::Error> {
    let mut crates: BTreeMap<String, usize> = BTreeMap::new();
    for ((krate, _), (bytes, _)) in &found {
        *crates.entry(krate.clone()).or_default() += bytes;
    }
    let mut text = String::new();
    let all: usize = crates.values().sum();
    writeln!(text, "{} bytes of heap for each connected agent", all / count)?;
    let mut crates: Vec<_> = crates.into_iter().collect();
    crates.sort_by_key(|(_, bytes)| Reverse(*bytes));
    let mut rows: Vec<_> = found.into_iter().collect();
    rows.sort_by_key(|(_, (bytes, _))| Reverse(*bytes));
    for (krate, bytes) in crates {
        writeln!(text, "{:>6} B  {krate}", bytes / count)?;
        for ((_, line), (bytes, many)) in rows.iter().filter(|((of, _), _)| *of == krate) {
            if *bytes >= LEAST * count {
                let (whole, part) = (many / count, many * 100 / count % 100);
                writeln!(text, "    {:>6} B in {whole}.{part:02}  {line}", bytes / count)?;
            }
        }
    }
    Ok(text)
}

/// Connects agents, and keeps them until standard input ends.
async fn connect(
    url: &str,
    count: usize,
    transport: Transport,
    name: &str,
) -> Result<(), Box<dyn Error>> {
    let mut agents = Vec::new();
    for number in 0..count {
        let client = Client::new(&ClientConfig::new(url).transport(transport))?;
        let agent = client.agent(&format!("{name}-{number}"));
        agents.push(agent.on_message(|_: Task| async { Ok(()) }).start().await?);
    }
    std::io::stdout().write_all(b"there\n")?;
    tokio::task::block_in_place(|| std::io::stdin().read_line(&mut String::new()))?;
    Ok(())
}
