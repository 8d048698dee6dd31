//! A publish on its way: written straight from the vocabulary and read straight into it.
//!
//! On the wire it is a `trunkline.v1.Publish` like any other. Operations and deliveries carry one
//! each, millions of them, so here the generated struct in between is left out: with it, each
//! would cost a handful of allocations in either direction. Reading never fails for what a field
//! says: the first broken rule is kept and told when the publish is taken out.

mod faults;
mod inbox;
mod read;
mod write;

use self::faults::Faults;
pub use self::inbox::CarriedInbox;
use crate::decode::required;
use crate::{DecodeError, v1};
use bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};
use std::sync::Arc;
use trunkline_types::{Destination, Publish};

/// A publish as operations and deliveries carry it. Made from an [`Arc`] of the vocabulary's
/// publish, and turned back into one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Carried {
    publish: Option<Arc<Publish>>,
    envelope: Part,
    seen: Seen,
    faults: Faults,
}

/// What is known of the envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Part {
    /// It is not there.
    #[default]
    Missing,
    /// It was read, and nobody has asked for its length.
    Read,
    /// It is there, and encodes to so many bytes: encoding asks at every level of nesting.
    Measured(usize),
}

/// Which of the fields without a default are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Seen {
    id: bool,
    kind: bool,
    destination: bool,
}

impl From<Arc<Publish>> for Carried {
    fn from(publish: Arc<Publish>) -> Self {
        let envelope = Part::Measured(write::envelope_len(&publish.envelope));
        let seen = Seen { id: true, kind: true, destination: true };
        Self { publish: Some(publish), envelope, seen, faults: Faults::default() }
    }
}

impl TryFrom<Carried> for Arc<Publish> {
    type Error = DecodeError;
    fn try_from(carried: Carried) -> Result<Self, DecodeError> {
        let Carried { publish, envelope, seen, faults } = carried;
        faults.into_result()?;
        required("publish.envelope", (envelope != Part::Missing).then_some(()))?;
        required("envelope.id", seen.id.then_some(()))?;
        required("envelope.kind", seen.kind.then_some(()))?;
        required("envelope.destination", seen.destination.then_some(()))?;
        let publish = required("publish.envelope", publish)?;
        if let Destination::Agents(ids) = &publish.envelope.destination
            && ids.is_empty()
        {
            return Err(DecodeError::new("destination.agents", "empty", "name an agent"));
        }
        Ok(publish)
    }
}

impl Carried {
    fn envelope_len(&self, publish: &Publish) -> Option<usize> {
        match self.envelope {
            Part::Missing => None,
            Part::Read => Some(write::envelope_len(&publish.envelope)),
            Part::Measured(len) => Some(len),
        }
    }
}

impl prost::Message for Carried {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(publish) = &self.publish {
            write::publish(publish, self.envelope_len(publish), buf);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        read::field(self, tag, wire_type, buf, context)
    }

    fn encoded_len(&self) -> usize {
        let len = |publish: &Arc<Publish>| write::publish_len(publish, self.envelope_len(publish));
        self.publish.as_ref().map_or(0, len)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// For whoever wants to look at the fields one by one.
impl From<&Carried> for v1::Publish {
    fn from(carried: &Carried) -> Self {
        carried.publish.as_deref().map(Into::into).unwrap_or_default()
    }
}
