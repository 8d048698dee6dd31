//! NATS core: published to a subject, taken by subscribers, acknowledged by nobody. Senders and
//! receivers have a connection each.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinSet;

use super::{join, not_done};
use crate::load::{BATCH, Load, Turn};
use crate::row::{COPIES, Work};

const SUBJECT: &str = "work";

pub(super) async fn turn(work: Work, load: &Arc<Load>, port: u16, seconds: f64) -> Result<Turn> {
    let (near, far) = (connect(port).await?, connect(port).await?);
    match work {
        Work::Oneway => oneway(load, &near, &far, 1, seconds).await,
        Work::Fanout | Work::FanoutSessions => oneway(load, &near, &far, COPIES, seconds).await,
        Work::Request(many) => request(load, &near, far, many, seconds).await,
        other => not_done(other),
    }
}

/// A connection that is there.
///
/// # Errors
/// It is not.
pub(super) async fn connect(port: u16) -> Result<Client> {
    let options = ConnectOptions::new().subscription_capacity(1 << 18);
    options.connect(format!("127.0.0.1:{port}")).await.context("cannot connect")
}

/// Waits until the server knows what a connection has subscribed to: it takes what comes over one in
/// order, and so sends this back only then. A flush ends when the bytes are written.
async fn subscribed(far: &Client) -> Result<()> {
    let echo = far.new_inbox();
    let mut heard = far.subscribe(echo.clone()).await?;
    far.publish(echo, Bytes::new()).await?;
    heard.next().await.context("the connection is gone")?;
    Ok(())
}

async fn oneway(
    load: &Arc<Load>,
    near: &Client,
    far: &Client,
    copies: u32,
    seconds: f64,
) -> Result<Turn> {
    for copy in 0..copies {
        let mut subscriber = far.subscribe(SUBJECT).await?;
        let load = Arc::clone(load);
        tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                load.see(&message.payload, copy);
                load.settle(1);
            }
        });
    }
    subscribed(far).await?;
    let work = async |until: Instant| {
        while Instant::now() < until {
            if copies == 1 {
                load.room(BATCH).await;
                for payload in load.make(BATCH) {
                    near.publish(SUBJECT, payload).await?;
                }
            } else {
                load.room(copies).await;
                near.publish(SUBJECT, load.make_one(copies)).await?;
            }
        }
        Ok(near.flush().await?)
    };
    load.measure(seconds, work).await
}

async fn request(
    load: &Arc<Load>,
    near: &Client,
    far: Client,
    many: u32,
    seconds: f64,
) -> Result<Turn> {
    let subscriber = far.subscribe(SUBJECT).await?;
    subscribed(&far).await?;
    let answering = tokio::spawn(answer(Arc::clone(load), far, subscriber));
    let work = async |until: Instant| {
        let mut callers = JoinSet::new();
        for _ in 0..many {
            let (load, near) = (Arc::clone(load), near.clone());
            callers.spawn(async move {
                while Instant::now() < until {
                    let begun = Instant::now();
                    let payload = load.make_one(1);
                    let reply = near.request(SUBJECT, payload.clone()).await?;
                    load.reply(&payload, &reply.payload, begun.elapsed());
                }
                Ok(())
            });
        }
        join(callers).await
    };
    let turn = load.measure(seconds, work).await;
    answering.abort();
    turn
}

async fn answer(load: Arc<Load>, far: Client, mut subscriber: Subscriber) -> Result<()> {
    while let Some(message) = subscriber.next().await {
        load.handle(&message.payload);
        let reply = message.reply.context("a request names nobody to answer")?;
        far.publish(reply, message.payload).await?;
    }
    Ok(())
}
