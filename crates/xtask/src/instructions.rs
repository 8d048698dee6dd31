//! What a message costs in the engine, counted rather than timed: the instructions and allocations
//! of the plain cycle and of a durable request with its reply, against figures that are kept beside
//! this crate for each compiler that they were made with.
//!
//! Owns the count and the judgement; the cycles are an example of the engine. Only what the
//! program itself executes is counted, and how often it allocates: what the system's allocator and
//! its copying of memory take differs from machine to machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs};

use crate::failure::Failure;
use crate::project;
use crate::run::Program;

/// Builds the cycle, with the features of the engine that users get.
pub(crate) const BUILD: [&str; 7] =
    ["build", "--release", "--locked", "-p", "trunkline-engine", "--example", "cycle"];

/// How many messages are counted. As many go before them, so that what a start takes, and tables
/// that grow, are left out.
const MESSAGES: u32 = 5000;

/// By how many percent a figure may be above the kept one.
const TOLERANCE: f64 = 5.0;

/// How to keep the figures of this tree, after a change that is worth its price.
const UPDATE: &str = "cargo xtask instructions --update";

/// How the system's allocator is asked for memory.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What some run took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Taken {
    instructions: u64,
    allocations: u64,
}

/// The cycles that are counted, as the example calls them.
const CYCLES: [&str; 2] = ["event", "request"];

/// What one message of a cycle takes, and by which compiler's work.
#[derive(Clone, PartialEq, Debug)]
struct Figures {
    cycle: String,
    instructions: f64,
    allocations: f64,
    rustc: String,
}

/// How the figures of a tree stand to the kept ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Neither is much more.
    Within,
    /// Both are no more, and one is much less.
    Better,
    /// One is much more.
    Worse,
}

/// Counts what a message takes and compares it with what is kept, or keeps it.
///
/// # Errors
/// When a cycle does not build or run, or takes more than the tolerance above what is kept; with `CI`
/// set, where nothing is passed over, also when this is another platform than the kept figures are of,
/// there is no valgrind, or nothing is kept of this compiler.
pub(crate) fn run(update: bool) -> Result<(), Failure> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return elsewhere(in_ci());
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return without_valgrind(in_ci());
    }
    // Incremental builds cut the engine into more units, whose calls into each other count.
    Program::cargo(&BUILD).env("CARGO_INCREMENTAL", "0").run()?;
    let now = CYCLES.into_iter().map(measure).collect::<Result<Vec<_>, _>>()?;
    let mut kept = kept()?;
    if update {
        let replaced = |it: &Figures| now.iter().any(|new| it.is_of_what(new));
        kept.retain(|it| !replaced(it));
        for figures in &now {
            println!("instructions: kept {figures}");
        }
        kept.extend(now);
        let path = kept_path();
        return fs::write(&path, to_text(&kept)).map_err(|error| not_read(&path, &error));
    }
    now.iter().try_for_each(|now| judge(&kept, now, in_ci()))
}

/// Whether nothing may be passed over.
fn in_ci() -> bool {
    env::var_os("CI").is_some()
}

/// What there is to say on another platform than the kept figures are of, which is passed over but in
/// `CI`.
fn elsewhere(in_ci: bool) -> Result<(), Failure> {
    if in_ci {
        return Err(Failure::new(
            "the kept figures are of x86_64 Linux, which this is not, and with CI set nothing is \
             skipped: nobody would see that messages take more than before; run it there, or unset CI \
             to go on without counting",
        ));
    }
    eprintln!("instructions: skipped: the kept figures are of x86_64 Linux, which this is not");
    Ok(())
}

/// What there is to say where there is no valgrind, which is passed over but in `CI`.
fn without_valgrind(in_ci: bool) -> Result<(), Failure> {
    if in_ci {
        return Err(Failure::new(
            "valgrind is not installed, and with CI set nothing is skipped: nobody would see that \
             messages take more than before; install it (apt-get install valgrind), or, where no \
             package can be had, unset CI to go on without counting",
        ));
    }
    eprintln!("instructions: skipped: valgrind is not installed");
    Ok(())
}

/// Compares figures with those that are kept of the same cycle and compiler.
fn judge(kept: &[Figures], now: &Figures, in_ci: bool) -> Result<(), Failure> {
    let Some(kept) = kept.iter().find(|kept| kept.is_of_what(now)) else {
        return without_kept(now, in_ci);
    };
    println!("instructions: kept {kept}\ninstructions: now  {now}");
    match now.against(kept) {
        Verdict::Within => {}
        Verdict::Better => println!("instructions: less than kept; hold on to it with {UPDATE}"),
        Verdict::Worse => {
            return Err(Failure::new(format!(
                "a message in the engine takes {now}, which is more than {TOLERANCE} % above what \
                 is kept: {kept}; see what the change added to every message, or keep the new \
                 figures with {UPDATE}"
            )));
        }
    }
    Ok(())
}

