//! Rows of the index as a disk may hold them: reading one never panics, one that does not fit its
//! checksum is refused, and what was read is written again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_broker::fuzzing::{BadRow, Rows};
use trunkline_fuzz::row::Input;
use trunkline_types::Sequence;

thread_local! {
    static ROWS: Rows = Rows::default();
}

fuzz_target!(|data: &[u8]| {
    let Some(row) = Input::of(data) else { return };
    ROWS.with(|rows| {
        let (place, head, rest) = (Sequence(row.place), &row.head[..], &row.rest[..]);
        if row.is_letter {
            let read = rows.letter(place, head, rest);
            comes_back(&row, read, "letters", |letter| rows.letter_again(letter));
        } else {
            let read = rows.task(place, head, rest);
            comes_back(&row, read, "tasks", |task| rows.task_again(task));
        }
    });
});

fn comes_back<T: PartialEq + std::fmt::Debug>(
    row: &Input,
    read: Result<T, BadRow>,
    table: &str,
    again: impl FnOnce(&T) -> Result<T, BadRow>,
) {
    match read {
        Ok(value) => {
            assert!(row.fits(), "a row is served that does not fit its checksums: {value:?}");
            let back = again(&value).expect("what was read can be written");
            assert_eq!(back, value);
        }
        Err(bad) => {
            assert!(bad.is_row, "{bad}");
            let named = format!("of {table} has of record {}", row.place);
            assert!(bad.message.contains(&named), "{bad}");
        }
    }
}
