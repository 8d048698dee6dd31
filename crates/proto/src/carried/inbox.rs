//! The inbox that a delivery came from: every delivery names one, so its name is read where it is.

use super::faults::Faults;
use super::read::{set, text};
use super::write::{Count, Out, Write};
use crate::DecodeError;
use crate::decode::{name, required};
use bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, skip_field};
use trunkline_types::InboxAddress;

/// An inbox as deliveries carry it: on the wire a `trunkline.v1.InboxAddress` like any other.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CarriedInbox {
    address: Option<InboxAddress>,
    faults: Faults,
}

impl From<InboxAddress> for CarriedInbox {
    fn from(address: InboxAddress) -> Self {
        Self { address: Some(address), faults: Faults::default() }
    }
}

impl TryFrom<CarriedInbox> for InboxAddress {
    type Error = DecodeError;
    fn try_from(CarriedInbox { address, faults }: CarriedInbox) -> Result<Self, DecodeError> {
        faults.into_result()?;
        required("inbox_address.owner", address)
    }
}

impl CarriedInbox {
    fn write(&self, out: &mut impl Out) {
        match &self.address {
            Some(InboxAddress::Agent(id)) => out.bytes(1, id.as_str().as_bytes()),
            Some(InboxAddress::Skill(name)) => out.bytes(2, name.as_str().as_bytes()),
            None => {}
        }
    }
}

impl prost::Message for CarriedInbox {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.write(&mut Write(buf));
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        let result = match tag {
            1 => text("inbox_address.agent", wire_type, buf, |text| {
                name("inbox_address.agent", text).map(InboxAddress::Agent)
            })?,
            2 => text("inbox_address.skill", wire_type, buf, |text| {
                name("inbox_address.skill", text).map(InboxAddress::Skill)
            })?,
            _ => return skip_field(wire_type, tag, buf, context),
        };
        // Whichever comes last counts.
        self.faults.forgive("inbox_address.");
        set(&mut self.address, &mut self.faults, "inbox_address.", result.map(Some));
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let mut count = Count(0);
        self.write(&mut count);
        count.0
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
