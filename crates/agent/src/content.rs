//! What a session does to payloads on their way: compresses what it sends, and undoes the
//! compression of what it gets, within a bound.

use std::sync::Arc;
use trunkline_content::{Compression, ContentError, compress, decompress};
use trunkline_types::session::{Operation, UpdateBody};
use trunkline_types::{
    Encoding, Failure, FailureCode, Outcome, Payload, Publish, TaskEventBody, TaskUpdate,
};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// Which payloads are compressed at sending, and how.
    pub(crate) compression: Compression,
    /// Most bytes that a payload may have once its compression is undone.
    pub(crate) most: usize,
}

impl Content {
    /// The default bound on what a compressed payload may become: 8 MiB, as much as the largest
    /// payload that a broker can be told to carry.
    pub(crate) const MOST: usize = 8 << 20;

    fn packs(&self) -> bool {
        self.compression.encoding != Encoding::Identity
    }

    /// Compresses a payload that is to be sent.
    pub(crate) fn pack(&self, payload: &mut Payload) {
        if self.packs() {
            *payload = compress(std::mem::take(payload), &self.compression);
        }
    }

    /// Compresses what a publish that may be shared carries.
    pub(crate) fn pack_shared(&self, publish: &mut Arc<Publish>) {
        let data = &publish.envelope.payload.data;
        if self.packs() && data.len() > self.compression.above {
            self.pack(&mut Arc::make_mut(publish).envelope.payload);
        }
    }

    /// Compresses what is said of a delivery.
    pub(crate) fn pack_operation(&self, operation: &mut Operation) {
        if !self.packs() {
            return;
        }
        match operation {
            Operation::Settle(settle) => match &mut settle.outcome {
                Outcome::Complete { reply: Some(payload) }
                | Outcome::Pause { message: Some(payload), .. } => self.pack(payload),
                _ => {}
            },
            Operation::Update(update) => {
                if let UpdateBody::Artifact(chunk) = &mut update.body {
                    self.pack(&mut chunk.payload);
                }
            }
            Operation::Continue { payload, .. } => self.pack(payload),
            Operation::Redrive(redrive) => {
                if let Some(payload) = &mut redrive.payload {
                    self.pack(payload);
                }
            }
            _ => {}
        }
    }

    /// Whether a payload is compressed.
    pub(crate) fn is_packed(payload: &Payload) -> bool {
        payload.encoding != Encoding::Identity
    }

    /// Undoes the compression of a payload, which stays as it is if that fails.
    ///
    /// # Errors
    /// It would be over the bound, or is damaged.
    pub(crate) fn unpack(&self, payload: &mut Payload) -> Result<(), ContentError> {
        if Self::is_packed(payload) {
            *payload = decompress(payload, self.most)?;
        }
        Ok(())
    }

    /// Undoes the compression of what a shared publish carries.
    ///
    /// # Errors
    /// It would be over the bound, or is damaged.
    pub(crate) fn unpack_shared(&self, publish: &mut Arc<Publish>) -> Result<(), ContentError> {
        let payload = &publish.envelope.payload;
        if Self::is_packed(payload) {
            let plain = decompress(payload, self.most)?;
            Arc::make_mut(publish).envelope.payload = plain;
        }
        Ok(())
    }

    /// An answer as its caller sees it.
    ///
    /// # Errors
    /// There is one, but it would be over the bound, or is damaged.
    pub(crate) fn answer(&self, mut payload: Payload) -> Result<Payload, Failure> {
        match self.unpack(&mut payload) {
            Ok(()) => Ok(payload),
            Err(error) => Err(Failure { code: FailureCode::LeftOut, reason: error.to_string() }),
        }
    }

    /// Undoes the compression of what a task's watcher is told.
    ///
    /// # Errors
    /// It would be over the bound, or is damaged.
    pub(crate) fn unpack_update(&self, update: &mut TaskUpdate) -> Result<(), ContentError> {
        let TaskUpdate::Event(event) = update else { return Ok(()) };
        match &mut event.body {
            TaskEventBody::Artifact(chunk) => self.unpack(&mut chunk.payload),
            TaskEventBody::Message { payload, .. } => self.unpack(payload),
            TaskEventBody::Status { .. } => Ok(()),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self { compression: Compression::default(), most: Self::MOST }
    }
}
