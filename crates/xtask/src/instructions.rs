//! What a message costs in the engine, counted rather than timed: the instructions and allocations
//! of the plain cycle, against figures that are kept beside this crate.
//!
//! Owns the count and the judgement; the cycle itself is an example of the engine. Only what the
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

/// What one message takes, and by which compiler's work.
#[derive(Clone, PartialEq, Debug)]
struct Figures {
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
    /// Another compiler made them, so that they say little about the tree.
    OtherCompiler,
}

/// Counts what a message takes and compares it with what is kept, or keeps it.
///
/// # Errors
/// When the cycle does not build or run, or takes more than the tolerance above what is kept; with
/// `CI` set, where nothing is passed over, also when there is no valgrind.
pub(crate) fn run(update: bool) -> Result<(), Failure> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("instructions: skipped: the kept figures are of x86_64 Linux");
        return Ok(());
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return without_valgrind(env::var_os("CI").is_some());
    }
    // Incremental builds cut the engine into more units, whose calls into each other count.
    Program::cargo(&BUILD).env("CARGO_INCREMENTAL", "0").run()?;
    let now = measure()?;
    if update {
        let path = kept_path();
        fs::write(&path, now.to_text()).map_err(|error| not_read(&path, &error))?;
        println!("instructions: kept {now}");
        return Ok(());
    }
    let kept = kept()?;
    println!("instructions: kept {kept}\ninstructions: now  {now}");
    judge(&kept, &now)
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
    println!("instructions: skipped: valgrind is not installed");
    Ok(())
}

fn judge(kept: &Figures, now: &Figures) -> Result<(), Failure> {
    match now.against(kept) {
        Verdict::Within => {}
        Verdict::Better => println!("instructions: less than kept; hold on to it with {UPDATE}"),
        Verdict::OtherCompiler => {
            println!("instructions: not judged: another compiler made the kept ones; {UPDATE}");
        }
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

fn measure() -> Result<Figures, Failure> {
    let program = project::target_dir()?.join("release/examples/cycle");
    let once = count(&program, MESSAGES)?;
    let twice = count(&program, 2 * MESSAGES)?;
    let each = |first: u64, both: u64| {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let difference = both.saturating_sub(first) as f64;
        difference / f64::from(MESSAGES)
    };
    Ok(Figures {
        instructions: each(once.instructions, twice.instructions),
        allocations: each(once.allocations, twice.allocations),
        rustc: project::rustc_version()?,
    })
}

/// Runs the cycle with so many messages and counts.
fn count(program: &Path, messages: u32) -> Result<Taken, Failure> {
    let profile = program.with_extension(format!("{messages}.callgrind"));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
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

fn kept() -> Result<Figures, Failure> {
    let path = kept_path();
    let text = fs::read_to_string(&path).map_err(|error| not_read(&path, &error))?;
    Figures::from_text(&text).ok_or_else(|| {
        Failure::new(format!("{} does not hold the figures; write it: {UPDATE}", path.display()))
    })
}

fn not_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

impl Figures {
    /// How these stand to the kept ones.
    fn against(&self, kept: &Self) -> Verdict {
        let percent = |now: f64, kept: f64| (now - kept) * 100.0 / kept.max(f64::MIN_POSITIVE);
        let more = [
            percent(self.instructions, kept.instructions),
            percent(self.allocations, kept.allocations),
        ];
        if self.rustc != kept.rustc {
            Verdict::OtherCompiler
        } else if more.iter().any(|&it| it > TOLERANCE) {
            Verdict::Worse
        } else if more.iter().any(|&it| it < -TOLERANCE) && more.iter().all(|&it| it <= 0.0) {
            Verdict::Better
        } else {
            Verdict::Within
        }
    }

    fn to_text(&self) -> String {
        format!(
            "# What one plain message takes in the engine, outside the system's libraries.\n\
             # Written by `{UPDATE}`, which is to be done on purpose.\n\
             instructions {:.1}\nallocations {:.3}\nrustc {}\n",
            self.instructions, self.allocations, self.rustc
        )
    }

    fn from_text(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::trim))
        };
        Some(Self {
            instructions: value("instructions")?.parse().ok()?,
            allocations: value("allocations")?.parse().ok()?,
            rustc: value("rustc")?.to_owned(),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instructions, allocations, rustc } = self;
        write!(
            f,
            "{instructions:.1} instructions, {allocations:.3} allocations a message ({rustc})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(instructions: f64, allocations: f64) -> Figures {
        Figures { instructions, allocations, rustc: "rustc 1".to_owned() }
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
            assert_eq!(judge(&kept, &now).is_err(), verdict == Verdict::Worse);
        }
        let other = Figures { rustc: "rustc 2".to_owned(), ..figures(2000.0, 9.0) };
        assert_eq!(other.against(&kept), Verdict::OtherCompiler);
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let kept = figures(1234.5, 1.125);
        assert_eq!(Figures::from_text(&kept.to_text()), Some(kept));
        assert_eq!(Figures::from_text("instructions many\nallocations 1\nrustc 1"), None);
        kept_figures_can_be_read();
    }

    fn kept_figures_can_be_read() {
        let kept = kept().unwrap();
        assert!(kept.instructions > 0.0 && kept.rustc.starts_with("rustc "), "{kept}");
    }
}
