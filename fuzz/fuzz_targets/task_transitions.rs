//! An engine that is told anything in any order: no panic, the books balance, tasks move only
//! along legal transitions and end once, tokens never repeat, every operation is answered at most
//! once, and a broker that was killed knows afterwards what it had promised.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    trunkline_fuzz::commands::play(data);
});
