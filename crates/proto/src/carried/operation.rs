//! Operations that are read and written by hand: a publish, and a delivery that is completed.

use super::Carry;
use super::read::{END, Fields, LEN, payload, publish, token};
use super::write::{Count, Out, PublishLengths, nested, write_payload, write_token};
use crate::v1;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use trunkline_types::session::Operation;
use trunkline_types::{Outcome, Payload, Publish, Settle, Token};

impl Carry for Operation {
    type Wire = v1::Operation;

    fn read(tag: u32, body: &[u8], data: &mut Range<usize>) -> Option<Self> {
        Some(match tag {
            1 => Self::Publish(publish(Fields::new(body), data)?),
            2 => Self::Settle(settle(Fields::new(body), data)?),
            _ => return None,
        })
    }

    fn set_data(&mut self, data: Bytes) {
        match self {
            Self::Publish(publish) => set_data(publish, data),
            Self::Settle(Settle { outcome: Outcome::Complete { reply: Some(reply) }, .. }) => {
                reply.data = data;
            }
            _ => {}
        }
    }

    fn write(&self, out: &mut impl Out) -> bool {
        match self {
            Self::Publish(publish) => PublishLengths::of(publish).write(1, publish, out),
            Self::Settle(Settle { token, outcome: Outcome::Complete { reply } }) => {
                write_completed(*token, reply.as_ref(), out);
            }
            _ => return false,
        }
        true
    }
}

/// Puts the payload of a publish that nobody else has yet in its place.
pub(super) fn set_data(publish: &mut Arc<Publish>, data: Bytes) {
    if let Some(publish) = Arc::get_mut(publish) {
        publish.envelope.payload.data = data;
    }
}

fn settle(mut fields: Fields<'_>, data: &mut Range<usize>) -> Option<Settle> {
    let (mut of, mut completed) = (None, None);
    loop {
        match fields.key()? {
            END => break,
            (1, LEN) => of = Some(token(fields.message()?)?),
            (2, LEN) => {
                let mut fields = fields.message()?;
                let mut reply = None;
                loop {
                    match fields.key()? {
                        END => break,
                        (1, LEN) => reply = Some(payload(fields.message()?, data)?),
                        _ => return None,
                    }
                }
                completed = Some(Outcome::Complete { reply });
            }
            _ => return None,
        }
    }
    Some(Settle { token: of?, outcome: completed? })
}

fn write_completed(token: Token, reply: Option<&Payload>, out: &mut impl Out) {
    nested!(out, 2, |out| {
        write_token(token, out);
        nested!(out, 2, |out| {
            if let Some(reply) = reply {
                nested!(out, 1, |out| write_payload(reply, out));
            }
        });
    });
}
