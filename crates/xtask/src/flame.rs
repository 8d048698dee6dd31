//! Where the time of a benchmark goes: `perf` takes samples of broker and load, and what they say
//! is drawn as a flame graph by inferno. That is a tool of its own, installed below the build
//! directory, and no dependency: its licence is not among ours.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::project;
use crate::run::Program;
use crate::suite;

/// What draws, with its version.
const INFERNO: &str = "inferno@0.12.8";

/// Samples a second: no multiple of what a timer of the system does.
const FREQUENCY: &str = "497";

/// Options that say for how long a benchmark runs, or where.
const ASIDE: [&str; 5] = ["--seconds", "--count", "--rounds", "--dir", "--url"];

/// The share of all samples below which a frame is not drawn, in percent: a page of the
/// documentation has to carry the graph.
const NARROWEST: &str = "0.3";

/// Runs a scenario under `perf` and draws it. Where `perf` is missing or may not, it says so and
/// does nothing.
///
/// # Errors
/// When the build or the scenario fails, or the graph cannot be written; with `CI` set, where nothing
/// is passed over, also when no samples can be taken.
pub(crate) fn run(scenario: &str, extra: &[String]) -> Result<(), Failure> {
    let target = project::target_dir()?;
    let folder = target.join("flame");
    let made = fs::create_dir_all(&folder);
    made.map_err(|error| not_written(&folder, &error))?;
    if let Err(why) = may_sample(&folder.join("probe.data")) {
        return without_samples(&why, env::var_os("CI").is_some());
    }
    let tools = target.join("tools");
    if !tools.join("bin/inferno-flamegraph").is_file() {
        let root = tools.to_string_lossy();
        Program::cargo(&["install", "--quiet", "--locked", "--root", &root, INFERNO]).run()?;
    }
    suite::build_to_measure().run()?;
    let name = name(scenario, extra);
    let data = folder.join(format!("{name}.data"));
    let trunkline = target.join("release/trunkline");
    let (data_name, trunkline) = (data.to_string_lossy(), trunkline.to_string_lossy());
    // The frames of a release build have no pointers to follow, so that each stack is taken whole.
    let record = ["record", "--quiet", "--freq", FREQUENCY, "--call-graph", "dwarf,16384"];
    let rest = ["--output", &data_name, "--", &trunkline, "bench", scenario];
    Program::new("perf", &[&record[..], &rest[..]].concat()).with(extra).run()?;
    let graph = folder.join(format!("{name}.svg"));
    let title = [&[format!("trunkline bench {scenario}")], extra].concat().join(" ");
    draw(&title, &tools.join("bin"), &data, &graph)?;
    // It is large, and drawn now.
    fs::remove_file(&data).map_err(|error| not_written(&data, &error))?;
    println!("flame: {}", graph.display());
    Ok(())
}

/// What the files of a graph are called: the scenario, and with what options it was made. For how long
/// it ran, and where, makes no other graph.
fn name(scenario: &str, extra: &[String]) -> String {
    let mut name = scenario.to_owned();
    let pieces = |part: &String| if part.starts_with("--") { 2 } else { 1 };
    let mut parts = extra.iter().flat_map(|part| part.splitn(pieces(part), '='));
    while let Some(part) = parts.next() {
        if ASIDE.contains(&part) {
            parts.next();
            continue;
        }
        let plain = |it: char| if it.is_ascii_alphanumeric() { it } else { '-' };
        let plain: String = part.chars().map(plain).collect();
        name = format!("{name}-{}", plain.trim_start_matches('-'));
    }
    name
}

/// What there is to say where no samples can be taken, which is passed over but in `CI`.
fn without_samples(why: &str, in_ci: bool) -> Result<(), Failure> {
    if in_ci {
        return Err(Failure::new(format!(
            "{why}; with CI set nothing is skipped: install perf and let it take samples \
             (kernel.perf_event_paranoid), or unset CI to go on without a graph"
        )));
    }
    eprintln!("flame: skipped: {why}");
    Ok(())
}

/// Whether samples can be taken here, and why not.
fn may_sample(probe: &Path) -> Result<(), String> {
    let mut command = Command::new("perf");
    command.arg("record").arg("--quiet").arg("--output").arg(probe).args(["--", "true"]);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("perf cannot be started: {error}"))?;
    // Left behind it harms nobody.
    let _ = fs::remove_file(probe);
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    Err(format!("perf may not take samples here; it said: {}", first.trim()))
}

fn draw(title: &str, tools: &Path, data: &Path, graph: &Path) -> Result<(), Failure> {
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "--input"]).arg(data);
    let stacks = graph.with_extension("stacks");
    written(&mut script, &stacks)?;
    let mut collapse = Command::new(tools.join("inferno-collapse-perf"));
    let folded = graph.with_extension("folded");
    written(collapse.arg(&stacks), &folded)?;
    let mut draw = Command::new(tools.join("inferno-flamegraph"));
    draw.args(["--title", title]);
    draw.args(["--minwidth", NARROWEST]).arg(&folded);
    written(&mut draw, graph)?;
    fs::remove_file(&stacks).map_err(|error| not_written(&stacks, &error))
}

/// Runs a program and keeps what it prints in a file.
fn written(command: &mut Command, path: &Path) -> Result<(), Failure> {
    let out = File::create(path).map_err(|error| not_written(path, &error))?;
    let name = command.get_program().to_string_lossy().into_owned();
    let ended = command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).status();
    match ended {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => Err(Failure::new(format!("{name}: {ended}"))),
        Err(error) => Err(Failure::new(format!("{name} cannot be started: {error}"))),
    }
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_samples_only_ci_fails_and_says_why() {
        assert!(without_samples("perf is away", false).is_ok());
        let failure = without_samples("perf is away", true).unwrap_err();
        assert!(failure.message.starts_with("perf is away; with CI set"), "{}", failure.message);
    }

    #[test]
    fn a_graph_is_called_by_what_it_was_made_of() {
        let named = |extra: &[&str]| {
            let extra: Vec<String> = extra.iter().map(|&part| part.to_owned()).collect();
            name("request", &extra)
        };
        assert_eq!(named(&[]), "request");
        assert_eq!(named(&["--seconds", "2", "--in-flight", "64"]), "request-in-flight-64");
        assert_eq!(named(&["--transport=grpc", "--seconds=2"]), "request-transport-grpc");
        assert_eq!(named(&["--tuned", "--set", "log.x=1"]), "request-tuned-set-log-x-1");
    }

    #[test]
    fn what_a_program_prints_is_kept_and_its_failure_is_told() {
        let path = env::temp_dir().join(format!("xtask-flame-{}", std::process::id()));
        written(Command::new("sh").args(["-c", "echo one"]), &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        let failure = written(Command::new("sh").args(["-c", "exit 3"]), &path).unwrap_err();
        assert!(failure.message.starts_with("sh: exit status: 3"), "{}", failure.message);
        fs::remove_file(&path).unwrap();
    }
}
