//! Payloads that prove themselves: who sent them, which one it is, when, and that no byte changed.
//!
//! Layout, all numbers little-endian: run 8 bytes, number 8, time 8, checksum 8, then a filling
//! drawn from run and number. The checksum covers run, number and time; the filling must be
//! exactly what they draw.

use bytes::Bytes;

/// The smallest payload in bytes: the header alone.
pub(crate) const LEAST: usize = 32;

/// What the head of a payload says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// Which run of a benchmark sent it.
    pub(crate) run: u64,
    /// Its number within the run, from 0.
    pub(crate) number: u64,
    /// When it was sent, or ought to have been, in nanoseconds on the load's clock.
    pub(crate) at: u64,
}

impl Stamp {
    /// The payload of `size` bytes, at least [`LEAST`], that this stamp heads.
    pub(crate) fn payload(self, size: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(size.max(LEAST));
        let Self { run, number, at } = self;
        for word in [run, number, at, self.checksum()] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let mut filling = Filling::new(run, number);
        while bytes.len() + 8 <= size {
            bytes.extend_from_slice(&filling.next().to_le_bytes());
        }
        let rest = size.saturating_sub(bytes.len());
        bytes.extend_from_slice(&filling.next().to_le_bytes()[..rest]);
        Bytes::from(bytes)
    }

    /// Reads and checks a payload of which `size` bytes were sent. `None` if any byte is not what
    /// it was.
    pub(crate) fn check(bytes: &[u8], size: usize) -> Option<Self> {
        let stamp = Self::peek(bytes)?;
        if bytes.len() != size {
            return None;
        }
        let mut filling = Filling::new(stamp.run, stamp.number);
        let (words, rest) = bytes[LEAST..].as_chunks::<8>();
        let intact = words.iter().all(|word| *word == filling.next().to_le_bytes())
            && *rest == filling.next().to_le_bytes()[..rest.len()];
        intact.then_some(stamp)
    }

    /// Reads the head alone. `None` if it is not what it was.
    pub(crate) fn peek(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.get(..LEAST)?.as_chunks::<8>();
        let &[run, number, at, checksum] = words else { return None };
        let [run, number, at] = [run, number, at].map(u64::from_le_bytes);
        let stamp = Self { run, number, at };
        (u64::from_le_bytes(checksum) == stamp.checksum()).then_some(stamp)
    }

    fn checksum(self) -> u64 {
        mix(self.run ^ mix(self.number ^ mix(self.at)))
    }
}

/// The words that fill a payload.
struct Filling {
    word: u64,
    step: u64,
}

impl Filling {
    fn new(run: u64, number: u64) -> Self {
        let word = mix(run ^ number);
        Self { word, step: word.rotate_left(17) | 1 }
    }

    fn next(&mut self) -> u64 {
        self.word = self.word.wrapping_add(self.step);
        self.word ^ (self.word >> 29)
    }
}

/// Spreads every bit over the whole word (the finaliser of `SplitMix64`).
fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_any_size_is_read_back_and_any_changed_bit_is_noticed() {
        for size in [32, 33, 39, 40, 64, 255, 256] {
            let stamp = Stamp { run: 7, number: 99, at: 123_456_789 };
            let payload = stamp.payload(size);
            assert_eq!(payload.len(), size);
            assert_eq!(Stamp::check(&payload, size), Some(stamp));
            for at in 0..size {
                let mut changed = payload.to_vec();
                changed[at] ^= 0x10;
                assert_eq!(Stamp::check(&changed, size), None, "byte {at} of {size}");
            }
        }
    }

    #[test]
    fn a_cut_or_lengthened_payload_is_noticed() {
        let payload = Stamp { run: 1, number: 2, at: 3 }.payload(64);
        assert_eq!(Stamp::check(&payload[..63], 64), None);
        assert_eq!(Stamp::check(&payload[..56], 64), None);
        assert_eq!(Stamp::check(&[], 64), None);
        let longer = [&payload[..], b"x"].concat();
        assert_eq!(Stamp::check(&longer, 64), None);
    }

    #[test]
    fn no_two_numbers_share_a_payload() {
        let payload = |number| Stamp { run: 5, number, at: 0 }.payload(256);
        assert_ne!(payload(1)[LEAST..], payload(2)[LEAST..]);
    }
}
