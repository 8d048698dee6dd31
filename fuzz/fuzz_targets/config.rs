//! Configuration files: no text makes reading one panic, every mistake is told in words, and what
//! was read is read again from what `config show` prints.

#![no_main]
#![allow(dead_code, reason = "of the command line only what reads settings is used")]
#![allow(unused_imports, reason = "of the command line only what reads settings is used")]

// The binary is no library, and shall not become one for this: its own files are compiled in.
#[path = "../../crates/cli/src/config/mod.rs"]
mod config;
#[path = "../../crates/cli/src/error.rs"]
mod error;
#[path = "../../crates/cli/src/exit.rs"]
mod exit;
#[path = "../../crates/cli/src/output/units.rs"]
mod units;

mod output {
    pub(crate) use crate::units;
}

use config::{Entry, Loaded, Override, Settings};
use error::CliError;
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, fs, process};

/// Where the text lies while it is read. Memory, where the system has files there.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { env::temp_dir() };
    folder.join(format!("trunkline-fuzz-{}.toml", process::id()))
});

/// The names of all settings, as flags want them.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let name = |entry: Entry| &*Box::leak(entry.setting.name().into_boxed_str());
    Loaded::default().entries().map(name).collect()
});

fuzz_target!(|data: &[u8]| {
    let file = &*FILE;
    fs::write(file, data).expect("the file can be written");
    let checked = Settings::check_file(file);
    let loaded = Settings::load(Some(file), &[]);
    if let Err(mistakes) = &checked {
        assert!(!mistakes.is_empty(), "a refusal names a mistake");
        assert!(mistakes.iter().all(|mistake| !mistake.message.is_empty()));
    }
    let Ok(loaded) = loaded else {
        assert!(checked.is_err(), "what passes the check can be loaded");
        return;
    };
    // A flag may still allow what the check refuses: to listen beyond loopback.
    if let Err(mistakes) = &checked {
        let listen = |error: &CliError| error.message.starts_with("server.listen");
        assert!(mistakes.iter().all(listen), "{mistakes:?}");
    }
    given_back(&loaded);
});

/// Every value is shown in a form that is taken as the same value again.
fn given_back(loaded: &Loaded) {
    let values: Vec<String> = loaded.entries().map(|entry| entry.value).collect();
    let flag = |(key, value): (&&'static str, &String)| {
        // A text that is not set has no form in which it could be given.
        (!value.is_empty()).then(|| Override { key: *key, flag: "--again", value: value.clone() })
    };
    let flags: Vec<_> = NAMES.iter().zip(&values).filter_map(flag).collect();
    let again = match Settings::load(None, &flags) {
        Ok(again) => again,
        Err(error) => panic!("{error}: {values:?}"),
    };
    let shown: Vec<String> = again.entries().map(|entry| entry.value).collect();
    assert_eq!(shown, values);
    let reloaded = loaded.settings.reloaded(&again.settings).expect("it is the same");
    assert!(reloaded.changed.is_empty() && reloaded.restart.is_empty(), "{reloaded:?}");
}
