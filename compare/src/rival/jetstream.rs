//! `JetStream`: a work queue on disk, published with acknowledgements that are waited for many at
//! a time, taken by a pull consumer that acknowledges each. What a consumer acknowledges the server
//! does not confirm; at the end it is asked whether anything is left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{self, RetentionPolicy, Stream};
use futures_util::StreamExt;

use super::{PATIENCE, WINDOW_DURABLE, nats, not_done};
use crate::load::{BATCH, Load, Turn};
use crate::row::Work;

const SUBJECT: &str = "work";
/// How many a consumer asks for at once.
const TAKE: usize = 4096;

pub(super) async fn turn(work: Work, load: &Arc<Load>, port: u16, seconds: f64) -> Result<Turn> {
    let far = jetstream::new(nats::connect(port).await?);
    let config = stream::Config {
        name: "WORK".to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let stream = far.create_stream(config).await?;
    let builder = ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE);
    let context = builder.max_ack_inflight(2 * WINDOW_DURABLE as usize);
    let near = context.build(nats::connect(port).await?);
    let turn = match work {
        Work::Durable => {
            let taking = tokio::spawn(take(Arc::clone(load), stream.clone()));
            let submit = async |until| submit(load, &near, until).await;
            let turn = load.measure(seconds, submit).await?;
            taking.abort();
            turn
        }
        Work::Accept => {
            let work = async |until: Instant| {
                while Instant::now() < until {
                    let begun = Instant::now();
                    near.publish(SUBJECT, load.make_one(1)).await?.await?;
                    load.note(begun.elapsed());
                }
                tokio::select! {
                    ended = take(Arc::clone(load), stream.clone()) => ended,
                    settled = load.all_settled() => settled,
                }
            };
            Box::pin(load.measure(seconds, work)).await?
        }
        other => not_done(other)?,
    };
    is_empty(stream).await?;
    Ok(turn)
}

async fn submit(load: &Load, near: &jetstream::Context, until: Instant) -> Result<()> {
    let mut acks = VecDeque::new();
    while Instant::now() < until {
        load.room(BATCH).await;
        for payload in load.make(BATCH) {
            acks.push_back(near.publish(SUBJECT, payload).await?);
        }
        while acks.len() > WINDOW_DURABLE as usize / 2 {
            acks.pop_front().context("it has some")?.await?;
        }
    }
    for ack in acks {
        ack.await?;
    }
    Ok(())
}

async fn take(load: Arc<Load>, stream: Stream) -> Result<()> {
    let config = pull::Config {
        durable_name: Some("takers".to_owned()),
        max_ack_pending: i64::from(2 * WINDOW_DURABLE),
        ..pull::Config::default()
    };
    let consumer = stream.get_or_create_consumer("takers", config).await?;
    let mut messages = consumer.stream().max_messages_per_batch(TAKE).messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        load.see(&message.payload, 0);
        message.ack().await.map_err(|error| anyhow!("cannot acknowledge: {error}"))?;
        load.settle(1);
    }
    bail!("the consumer has ended")
}

/// Waits until every acknowledgement has come and nothing is left.
async fn is_empty(mut stream: Stream) -> Result<()> {
    let late = Instant::now() + PATIENCE;
    loop {
        let left = stream.info().await?.state.messages;
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > late {
            bail!("the counts do not agree: {left} messages are still in the stream");
        }
        tokio::task::yield_now().await;
    }
}