/// What there is to say where nothing is kept of this compiler, whose figures say little about the
/// tree beside those of another: passed over but in `CI`.
fn without_kept(now: &Figures, in_ci: bool) -> Result<(), Failure> {
    let Figures { cycle, rustc, .. } = now;
    if in_ci {
        return Err(Failure::new(format!(
            "nothing is kept of {cycle} by {rustc}, and with CI set nothing is skipped; on a tree \
             that is known to be good, add its figures with {UPDATE} and commit them"
        )));
    }
    println!("instructions: now  {now}");
    println!("instructions: not judged: nothing is kept of {rustc}; add it with {UPDATE}");
    Ok(())
}

fn measure(cycle: &str) -> Result<Figures, Failure> {
    let program = project::target_dir()?.join("release/examples/cycle");
    let once = count(&program, cycle, MESSAGES)?;
    let twice = count(&program, cycle, 2 * MESSAGES)?;
    let each = |first: u64, both: u64| {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let difference = both.saturating_sub(first) as f64;
        difference / f64::from(MESSAGES)
    };
    Ok(Figures {
        cycle: cycle.to_owned(),
        instructions: each(once.instructions, twice.instructions),
        allocations: each(once.allocations, twice.allocations),
        rustc: project::rustc_version()?,
    })
}

/// Runs a cycle with so many messages and counts.
fn count(program: &Path, cycle: &str, messages: u32) -> Result<Taken, Failure> {
    let profile = program.with_extension(format!("{cycle}.{messages}.callgrind"));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .arg(cycle)
        .arg(messages.to_string());
    project::output_of(&mut command, "valgrind --tool=callgrind")?;
    let bytes = fs::read(&profile).map_err(|error| not_read(&profile, &error))?;
    let taken = sum(&String::from_utf8_lossy(&bytes), &program.to_string_lossy());
    if taken.instructions == 0 {
        return Err(Failure::new(format!("{} tells of no instructions", profile.display())));
    }
    Ok(taken)
}

/// Sums up what the code of one file took, from a profile without abbreviations.
fn sum(profile: &str, program: &str) -> Taken {
    let mut taken = Taken::default();
    let (mut own, mut called, mut inclusive) = (false, "", false);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            own = object == program;
        } else if let Some(function) = line.strip_prefix("cfn=") {
            called = function;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            // What the call took as a whole stands in the next line, and is counted where it is.
            inclusive = true;
            if own && ALLOCATORS.contains(&called) {
                let times = calls.split_whitespace().next();
                taken.allocations += times.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split_whitespace().nth(1);
            if own && !std::mem::take(&mut inclusive) {
                taken.instructions += cost.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
            }
            inclusive = false;
        }
    }
    taken
}

fn kept_path() -> PathBuf {
    project::root().join("crates/xtask/instructions.txt")
}

fn kept() -> Result<Vec<Figures>, Failure> {
    let path = kept_path();
    let text = fs::read_to_string(&path).map_err(|error| not_read(&path, &error))?;
    from_text(&text).ok_or_else(|| {
        Failure::new(format!("{} does not hold the figures; write it: {UPDATE}", path.display()))
    })
}

/// The file of what is kept.
fn to_text(kept: &[Figures]) -> String {
    let head = format!(
        "# What one message of each cycle takes in the engine, outside the system's libraries, by\n\
         # the compiler. `{UPDATE}` writes the figures of the one that is\n\
         # there, which is to be done on purpose.\n"
    );
    kept.iter().fold(head, |text, figures| text + &format!("{figures}\n"))
}

/// What is kept in the file; `None` if a line of it is something else.
fn from_text(text: &str) -> Option<Vec<Figures>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(Figures::from_line).collect()
}

fn not_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

impl Figures {
    /// Whether others are of the same cycle by the same compiler.
    fn is_of_what(&self, other: &Self) -> bool {
        self.cycle == other.cycle && self.rustc == other.rustc
    }

    /// How these stand to the kept ones.
    fn against(&self, kept: &Self) -> Verdict {
        let percent = |now: f64, kept: f64| (now - kept) * 100.0 / kept.max(f64::MIN_POSITIVE);
        let more = [
            percent(self.instructions, kept.instructions),
            percent(self.allocations, kept.allocations),
        ];
        if more.iter().any(|&it| it > TOLERANCE) {
            Verdict::Worse
        } else if more.iter().any(|&it| it < -TOLERANCE) && more.iter().all(|&it| it <= 0.0) {
            Verdict::Better
        } else {
            Verdict::Within
        }
    }

