//! Compression: what comes back, what is left alone, and what input may not do.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use proptest::prelude::*;
use trunkline_content::{Compression, ContentError, compress, decompress};
use trunkline_types::{Encoding, Payload};

const PACKING: [Encoding; 3] = [Encoding::Gzip, Encoding::Zstd, Encoding::Lz4];

fn always(encoding: Encoding) -> Compression {
    Compression { encoding, above: 0 }
}

fn any_packing() -> impl Strategy<Value = Encoding> {
    prop::sample::select(PACKING.as_slice())
}

/// Bytes with repeats, so that compression has something to do.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<u8>(), 1..400_usize).prop_map(|(byte, count)| vec![byte; count]);
    prop::collection::vec(prop_oneof![run, prop::collection::vec(any::<u8>(), 0..50)], 0..40)
        .prop_map(|parts| parts.concat())
}

/// As compressed as it gets: half a megabyte of nothing.
fn bomb(encoding: Encoding) -> Payload {
    let packed = compress(Payload::new("a/b", vec![0; 1 << 19]), &always(encoding));
    assert!(packed.data.len() < 4096, "{encoding}: {}", packed.data.len());
    packed
}

proptest! {
    #[test]
    fn what_was_compressed_comes_back(data in bytes(), encoding in any_packing()) {
        let plain = Payload::new("text/x", data);
        let packed = compress(plain.clone(), &always(encoding));
        prop_assert!(packed.data.len() <= plain.data.len());
        prop_assert_eq!(packed.encoding == Encoding::Identity, packed.data == plain.data);
        prop_assert_eq!(&packed.content_type, "text/x");
        let size = plain.data.len();
        prop_assert_eq!(decompress(&packed, size).unwrap(), plain);
        if packed.encoding == encoding {
            let large = ContentError::Large { encoding, limit: size - 1 };
            prop_assert_eq!(decompress(&packed, size - 1).unwrap_err(), large);
        }
    }

    #[test]
    fn any_bytes_are_read_within_the_limit_or_refused(
        data in prop::collection::vec(any::<u8>(), 0..300),
        encoding in any_packing(),
        limit in 0..2000_usize,
    ) {
        let payload = Payload { encoding, ..Payload::from(data) };
        if let Ok(plain) = decompress(&payload, limit) {
            prop_assert!(plain.data.len() <= limit);
        }
    }

    #[test]
    fn a_flipped_byte_never_panics_and_stays_within_the_limit(
        data in bytes(), encoding in any_packing(), at in any::<prop::sample::Index>(), with in 1..=255_u8,
    ) {
        let packed = compress(Payload::from([data, vec![7; 600]].concat()), &always(encoding));
        let mut bytes = packed.data.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        if let Ok(plain) = decompress(&Payload { data: bytes.into(), ..packed }, 1 << 16) {
            prop_assert!(plain.data.len() <= 1 << 16);
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused(
        data in bytes(), encoding in any_packing(), at in any::<prop::sample::Index>(),
    ) {
        let packed = compress(Payload::from([data, vec![7; 600]].concat()), &always(encoding));
        let cut = packed.data.slice(..at.index(packed.data.len()));
        let cut = decompress(&Payload { data: cut, ..packed.clone() }, 1 << 20);
        prop_assert!(matches!(cut, Err(ContentError::Damaged { .. })), "{:?}", cut);
        let more = [&packed.data[..], b"more"].concat();
        let more = decompress(&Payload { data: more.into(), ..packed }, 1 << 20);
        prop_assert!(matches!(more, Err(ContentError::Damaged { .. })), "{:?}", more);
    }
}

#[test]
fn only_what_is_above_the_threshold_is_compressed() {
    for encoding in PACKING {
        let rule = Compression { above: 1000, ..Compression::new(encoding) };
        let at = Payload::from(vec![1; 1000]);
        assert_eq!(compress(at.clone(), &rule), at);
        let above = compress(Payload::from(vec![1; 1001]), &rule);
        assert_eq!(above.encoding, encoding);
    }
    assert_eq!(Compression::new(Encoding::Gzip).above, 4096);
}

#[test]
fn what_would_not_get_smaller_or_is_compressed_already_stays_as_it_is() {
    // Nothing to be found in the bits of a multiplicative sequence.
    let noise: Vec<u8> = (1..5000_u32)
        .flat_map(|n| {
            n.wrapping_mul(0x9E37_79B1).swap_bytes().wrapping_mul(0x85EB_CA6B).to_le_bytes()
        })
        .collect();
    for encoding in PACKING {
        let noise = Payload::from(noise.clone());
        assert_eq!(compress(noise.clone(), &always(encoding)), noise, "{encoding}");
        let packed = bomb(encoding);
        assert_eq!(compress(packed.clone(), &always(Encoding::Gzip)), packed);
    }
    let plain = Payload::from(vec![1; 10_000]);
    assert_eq!(compress(plain.clone(), &Compression::default()), plain);
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    for encoding in PACKING {
        let error = decompress(&bomb(encoding), 100_000).unwrap_err();
        assert_eq!(error, ContentError::Large { encoding, limit: 100_000 });
        assert!(error.to_string().contains(&format!("more than 100000 bytes once its {encoding}")));
        assert_eq!(decompress(&bomb(encoding), 1 << 19).unwrap().data.len(), 1 << 19);
    }
}

#[test]
fn a_zstd_frame_that_asks_for_a_huge_window_is_refused() {
    // Magic number, no content size, a window of 2^31 bytes, then one empty last block.
    let frame = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    let payload = Payload { encoding: Encoding::Zstd, ..Payload::from(frame.to_vec()) };
    let error = decompress(&payload, 1 << 20).unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
}

#[test]
fn a_payload_that_is_not_compressed_is_returned_as_it_is() {
    let plain = Payload::text("as it is");
    assert_eq!(decompress(&plain, 0).unwrap(), plain);
}
