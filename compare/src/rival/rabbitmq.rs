//! `RabbitMQ`: a durable queue, persistent messages, confirms that are waited for many at a time,
//! and a consumer that acknowledges as many at a time as are there. Acknowledgements are not
//! confirmed; at the end the consumer's channel is closed, which gives back what it has not
//! acknowledged, and the queue is asked whether anything is left: it counts what waits only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};

use super::{PATIENCE, WINDOW_DURABLE, not_done};
use crate::load::{BATCH, Load, Turn};
use crate::row::Work;

const QUEUE: &str = "work";
/// How many a consumer holds unacknowledged.
const PREFETCH: u16 = 2048;
/// How many it acknowledges at once.
const TAKE: usize = 64;
/// The delivery mode of what is kept on disk.
const PERSISTENT: u8 = 2;

pub(super) async fn turn(work: Work, load: &Arc<Load>, port: u16, seconds: f64) -> Result<Turn> {
    let (near, far) = (connect(port).await?, connect(port).await?);
    let (publisher, consumer) = (near.create_channel().await?, far.create_channel().await?);
    declare(&publisher, false).await?;
    publisher.confirm_select(ConfirmSelectOptions::default()).await?;
    consumer.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let turn = match work {
        Work::Durable => {
            let taking = tokio::spawn(take(Arc::clone(load), consumer.clone()));
            let submit = async |until| submit(load, &publisher, until).await;
            let turn = load.measure(seconds, submit).await?;
            taking.abort();
            consumer.close(200, "done".into()).await?;
            turn
        }
        Work::Accept => {
            let work = async |until: Instant| {
                while Instant::now() < until {
                    let begun = Instant::now();
                    confirmed(publish(&publisher, load.make_one(1)).await?).await?;
                    load.note(begun.elapsed());
                }
                Ok(())
            };
            accept(load, &far, seconds, work).await?
        }
        other => not_done(other)?,
    };
    is_empty(&publisher).await?;
    Ok(turn)
}

/// Submits with nobody there, and then has somebody take all of it.
async fn accept(
    load: &Arc<Load>,
    far: &Connection,
    seconds: f64,
    submit: impl AsyncFn(Instant) -> Result<()>,
) -> Result<Turn> {
    let work = async |until: Instant| {
        submit(until).await?;
        let channel = far.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        tokio::select! {
            ended = take(Arc::clone(load), channel.clone()) => ended?,
            settled = load.all_settled() => settled?,
        }
        // Its consumer ends with it.
        Ok(channel.close(200, "done".into()).await?)
    };
    load.measure(seconds, work).await
}

async fn connect(port: u16) -> Result<Connection> {
    let uri = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
    Connection::connect(&uri, ConnectionProperties::default()).await.context("cannot connect")
}

/// Makes the queue, or with `only_look` asks how it is. Tells how many wait in it.
async fn declare(channel: &Channel, only_look: bool) -> Result<u32> {
    let options =
        QueueDeclareOptions { passive: only_look, durable: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await?;
    Ok(queue.message_count())
}

async fn publish(channel: &Channel, payload: Bytes) -> Result<PublisherConfirm> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions::default();
    Ok(channel.basic_publish("".into(), QUEUE.into(), options, &payload, properties).await?)
}

async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    if !confirm.await?.is_ack() {
        bail!("a message was not confirmed");
    }
    Ok(())
}

async fn submit(load: &Load, channel: &Channel, until: Instant) -> Result<()> {
    let mut confirms = VecDeque::new();
    while Instant::now() < until {
        load.room(BATCH).await;
        for payload in load.make(BATCH) {
            confirms.push_back(publish(channel, payload).await?);
        }
        while confirms.len() > WINDOW_DURABLE as usize / 2 {
            confirmed(confirms.pop_front().context("it has some")?).await?;
        }
    }
    for confirm in confirms {
        confirmed(confirm).await?;
    }
    Ok(())
}

async fn take(load: Arc<Load>, channel: Channel) -> Result<()> {
    let options = BasicConsumeOptions::default();
    let tag = "taker".into();
    let consumer = channel.basic_consume(QUEUE.into(), tag, options, FieldTable::default()).await?;
    let mut deliveries = consumer.ready_chunks(TAKE);
    while let Some(chunk) = deliveries.next().await {
        let mut last = 0;
        let count = chunk.len() as u64;
        for delivery in chunk {
            let delivery = delivery?;
            load.see(&delivery.data, 0);
            last = delivery.delivery_tag;
        }
        channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        load.settle(count);
    }
    bail!("the consumer has ended")
}

/// Checks that nothing is left, once nobody consumes.
async fn is_empty(channel: &Channel) -> Result<()> {
    let late = Instant::now() + PATIENCE;
    loop {
        match declare(channel, true).await? {
            0 => return Ok(()),
            left if Instant::now() > late => {
                bail!("the counts do not agree: {left} messages are still in the queue")
            }
            _ => tokio::task::yield_now().await,
        }
    }
}