    /// Reads what [`fmt::Display`] wrote.
    fn from_line(line: &str) -> Option<Self> {
        let (cycle, rest) = line.split_once(": ")?;
        let (instructions, rest) = rest.split_once(" instructions, ")?;
        let (allocations, rustc) = rest.split_once(" allocations by ")?;
        Some(Self {
            cycle: cycle.to_owned(),
            instructions: instructions.parse().ok()?,
            allocations: allocations.parse().ok()?,
            rustc: rustc.trim().to_owned(),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cycle, instructions, allocations, rustc } = self;
        write!(
            f,
            "{cycle}: {instructions:.1} instructions, {allocations:.3} allocations by {rustc}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(instructions: f64, allocations: f64) -> Figures {
        let (cycle, rustc) = ("event".to_owned(), "rustc 1".to_owned());
        Figures { cycle, instructions, allocations, rustc }
    }

    #[test]
    fn only_the_program_s_own_code_is_counted_and_a_call_not_twice() {
        let profile = "events: Ir\n\nob=/lib/libc.so.6\nfn=malloc\n10 500\n\
            ob=/out/cycle\nfn=work\n3 40\ncob=/lib/libc.so.6\ncfn=malloc\ncalls=7 10\n3 500\n\
            fi=other.rs\n5 2\ncfn=help\ncalls=1 9\n5 900\nfn=help\n9 900\n\
            ob=/lib/libc.so.6\nfn=realloc\n1 1\ncfn=malloc\ncalls=3 1\n1 5\ntotals: 1443\n";
        let taken = Taken { instructions: 942, allocations: 7 };
        assert_eq!(sum(profile, "/out/cycle"), taken);
    }

    #[test]
    fn without_valgrind_only_ci_fails_and_says_what_is_missing() {
        assert!(without_valgrind(false).is_ok());
        let failure = without_valgrind(true).unwrap_err();
        assert!(failure.message.starts_with("valgrind is not installed"), "{}", failure.message);
    }

    #[test]
    fn on_another_platform_only_ci_fails_and_says_which_is_meant() {
        assert!(elsewhere(false).is_ok());
        let failure = elsewhere(true).unwrap_err();
        assert!(failure.message.contains("x86_64 Linux"), "{}", failure.message);
    }

    #[test]
    fn more_than_the_tolerance_above_either_figure_is_worse() {
        let kept = figures(1000.0, 2.0);
        for (now, verdict) in [
            (figures(1049.0, 2.0), Verdict::Within),
            (figures(951.0, 2.0), Verdict::Within),
            (figures(1051.0, 2.0), Verdict::Worse),
            (figures(900.0, 2.2), Verdict::Worse),
            (figures(900.0, 2.01), Verdict::Within),
            (figures(900.0, 2.0), Verdict::Better),
        ] {
            assert_eq!(now.against(&kept), verdict, "{now}");
            let judged = judge(std::slice::from_ref(&kept), &now, true);
            assert_eq!(judged.is_err(), verdict == Verdict::Worse);
        }
    }

    #[test]
    fn each_compiler_has_figures_of_its_own_and_without_them_only_ci_fails() {
        let other = Figures { rustc: "rustc 2".to_owned(), ..figures(2000.0, 9.0) };
        let kept = [figures(1000.0, 2.0), other.clone()];
        assert!(judge(&kept, &other, true).is_ok());
        for unknown in [
            Figures { rustc: "rustc 3".to_owned(), ..figures(1000.0, 2.0) },
            Figures { cycle: "request".to_owned(), ..figures(1000.0, 2.0) },
        ] {
            assert!(judge(&kept, &unknown, false).is_ok());
            let failure = judge(&kept, &unknown, true).unwrap_err();
            assert!(failure.message.starts_with("nothing is kept of "), "{}", failure.message);
        }
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let kept = vec![figures(1234.5, 1.125), figures(7.0, 0.0)];
        assert_eq!(from_text(&to_text(&kept)), Some(kept));
        assert_eq!(from_text("event: many instructions, 1 allocations by rustc 1"), None);
        kept_figures_can_be_read();
    }

    fn kept_figures_can_be_read() {
        let kept = kept().unwrap();
        for cycle in CYCLES {
            let found = kept.iter().find(|it| it.cycle == cycle).unwrap();
            assert!(found.instructions > 0.0 && found.rustc.starts_with("rustc "), "{found}");
        }
    }
}
