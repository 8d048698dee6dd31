//! Payloads that have left the engine's memory are read from the log again: what is wanted ahead of
//! its delivery by a thread, outside of the engine's turn, and what is looked at then and there by
//! the engine itself. Each has a reader of its own, so that neither waits for the other.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::{io, thread};
use trunkline_engine::{PayloadStore, Record};
use trunkline_log::{ReadError, Reader, Storage};
use trunkline_types::{Publish, Sequence};

/// What was read of some records: what each published, or why it cannot be read.
pub(crate) type Loaded = Vec<(Sequence, Result<Arc<Publish>, String>)>;

/// Reads what records of the log have published.
#[derive(Debug)]
pub(crate) struct Payloads(Reader);

impl Payloads {
    pub(crate) fn new(storage: Arc<dyn Storage>, partition: u16) -> Self {
        Self(Reader::new(storage, partition))
    }

    fn load(&self, places: &[Sequence]) -> Loaded {
        let mut loaded = Vec::with_capacity(places.len());
        let sequences: Vec<u64> = places.iter().map(|place| place.0).collect();
        self.0.read(&sequences, |sequence, found| {
            loaded.push((Sequence(sequence), published(found)));
        });
        loaded
    }
}

/// The engine's way to them. It ends with the broker, while the engine lives for as long as
/// somebody has a connection to it: the directory is then for the next broker to lock.
#[derive(Debug)]
pub(crate) struct Lookup(Weak<Payloads>);

impl Lookup {
    pub(crate) fn new(payloads: &Arc<Payloads>) -> Self {
        Self(Arc::downgrade(payloads))
    }
}

impl PayloadStore for Lookup {
    fn read(&self, at: Sequence) -> Result<Arc<Publish>, String> {
        let payloads = self.0.upgrade().ok_or("the broker is closed")?;
        let mut loaded = payloads.load(&[at]);
        loaded.pop().map_or_else(|| Err("it was not looked for".to_owned()), |(_, result)| result)
    }
}

fn published(found: Result<(u8, &[u8]), ReadError>) -> Result<Arc<Publish>, String> {
    let (tag, body) = found.map_err(|error| error.to_string())?;
    let record = Record::decode(tag, body).map_err(|error| error.to_string())?;
    record.into_publish().ok_or_else(|| "the record tells of nothing published".to_owned())
}

/// The thread that reads ahead. Dropped, it ends after the batch at hand.
#[derive(Debug)]
pub(crate) struct LoadThread {
    /// What is wanted. Not bounded itself: the engine asks for one batch at a time of each inbox.
    wanted: Option<Sender<Vec<Sequence>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LoadThread {
    /// Starts the thread; `on_loaded` is called on it with what was read.
    ///
    /// # Errors
    /// If the operating system refuses another thread.
    pub(crate) fn start(
        payloads: Payloads,
        on_loaded: impl Fn(Loaded) + Send + 'static,
    ) -> io::Result<Self> {
        let (wanted, batches): (_, Receiver<Vec<Sequence>>) = channel();
        let run = move || batches.iter().for_each(|places| on_loaded(payloads.load(&places)));
        let thread = thread::Builder::new().name("trunkline-loads".into()).spawn(run)?;
        Ok(Self { wanted: Some(wanted), thread: Some(thread) })
    }

    /// Has records read.
    pub(crate) fn want(&self, places: Vec<Sequence>) {
        if let Some(wanted) = &self.wanted {
            // The thread ends before this only if it panicked, which it tells.
            let _ = wanted.send(places);
        }
    }
}

impl Drop for LoadThread {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads payloads panicked; its message is on stderr");
        }
    }
}
