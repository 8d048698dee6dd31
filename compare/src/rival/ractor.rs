//! ractor: an actor, `cast` one way and `call` for a reply. Its mailboxes have no bound, so that
//! the load keeps a window as Trunkline's does. Nothing is settled but by the actor's own count.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;

use super::{join, not_done};
use crate::load::{BATCH, Load, Turn};
use crate::row::{RECEIVERS, SENDERS, Work};

enum Message {
    /// One way.
    Told(Bytes),
    /// To be sent back.
    Asked(Bytes, RpcReplyPort<Bytes>),
}

struct Checker;

impl Actor for Checker {
    type Msg = Message;
    type State = Arc<Load>;
    type Arguments = Arc<Load>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        load: Arc<Load>,
    ) -> Result<Arc<Load>, ActorProcessingErr> {
        Ok(load)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        load: &mut Arc<Load>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Told(payload) => load.handle(&payload),
            Message::Asked(payload, reply) => {
                load.handle(&payload);
                reply.send(payload)?;
            }
        }
        Ok(())
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

async fn start(load: &Arc<Load>) -> Result<ActorRef<Message>> {
    let started = Actor::spawn(None, Checker, Arc::clone(load)).await;
    Ok(started.map_err(|error| anyhow!("an actor does not start: {error}"))?.0)
}

async fn oneway(load: &Arc<Load>, receivers: u32, senders: u32, seconds: f64) -> Result<Turn> {
    let mut actors = Vec::new();
    for _ in 0..receivers {
        actors.push(start(load).await?);
    }
    let actors: Arc<[_]> = actors.into();
    let work = async |until: Instant| {
        let mut parts = JoinSet::new();
        for first in 0..senders {
            let (load, actors) = (Arc::clone(load), Arc::clone(&actors));
            parts.spawn(async move {
                let mut next = first as usize;
                while Instant::now() < until {
                    load.room(BATCH).await;
                    for payload in load.make(BATCH) {
                        let told = actors[next % actors.len()].cast(Message::Told(payload));
                        told.map_err(|error| anyhow!("cannot cast: {error}"))?;
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
    let actor = start(load).await?;
    let work = async |until: Instant| {
        let mut callers = JoinSet::new();
        for _ in 0..many {
            let (load, actor) = (Arc::clone(load), actor.clone());
            callers.spawn(async move {
                while Instant::now() < until {
                    let begun = Instant::now();
                    let payload = load.make_one(1);
                    let asked = payload.clone();
                    let reply = actor.call(|port| Message::Asked(asked, port), None).await;
                    match reply.map_err(|error| anyhow!("cannot call: {error}"))? {
                        CallResult::Success(reply) => {
                            load.reply(&payload, &reply, begun.elapsed());
                        }
                        _ => bail!("a call was not answered"),
                    }
                }
                Ok(())
            });
        }
        join(callers).await
    };
    load.measure(seconds, work).await
}
