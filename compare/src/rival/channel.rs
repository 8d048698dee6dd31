//! Tokio's channels and nothing else: bounded, read as many at a time as are there. Nothing is
//! settled but by the handler's own count.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{join, not_done, room};
use crate::load::{BATCH, Load, Turn};
use crate::row::{RECEIVERS, SENDERS, Work};

/// How many a receiver takes at once.
const TAKE: usize = 64;

type Asked = (Bytes, oneshot::Sender<Bytes>);

pub(super) async fn turn(work: Work, load: &Arc<Load>, seconds: f64) -> Result<Turn> {
    match work {
        Work::Oneway => oneway(load, 1, 1, seconds).await,
        Work::Agents => oneway(load, RECEIVERS, SENDERS, seconds).await,
        Work::Request(many) => request(load, many, seconds).await,
        other => not_done(other),
    }
}

async fn oneway(load: &Arc<Load>, receivers: u32, senders: u32, seconds: f64) -> Result<Turn> {
    let mut ends = Vec::new();
    for _ in 0..receivers {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(room(receivers));
        ends.push(sender);
        let load = Arc::clone(load);
        tokio::spawn(async move {
            let mut taken = Vec::with_capacity(TAKE);
            while receiver.recv_many(&mut taken, TAKE).await > 0 {
                let count = taken.len() as u64;
                taken.drain(..).for_each(|payload| load.see(&payload, 0));
                load.settle(count);
            }
        });
    }
    let work = async |until: Instant| {
        let mut parts = JoinSet::new();
        for first in 0..senders {
            let (load, ends) = (Arc::clone(load), ends.clone());
            parts.spawn(async move {
                let mut next = first as usize;
                while Instant::now() < until {
                    // Of one, its room is the window.
                    if receivers > 1 {
                        load.room(BATCH).await;
                    }
                    for payload in load.make(BATCH) {
                        ends[next % ends.len()].send(payload).await?;
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
    let (sender, mut receiver) = mpsc::channel::<Asked>(room(1));
    let handler = Arc::clone(load);
    tokio::spawn(async move {
        let mut taken = Vec::with_capacity(TAKE);
        while receiver.recv_many(&mut taken, TAKE).await > 0 {
            for (payload, reply) in taken.drain(..) {
                handler.handle(&payload);
                // Who asked and went does not want to know.
                let _ = reply.send(payload);
            }
        }
    });
    let work = async |until: Instant| {
        let mut callers = JoinSet::new();
        for _ in 0..many {
            let (load, sender) = (Arc::clone(load), sender.clone());
            callers.spawn(async move {
                while Instant::now() < until {
                    let begun = Instant::now();
                    let payload = load.make_one(1);
                    let (reply, answer) = oneshot::channel();
                    sender.send((payload.clone(), reply)).await?;
                    load.reply(&payload, &answer.await?, begun.elapsed());
                }
                Ok(())
            });
        }
        join(callers).await
    };
    load.measure(seconds, work).await
}
