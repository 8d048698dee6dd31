//! kameo: an actor with a bounded mailbox, `tell` one way and `ask` for a reply. Nothing is
//! settled but by the actor's own count.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::mailbox;
use kameo::message::{Context, Message};
use tokio::task::JoinSet;

use super::{join, not_done, room};
use crate::load::{BATCH, Load, Turn};
use crate::row::{RECEIVERS, SENDERS, Work};

/// One way.
struct Told(Bytes);
/// To be sent back.
struct Asked(Bytes);
/// What comes back, in a form that is a reply to kameo.
type Echo = Result<Bytes, Infallible>;

struct Checker(Arc<Load>);

impl Actor for Checker {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(args: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(args)
    }
}

impl Message<Told> for Checker {
    type Reply = ();

    async fn handle(&mut self, Told(payload): Told, _: &mut Context<Self, ()>) {
        self.0.handle(&payload);
    }
}

impl Message<Asked> for Checker {
    type Reply = Echo;

    async fn handle(&mut self, Asked(payload): Asked, _: &mut Context<Self, Echo>) -> Echo {
        self.0.handle(&payload);
        Ok(payload)
    }
}

pub(super) async fn turn(work: Work, load: &Arc<Load>, seconds: f64) -> Result<Turn> {
    match work {
        Work::Oneway => oneway(load, 1, 1, seconds).await,
        Work::Agents => oneway(load, RECEIVERS, SENDERS, seconds).await,
        Work::Request(many) => request(load, many, seconds).await,
        other => not_done(other),
    }
}

fn start(load: &Arc<Load>, receivers: u32) -> ActorRef<Checker> {
    let room = room(receivers);
    Checker::spawn_with_mailbox(Checker(Arc::clone(load)), mailbox::bounded(room))
}

async fn oneway(load: &Arc<Load>, receivers: u32, senders: u32, seconds: f64) -> Result<Turn> {
    let actors: Arc<[_]> = (0..receivers).map(|_| start(load, receivers)).collect();
    let work = async |until: Instant| {
        let mut parts = JoinSet::new();
        for first in 0..senders {
            let (load, actors) = (Arc::clone(load), Arc::clone(&actors));
            parts.spawn(async move {
                let mut next = first as usize;
                while Instant::now() < until {
                    // Of one, its room is the window.
                    if receivers > 1 {
                        load.room(BATCH).await;
                    }
                    for payload in load.make(BATCH) {
                        let told = actors[next % actors.len()].tell(Told(payload)).await;
                        told.map_err(|error| anyhow!("cannot tell: {error}"))?;
                        next += senders as usize;
                    }
                }
                Ok(())
            });
        }
        join(parts).await
    };
    load.measure(seconds, work).await
}

async fn request(load: &Arc<Load>, many: u32, seconds: f64) -> Result<Turn> {
    let actor = start(load, 1);
    let work = async |until: Instant| {
        let mut callers = JoinSet::new();
        for _ in 0..many {
            let (load, actor) = (Arc::clone(load), actor.clone());
            callers.spawn(async move {
                while Instant::now() < until {
                    let begun = Instant::now();
                    let payload = load.make_one(1);
                    let reply = actor.ask(Asked(payload.clone())).await;
                    let reply = reply.map_err(|error| anyhow!("cannot ask: {error}"))?;
                    load.reply(&payload, &reply, begun.elapsed());
                }
                Ok(())
            });
        }
        join(callers).await
    };
    load.measure(seconds, work).await
}
