//! How each rival does the work: as its own documentation says that it is to be used.

mod channel;
mod jetstream;
mod kameo;
mod nats;
mod rabbitmq;
mod ractor;
mod redis;
pub(crate) mod tonic;

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::load::{Load, Turn};
use crate::row::{Rival, Row, Work};

/// How long a rival that ought to answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages in flight in process, as in Trunkline's benchmark.
const WINDOW_HERE: u32 = 512;
/// The same with many receivers, all together: the rooms of so many would hold far more.
const WINDOW_AGENTS: u32 = 2048;
/// Room of each receiver where there are many: what kameo gives when nothing is said.
const ROOM: usize = 64;
/// Messages in flight one way over a socket. Twice what Trunkline's benchmark has: rivals that
/// acknowledge nothing gain from more.
const WINDOW_ONEWAY: u32 = 4096;
/// Deliveries in flight in a fan-out; again twice what Trunkline's has.
const WINDOW_FANOUT: u32 = 16_384;
/// Messages in flight on disk, as in Trunkline's benchmark.
const WINDOW_DURABLE: u32 = 8192;

/// Does a rival's share of one round. `port` is its server's, where it has one.
///
/// # Errors
/// It fails, or the counts do not agree.
pub(crate) async fn turn(row: Row, port: u16, seconds: f64) -> Result<Turn> {
    let window = match row.work {
        Work::Agents => WINDOW_AGENTS,
        _ if row.rival.is_in_process() => WINDOW_HERE,
        Work::Durable | Work::Accept => WINDOW_DURABLE,
        Work::Fanout | Work::FanoutSessions => WINDOW_FANOUT,
        _ => WINDOW_ONEWAY,
    };
    let load = Load::new(window);
    match row.rival {
        Rival::Channel => channel::turn(row.work, &load, seconds).await,
        Rival::Kameo => kameo::turn(row.work, &load, seconds).await,
        Rival::Ractor => ractor::turn(row.work, &load, seconds).await,
        Rival::Nats => nats::turn(row.work, &load, port, seconds).await,
        Rival::JetStream(_) => Box::pin(jetstream::turn(row.work, &load, port, seconds)).await,
        Rival::Redis(_) => redis::turn(row.work, &load, port, seconds).await,
        Rival::RabbitMq => rabbitmq::turn(row.work, &load, port, seconds).await,
        Rival::Tonic(call) => tonic::turn(row.work, call, &load, port, seconds).await,
    }
}

/// The room of each receiver in process, where the rival bounds its receivers.
fn room(receivers: u32) -> usize {
    if receivers == 1 { WINDOW_HERE as usize } else { ROOM }
}

/// Waits for parts of the load.
async fn join(mut parts: JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = parts.join_next().await {
        ended??;
    }
    Ok(())
}

/// The work of a row that its rival has no part in.
fn not_done(work: Work) -> Result<Turn> {
    bail!("there is no such row: {work:?}")
}
