//! How messages get into and out of HTTP/2: protobuf, with small buffers while a stream is idle.
//!
//! The stock codec keeps 8 KiB ready in each direction of each stream, and grows its buffer step
//! by step for what is larger. Most streams are idle most of the time, so here a stream keeps
//! little, and what a message needs is reserved at once.

use bytes::BufMut;
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

/// What a stream keeps ready in each direction, in bytes.
const READY: usize = 1 << 10;
/// How many encoded bytes are gathered before they are written, if there is more to encode.
const GATHERED: usize = 32 << 10;

/// How long a message is at most that is copied to be written faster. In a longer one most is payload,
/// which is copied once as it is.
const COPIED: usize = 256 << 10;

/// The codec of all calls.
#[derive(Debug)]
pub(crate) struct FrameCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for FrameCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for FrameCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = FrameEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        FrameEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

/// Encodes a message into a buffer that has room for all of it.
#[derive(Debug)]
pub(crate) struct FrameEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for FrameEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let length = item.encoded_len();
        buffer.reserve(length);
        if length > COPIED {
            item.encode_raw(buffer);
        } else {
            // By way of a slice, which is written in place; the buffer looks for room at every byte.
            let mut bytes = vec![0; length];
            item.encode_raw(&mut bytes.as_mut_slice());
            buffer.put_slice(&bytes);
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(READY, GATHERED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::codec::Decoder;

    #[test]
    fn an_idle_stream_keeps_little_in_either_direction() {
        let mut codec = FrameCodec::<crate::v1::ClientFrame, crate::v1::ServerFrame>::default();
        for settings in [codec.encoder().buffer_settings(), codec.decoder().buffer_settings()] {
            let shown = format!("{settings:?}");
            assert!(shown.contains("buffer_size: 1024"), "{shown}");
        }
    }
}
