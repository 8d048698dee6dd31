//! The list of a backup: reading it never panics, a mistake is told in words, and what was read is
//! written again as the same list, whose names all lie within the directory that is restored to.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::path::{Component, Path};
use trunkline_broker::fuzzing::manifest;

/// The first line of a list.
const FIRST: &str = "trunkline-backup 1\n";

fuzz_target!(|data: &[u8]| {
    let Some((&whole, lines)) = data.split_first() else { return };
    if whole & 1 == 0 {
        return check(lines);
    }
    // What a checksum would otherwise keep away from all that is behind it.
    let body = [FIRST.as_bytes(), lines].concat();
    let end = format!("end {:016x}\n", trunkline_log::checksum(&body));
    check(&[&body, end.as_bytes()].concat());
});

fn check(bytes: &[u8]) {
    let text = match manifest(bytes) {
        Ok(text) => text,
        Err(told) => {
            assert!(told.contains(' ') && !told.contains(char::is_control), "{told:?}");
            return;
        }
    };
    assert_eq!(manifest(text.as_bytes()), Ok(text.clone()), "it is read as another list");
    let body = text.strip_prefix(FIRST).expect("it is of this version");
    let (body, _end) = body.rsplit_once("end ").expect("it has an end");
    let mut names = BTreeSet::new();
    for line in body.lines() {
        let name = line.splitn(3, ' ').last().expect("a line has parts");
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        assert!(Path::new(name).components().all(is_plain), "{name:?} leads elsewhere");
        assert!(names.insert(name), "{name:?} is there twice");
    }
}
