//! From how many bytes on a session compresses, seen by who gets what it sends.

use crate::options_peer::{Peer, broker, hello};
use trunkline_agent::prelude::*;
use trunkline_agent::{Compression, SessionOptions};
use trunkline_types::{Encoding, Publish};

#[tokio::test]
async fn only_payloads_above_the_size_that_is_set_are_compressed() {
    let broker = broker(|_| {}).await;
    // Without a runtime, which would undo the compression.
    let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
    for (above, encoding) in [(999, Encoding::Zstd), (1000, Encoding::Identity)] {
        let compression = Compression { above, ..Compression::new(Encoding::Zstd) };
        let options = SessionOptions { compression, ..SessionOptions::default() };
        let session = broker.session_with(options).await.unwrap();
        let (to, text) = (Destination::agent("a").unwrap(), "a".repeat(1000));
        session.tell(to.clone(), text.clone()).await.unwrap();
        assert_eq!(agent.delivery().await.publish.envelope.payload.encoding, encoding);
        let batch = [Publish::new(session.envelope(Kind::Event, to, text))];
        session.publish_batch(batch).await.unwrap().await.unwrap();
        assert_eq!(agent.delivery().await.publish.envelope.payload.encoding, encoding);
    }
}
