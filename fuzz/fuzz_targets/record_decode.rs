//! Bodies of the engine's records: reading never panics, and what was read is written and read
//! again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_engine::Record;

fuzz_target!(|data: &[u8]| {
    let Some((&tag, body)) = data.split_first() else { return };
    let Ok(record) = Record::decode(tag, body) else { return };
    assert_eq!(record.tag(), tag);
    let mut written = Vec::new();
    record.encode(&mut written);
    let again = Record::decode(tag, &written).expect("what was written can be read");
    assert_eq!(again, record);
});
