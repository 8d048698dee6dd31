//! `verify`: the data of a stopped broker, checked from end to end.

use crate::commands::storage::{Bar, must_exist, store_error};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Output, units};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use trunkline_broker::{Fault, Repair, Verified, verify};
use trunkline_log::{Damage, Missing};

/// What `verify` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline verify trunkline-data
  trunkline verify trunkline-data --repair
  trunkline verify trunkline-data --json")]
pub(crate) struct VerifyArgs {
    /// The data directory of a broker that does not run.
    directory: PathBuf,
    #[arg(
        long,
        help = "Copy what is damaged to quarantine/, and move an index of no use there, so that \
                the broker makes it again from the log. Nothing is deleted"
    )]
    repair: bool,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs, output: &Output) -> Result<(), CliError> {
    must_exist(&args.directory)?;
    let bar = Bar::new("verify", output);
    let repair = if args.repair { Repair::Yes } else { Repair::No };
    let found = verify(&args.directory, repair, |done, total| bar.at(done, total));
    bar.end();
    let found = found.map_err(|error| store_error(&error))?;
    if output.is_json() {
        output.value(&as_json(&found))?;
    } else {
        tell(&found, output)?;
    }
    if found.is_sound() {
        return Ok(());
    }
    let wrong = found.damage.iter().filter(|place| place.copy.is_none()).count() as u64;
    let wrong = units::counted(wrong + found.faults_total, "fault", "faults");
    let error =
        CliError::new(Exit::Damaged, format_args!("{} has {wrong}", args.directory.display()));
    let hint = "`trunkline verify --repair` puts a copy of what is damaged aside; a broker that is \
                started does the same with damaged batches, and goes on without them";
    Err(if args.repair { error } else { error.hint(hint) })
}

fn tell(found: &Verified, output: &Output) -> Result<(), CliError> {
    let Verified { segments, records, bytes, closed, torn_bytes, skipped, .. } = found;
    for place in &found.damage {
        output.line(damage(place))?;
    }
    for fault in &found.faults {
        output.line(fault)?;
    }
    let told = found.faults.len() as u64;
    if found.faults_total > told {
        output.line(format_args!("and {} more", units::count(found.faults_total - told)))?;
    }
    if let Some(path) = &found.index_moved {
        output.line(format_args!(
            "the index was of no use and is now {}; the broker makes it again",
            path.display()
        ))?;
    }
    if let Some(what) = &found.index_mended {
        output.line(format_args!(
            "the index was not complete: {what}; the broker makes up for it from the log"
        ))?;
    }
    if *skipped > 0 {
        let skipped = units::counted(*skipped, "record speaks", "records speak");
        output.line(format_args!("{skipped} of what is missing"))?;
    }
    if *torn_bytes > 0 {
        let size = units::size(*torn_bytes);
        output.line(format_args!("{size} at the end were never flushed, as a crash leaves it"))?;
    }
    let segments = units::counted(*segments, "segment", "segments");
    let records = units::counted(*records, "record", "records");
    let end = if *closed { "closed in order" } else { "not closed in order" };
    output.line(format_args!("{segments}, {records}, {} read; {end}", units::size(*bytes)))
}

fn damage(place: &Damage) -> String {
    let Damage { location, bytes, what, missing, copy } = place;
    let place = format!(
        "segment {}, offset {}, {}: {what}",
        location.segment,
        location.offset,
        units::counted(*bytes, "byte", "bytes")
    );
    let gap = |gap: &Missing| format!("records {} to {} are missing", gap.first, gap.last);
    let copy = copy.iter().map(|copy| format!("put aside as {}", copy.display()));
    let parts: Vec<_> = [place].into_iter().chain(missing.iter().map(gap)).chain(copy).collect();
    parts.join("; ")
}

fn as_json(found: &Verified) -> Value {
    let damage = |place: &Damage| {
        let gap = |gap: &Missing| json!({ "first": gap.first, "last": gap.last });
        json!({
            "segment": place.location.segment,
            "offset": place.location.offset,
            "bytes": place.bytes,
            "what": place.what,
            "missing": place.missing.iter().map(gap).collect::<Vec<_>>(),
            "copy": place.copy,
        })
    };
    let fault = |fault: &Fault| {
        json!({
            "segment": fault.location.map(|location| location.segment),
            "offset": fault.location.map(|location| location.offset),
            "what": fault.what,
        })
    };
    json!({
        "sound": found.is_sound(),
        "segments": found.segments,
        "records": found.records,
        "bytes": found.bytes,
        "closed": found.closed,
        "torn_bytes": found.torn_bytes,
        "skipped": found.skipped,
        "damage": found.damage.iter().map(damage).collect::<Vec<_>>(),
        "faults": found.faults.iter().map(fault).collect::<Vec<_>>(),
        "faults_total": found.faults_total,
        "index_moved": found.index_moved,
        "index_mended": found.index_mended,
    })
}
