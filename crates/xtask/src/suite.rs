//! The tests, in order: what each step needs built, what it runs, and how to run it again.
//!
//! Owns the list of steps; what a test proves is the business of the crate it lies in.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::failure::Failure;
use crate::project;
use crate::run::Program;

/// How often the broker is killed in an ordinary test run.
pub(crate) const KILLS: u32 = 30;

/// How many seeds the simulator plays in an ordinary test run.
const SEEDS: u32 = 1000;

/// How many it plays at most until it catches a planted defect: more, for one that shows late.
const PLANTED_SEEDS: u32 = 5000;

/// Builds what users run. In release, as everything here, so that the dependencies are built once.
pub(crate) const BUILD: [&str; 5] = ["build", "--release", "--locked", "-p", "trunkline-cli"];

/// The build of the binary for what is measured, whatever the environment says: an incremental one
/// takes some 7 % more instructions.
pub(crate) fn build_to_measure() -> Program {
    Program::cargo(&BUILD).env("CARGO_INCREMENTAL", "0")
}

/// Builds the simulator. Not in one call with the binary: cargo would give both the features that
/// either asks for, and what the simulator switches on has no place in what users run.
const BUILD_SIM: [&str; 5] = ["build", "--release", "--locked", "-p", "trunkline-sim"];

/// Runs every test but those in documentation. The examples are tests too, of one program; as
/// programs of their own they are checked by clippy, and linking them here would take minutes.
const TEST: [&str; 5] = ["test", "--workspace", "--release", "--locked", "--tests"];

/// Runs what is written as code in documentation.
const TEST_DOCS: [&str; 5] = ["test", "--workspace", "--release", "--locked", "--doc"];

/// One step of `cargo xtask test`, in the order of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The release binaries
    Build,
    /// Every unit, integration and documentation test of the workspace
    Tests,
    /// What a message takes in the engine: no more than is kept
    Instructions,
    /// The simulator over many seeds: the laws hold
    Sim,
    /// The simulator over planted defects: it catches each of them
    Planted,
    /// The release binary killed under load: nothing accepted is lost
    Torture,
    /// The Python package: built, tested against the release binary, and checked
    Python,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Tests => "tests",
            Self::Instructions => "instructions",
            Self::Sim => "sim",
            Self::Planted => "planted",
            Self::Torture => "torture",
            Self::Python => "python",
        }
    }

    /// What the step runs, binaries built first.
    fn programs(self, target: &Path) -> Vec<Program> {
        // `cargo test` links binaries to the same place, with the features that tests add; a build
        // before each use costs nothing when it is fresh, and puts back what users get.
        let build = || Program::cargo(&BUILD);
        let build_sim = || Program::cargo(&BUILD_SIM);
        let seeds = SEEDS.to_string();
        let sim = |args: &[&str]| Program::new(target.join("release/trunkline-sim"), args);
        match self {
            Self::Build => vec![build(), build_sim()],
            Self::Tests => vec![Program::cargo(&TEST), Program::cargo(&TEST_DOCS)],
            Self::Instructions => vec![Program::cargo(&["xtask", "instructions"])],
            Self::Sim => {
                let days = ["--hours", "24", "--seeds", "3"];
                vec![build_sim(), sim(&["--seeds", &seeds]), sim(&days)]
            }
            Self::Planted => {
                let seeds = PLANTED_SEEDS.to_string();
                vec![build_sim(), sim(&["--planted", "--seeds", &seeds])]
            }
            Self::Torture => vec![build(), torture_program(target, KILLS)],
            Self::Python => vec![Program::cargo(&["xtask", "python"])],
        }
    }

    fn run(self, target: &Path) -> Result<Duration, Failure> {
        println!("\n== test step: {} ==", self.name());
        let start = Instant::now();
        for program in self.programs(target) {
            println!("-- {program}");
            program.run().map_err(|failure| Failure {
                message: format!(
                    "step {} failed after {:.1} s: {}\nrun only this step again: cargo xtask test --only {}",
                    self.name(),
                    start.elapsed().as_secs_f64(),
                    failure.message,
                    self.name(),
                ),
                code: failure.code,
            })?;
        }
        let elapsed = start.elapsed();
        println!("== test step: {}: passed in {:.1} s ==", self.name(), elapsed.as_secs_f64());
        Ok(elapsed)
    }
}

/// Runs every step up to the first that fails.
///
/// # Errors
/// When a step fails: with its exit code, and how to run it alone.
pub(crate) fn all() -> Result<(), Failure> {
    let target = project::target_dir()?;
    let steps = Step::value_variants();
    let times = steps.iter().map(|step| step.run(&target)).collect::<Result<Vec<_>, _>>()?;
    println!("\nall {} test steps passed", steps.len());
    for (step, time) in steps.iter().zip(&times) {
        println!("  {:<12} {:>7.1} s", step.name(), time.as_secs_f64());
    }
    println!("  {:<12} {:>7.1} s", "total", times.iter().sum::<Duration>().as_secs_f64());
    Ok(())
}

/// Runs one step, with whatever it needs built.
///
/// # Errors
/// When the step fails: with its exit code.
pub(crate) fn one(step: Step) -> Result<(), Failure> {
    step.run(&project::target_dir()?).map(drop)
}

/// Prints the steps and their commands.
///
/// # Errors
/// When cargo does not say where builds go.
pub(crate) fn list() -> Result<(), Failure> {
    let target = project::target_dir()?;
    for step in Step::value_variants() {
        let programs: Vec<String> = step.programs(&target).iter().map(Program::to_string).collect();
        println!("{:<12} {}", step.name(), programs.join(" && "));
    }
    Ok(())
}

/// Kills the release binary `kills` times under load, with further arguments passed on.
///
/// # Errors
/// When the build or the run fails: with its exit code.
pub(crate) fn torture(kills: u32, extra: &[String]) -> Result<(), Failure> {
    let target = project::target_dir()?;
    Program::cargo(&BUILD).run()?;
    torture_program(&target, kills).with(extra).run()
}

fn torture_program(target: &Path, kills: u32) -> Program {
    Program::new(target.join("release/trunkline"), &["torture", "--kills", &kills.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_what_the_command_line_takes() {
        for step in Step::value_variants() {
            assert_eq!(Step::from_str(step.name(), false).as_ref(), Ok(step));
        }
    }

    #[test]
    fn a_step_that_runs_a_binary_builds_it_first() {
        let steps = [(Step::Sim, &BUILD_SIM), (Step::Planted, &BUILD_SIM), (Step::Torture, &BUILD)];
        for (step, build) in steps {
            let programs = step.programs(Path::new("out"));
            assert!(programs.len() > 1, "{}", step.name());
            assert!(programs[0].to_string().ends_with(&build.join(" ")), "{}", programs[0]);
        }
    }

    #[test]
    fn torture_passes_further_arguments_on() {
        let extra = ["--seed".to_owned(), "4".to_owned()];
        let program = torture_program(Path::new("out"), 9).with(&extra);
        assert_eq!(program.to_string(), "trunkline torture --kills 9 --seed 4");
    }
}
