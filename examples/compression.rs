//! Payloads above a size travel compressed: the sender's session packs them, the reader's unpacks
//! them within a bound, and neither sees anything of it.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::time::timeout;
use trunkline_agent::prelude::*;
use trunkline_agent::{Compression, SessionOptions};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::Encoding;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let text = "the quick brown fox jumps over the lazy dog. ".repeat(1000);
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Lz4] {
        let compression = Compression { above: 1024, ..Compression::new(encoding) };
        let options = SessionOptions { compression, ..SessionOptions::default() };
        let sender = broker.session_with(options).await?;
        for (most, unpacked) in [(1 << 20, true), (0, false)] {
            let options = SessionOptions { max_decompressed: most, ..SessionOptions::default() };
            let reader = broker.session_with(options).await?;
            let mut events = reader.subscribe("fox".parse()?).await?;
            sender.publish("fox".parse()?, text.as_str()).await?;
            let event = timeout(Duration::from_mins(1), events.next()).await?.ok_or("no more")?;
            let payload = event.payload();
            println!("within {most}: {}, {} bytes", payload.encoding, payload.data.len());
            assert_eq!(payload.to_text() == text, unpacked);
            assert_eq!(
                (payload.encoding == encoding, event.unreadable.is_some()),
                (!unpacked, !unpacked)
            );
        }
    }
    Ok(())
}
