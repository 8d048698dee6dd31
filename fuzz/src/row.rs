//! Bytes as a row of the index: a task or a letter at a place, in two parts with their checksums.

/// What a part with a checksum begins with.
const SEALED: u8 = 0xA7;
/// The numbers of the parts, of tasks and of letters: the head and the rest.
const PARTS: [[u8; 2]; 2] = [[1, 2], [3, 4]];

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Input {
    pub is_letter: bool,
    pub place: u64,
    pub head: Vec<u8>,
    pub rest: Vec<u8>,
}

impl Input {
    /// The row that an input is. Its first byte says whether it is a letter and which parts are given
    /// a checksum that fits, the second is the place, the two behind it are the length of the head.
    pub fn of(data: &[u8]) -> Option<Self> {
        let (&[flags, place, low, high], parts) = data.split_first_chunk::<4>()?;
        let (is_letter, place) = (flags & 1 == 1, u64::from(place));
        let length = usize::from(u16::from_le_bytes([low, high])).min(parts.len());
        let (head, rest) = parts.split_at(length);
        let [head_part, rest_part] = PARTS[usize::from(is_letter)];
        let made = |wanted: bool, part, bytes: &[u8]| {
            if wanted { sealed(part, place, bytes) } else { bytes.to_vec() }
        };
        Some(Self {
            is_letter,
            place,
            head: made(flags & 2 != 0, head_part, head),
            rest: made(flags & 4 != 0, rest_part, rest),
        })
    }

    /// The input that is this row when both parts get their checksums, which these have not.
    pub fn input(is_letter: bool, place: u8, head: &[u8], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(head.len()).expect("it is short").to_le_bytes();
        [&[6 | u8::from(is_letter), place, length[0], length[1]], head, rest].concat()
    }

    /// Whether each part that has a checksum fits it.
    pub fn fits(&self) -> bool {
        let [head, rest] = PARTS[usize::from(self.is_letter)];
        let fits = |part, bytes: &[u8]| match bytes.split_first() {
            Some((&SEALED, behind)) => {
                behind.get(4..).is_some_and(|held| bytes == sealed(part, self.place, held))
            }
            // Of an earlier version, which had none.
            _ => true,
        };
        fits(head, &self.head) && fits(rest, &self.rest)
    }
}

/// A part with its mark and the checksum of its number, its place and itself.
fn sealed(part: u8, place: u64, bytes: &[u8]) -> Vec<u8> {
    let sum = crc_fast::crc32_iscsi(&[&[part], &place.to_le_bytes()[..], bytes].concat());
    [&[SEALED], &sum.to_le_bytes()[..], bytes].concat()
}
