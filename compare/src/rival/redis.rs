//! Redis Streams: added in pipelines of 64, read by a group, acknowledged as many at a time as
//! were read. At the end nothing is pending. What is acknowledged stays in the stream, as it does
//! with Redis.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value, cmd, pipe};
use tokio::task::JoinSet;

use super::{join, not_done};
use crate::load::{Load, Turn};
use crate::row::Work;

const STREAM: &str = "work";
const GROUP: &str = "takers";
/// How many are added at once.
const PIPELINE: u32 = 64;
/// How many connections add and how many read: as many as leave the server no time to wait.
const ADDING: u32 = 4;
const READING: u32 = 2;
/// How many are read at once.
const TAKE: u32 = 256;
/// How long a read waits for something to come, in milliseconds.
const WAIT: u32 = 1000;

pub(super) async fn turn(work: Work, load: &Arc<Load>, port: u16, seconds: f64) -> Result<Turn> {
    let mut first = connect(port).await?;
    let mut create = cmd("XGROUP");
    create.arg(&["CREATE", STREAM, GROUP, "0", "MKSTREAM"]);
    create.exec_async(&mut first).await?;
    let turn = match work {
        Work::Durable => durable(load, port, seconds).await?,
        Work::Accept => accept(load, &first, port, seconds).await?,
        other => not_done(other)?,
    };
    let pending: (u64, Value, Value, Value) =
        cmd("XPENDING").arg(STREAM).arg(GROUP).query_async(&mut first).await?;
    match pending.0 {
        0 => Ok(turn),
        left => bail!("the counts do not agree: {left} messages are still pending"),
    }
}

async fn connect(port: u16) -> Result<MultiplexedConnection> {
    let client = Client::open(format!("redis://127.0.0.1:{port}/"))?;
    // A read waits longer than a connection does by its defaults.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.context("cannot connect")
}

async fn durable(load: &Arc<Load>, port: u16, seconds: f64) -> Result<Turn> {
    let mut reading = JoinSet::new();
    for number in 0..READING {
        reading.spawn(take(Arc::clone(load), connect(port).await?, number));
    }
    let mut adding = Vec::new();
    for _ in 0..ADDING {
        adding.push(connect(port).await?);
    }
    let work = async |until: Instant| {
        let mut parts = JoinSet::new();
        for connection in &adding {
            parts.spawn(add(Arc::clone(load), connection.clone(), until));
        }
        join(parts).await
    };
    load.measure(seconds, work).await
}

async fn add(load: Arc<Load>, mut connection: MultiplexedConnection, until: Instant) -> Result<()> {
    while Instant::now() < until {
        load.room(PIPELINE).await;
        let mut pipeline = pipe();
        for payload in load.make(PIPELINE) {
            pipeline.cmd("XADD").arg(STREAM).arg("*").arg("p").arg(&payload[..]).ignore();
        }
        pipeline.exec_async(&mut connection).await?;
    }
    Ok(())
}

async fn accept(
    load: &Arc<Load>,
    first: &MultiplexedConnection,
    port: u16,
    seconds: f64,
) -> Result<Turn> {
    let work = async |until: Instant| {
        let mut connection = first.clone();
        while Instant::now() < until {
            let begun = Instant::now();
            let payload = load.make_one(1);
            let mut add = cmd("XADD");
            add.arg(STREAM).arg("*").arg("p").arg(&payload[..]);
            add.exec_async(&mut connection).await?;
            load.note(begun.elapsed());
        }
        // One of its own: a read that is dropped goes on as long as its connection, and would take
        // what comes later.
        let other = connect(port).await?;
        tokio::select! {
            ended = take(Arc::clone(load), other, 0) => ended,
            settled = load.all_settled() => settled,
        }
    };
    load.measure(seconds, work).await
}

/// Reads and acknowledges for ever.
async fn take(load: Arc<Load>, mut connection: MultiplexedConnection, number: u32) -> Result<()> {
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg(GROUP).arg(format!("taker-{number}"));
    read.arg("COUNT").arg(TAKE).arg("BLOCK").arg(WAIT).arg("STREAMS").arg(STREAM).arg(">");
    loop {
        // Read as it comes: the library's own types for it take more time than the server.
        let mut ids = cmd("XACK");
        ids.arg(STREAM).arg(GROUP);
        let mut count = 0;
        let reply: Value = read.query_async(&mut connection).await?;
        for entry in entries(reply)? {
            let (id, payload) = parts(entry).context("an entry is none")?;
            load.see(&payload, 0);
            ids.arg(id);
            count += 1;
        }
        if count > 0 {
            let done: u64 = ids.query_async(&mut connection).await?;
            if done != count {
                bail!("acknowledged {count} messages, {done} of them were pending");
            }
            load.settle(count);
        }
    }
}

/// The entries of the one stream that was read; none if the time was up.
fn entries(reply: Value) -> Result<Vec<Value>> {
    let Value::Array(streams) = reply else { return Ok(Vec::new()) };
    match streams.into_iter().next() {
        Some(Value::Array(mut stream)) if stream.len() == 2 => match stream.pop() {
            Some(Value::Array(entries)) => Ok(entries),
            other => bail!("entries were expected, there is {other:?}"),
        },
        other => bail!("a stream was expected, there is {other:?}"),
    }
}

/// The id and the payload of an entry.
fn parts(entry: Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let Value::Array(mut entry) = entry else { return None };
    let (fields, id) = (entry.pop()?, entry.pop()?);
    let Value::Array(mut fields) = fields else { return None };
    match (id, fields.pop()?) {
        (Value::BulkString(id), Value::BulkString(payload)) => Some((id, payload)),
        _ => None,
    }
}
