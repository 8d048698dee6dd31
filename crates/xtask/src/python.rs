//! The Python package: built into a virtual environment of its own, tested there, and checked.
//!
//! Owns the environment and the order of the steps; the package, its tests and what they want lie
//! in `clients/python`, a workspace of its own that `maturin` builds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::failure::Failure;
use crate::project;
use crate::run::Program;
use crate::suite;

/// Where the package lies.
const PACKAGE: &str = "clients/python";
/// What measures the package beside others; its types are checked with the package's.
const BENCHMARKS: &str = "benchmarks/python";

/// Where the binary lies in the package, for the command that it installs.
const BINARY: &str = "clients/python/python/trunkline/trunkline";

/// That the binary came along with the wheel, and runs.
const BUNDLED: &str = "import pathlib, subprocess, trunkline; \
    binary = pathlib.Path(trunkline.__file__).with_name('trunkline'); \
    subprocess.run([binary, '--version'], check=True)";

/// What is asked of an interpreter.
const QUESTION: &str = "import sys; print(sys.implementation.name, *sys.version_info[:2])";

/// The oldest version that the wheel serves.
const OLDEST: Version = (3, 10);

/// From this version on tasks of `asyncio` can begin at once, and handlers do.
const AT_ONCE: Version = (3, 12);

/// The first two numbers of a version of Python.
type Version = (u32, u32);

/// Names under which an interpreter may be found, besides `$PYTHON`.
const NAMES: [&str; 7] =
    ["python3", "python", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

/// Builds the wheel, installs it into a virtual environment, and runs everything that checks it.
/// Without an interpreter, or where no registry can be reached, it says so and does nothing.
///
/// # Errors
/// When a step fails: with its exit code. With `CI` set, also when something is missing.
pub(crate) fn run() -> Result<(), Failure> {
    let target = project::target_dir()?;
    let out = target.join("python");
    let Some((interpreter, version)) = interpreter(OLDEST) else {
        return skip("there is no CPython of 3.10 or newer; name one in PYTHON");
    };
    let Some(tools) = environment(&interpreter, &out.join("environment"))? else {
        return skip("what it needs cannot be had from the registry of Python packages");
    };
    Program::cargo(&suite::BUILD).run()?;
    bundle(&target)?;
    let built = build(&tools, &out, &target);
    // Left there, it would get into later wheels long after it was built.
    let removed = fs::remove_file(project::root().join(BINARY));
    removed.map_err(|error| Failure::new(format!("{BINARY}: {error}")))?;
    let wheel = built?;
    let wheel = wheel.to_string_lossy();
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", &wheel];
    let python = tools.join("python");
    step(&Program::new(&python, &install))?;
    for program in checks(&tools, &target) {
        step(&program)?;
    }
    if version < AT_ONCE { test_at_once(&out, &wheel, &target) } else { Ok(()) }
}

/// Has the tests run once more where handlers begin at once, which they do from another version of
/// Python on.
fn test_at_once(out: &Path, wheel: &str, target: &Path) -> Result<(), Failure> {
    let Some((interpreter, _)) = interpreter(AT_ONCE) else {
        println!("skipped: there is no CPython of 3.12 or newer, where handlers begin at once");
        return Ok(());
    };
    let Some(tools) = environment(&interpreter, &out.join("environment-at-once"))? else {
        println!("skipped: no environment for {}", interpreter.to_string_lossy());
        return Ok(());
    };
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel];
    step(&Program::new(tools.join("python"), &install))?;
    step(&tests(&tools, target))
}

fn step(program: &Program) -> Result<(), Failure> {
    println!("-- {program}");
    program.run()
}

/// Puts the binary where the wheel takes it from, without what only a debugger reads.
fn bundle(target: &Path) -> Result<(), Failure> {
    let (from, to) = (target.join("release/trunkline"), project::root().join(BINARY));
    let stripped =
        Command::new("strip").arg("-o").args([&to, &from]).stderr(Stdio::null()).status();
    if stripped.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    // Without the program for that it is only larger.
    let copied = fs::copy(&from, &to);
    copied.map(|_bytes| ()).map_err(|error| Failure::new(format!("{}: {error}", from.display())))
}

/// Builds the wheel, and nothing else into its folder.
fn build(tools: &Path, out: &Path, target: &Path) -> Result<PathBuf, Failure> {
    let wheels = out.join("wheels");
    if wheels.exists() {
        let emptied = fs::remove_dir_all(&wheels);
        emptied.map_err(|error| Failure::new(format!("{}: {error}", wheels.display())))?;
    }
    let manifest = format!("{PACKAGE}/Cargo.toml");
    let (shown, python) = (wheels.to_string_lossy(), tools.join("python"));
    let (python, target) = (python.to_string_lossy(), target.to_string_lossy());
    let arguments = [
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--manifest-path",
        &manifest,
        "--interpreter",
        &python,
        "--target-dir",
        &target,
        "--out",
        &shown,
    ];
    step(&Program::new(tools.join("maturin"), &arguments))?;
    let built = fs::read_dir(&wheels).ok().and_then(|mut files| files.next());
    let built = built.and_then(Result::ok).map(|file| file.path());
    built.ok_or_else(|| Failure::new(format!("maturin left no wheel in {shown}")))
}

/// What the package has to pass, once it is installed.
fn checks(tools: &Path, target: &Path) -> Vec<Program> {
    let tool = |name: &str, arguments: &[&str]| Program::new(tools.join(name), arguments);
    let manifest = format!("{PACKAGE}/Cargo.toml");
    let tests = tests(tools, target);
    let python = tools.join("python");
    let (python, target) = (python.to_string_lossy(), target.to_string_lossy());
    let clippy = [
        "clippy",
        "--quiet",
        "--release",
        "--locked",
        "--manifest-path",
        &manifest,
        "--target-dir",
    ];
    let target = [target.into_owned()];
    let clippy = Program::cargo(&clippy).with(&target);
    // What needs no interpreter.
    let alone = ["test", "--release", "--locked", "--manifest-path", &manifest, "--target-dir"];
    let alone = Program::cargo(&alone).with(&target);
    let denied = ["--", "-D", "warnings"].map(ToOwned::to_owned);
    vec![
        tool("python", &["-c", BUNDLED]),
        tests,
        alone,
        tool("pyright", &["--project", PACKAGE, "--pythonpath", &python]),
        tool("ruff", &["check", PACKAGE, BENCHMARKS]),
        tool("ruff", &["format", "--check", PACKAGE, BENCHMARKS]),
        Program::cargo(&["fmt", "--check", "--manifest-path", &manifest]),
        clippy.with(&denied),
    ]
}

/// The tests of the package that is installed.
fn tests(tools: &Path, target: &Path) -> Program {
    let settings = format!("{PACKAGE}/pyproject.toml");
    let tests = format!("{PACKAGE}/tests");
    let program = format!("--program={}/release/trunkline", target.to_string_lossy());
    let arguments = ["-m", "pytest", "-c", &settings, "--rootdir", PACKAGE, &tests, &program];
    Program::new(tools.join("python"), &arguments)
}

/// The first interpreter of at least this version, and its version. Besides the `PATH` those count
/// that pyenv has, which the `PATH` need not name.
fn interpreter(least: Version) -> Option<(OsString, Version)> {
    let named = env::var_os("PYTHON");
    let names = NAMES.iter().map(OsString::from);
    named.into_iter().chain(names).chain(of_pyenv()).find_map(|name| {
        let answer = Command::new(&name).args(["-c", QUESTION]).stderr(Stdio::null()).output();
        let version = version(&String::from_utf8_lossy(&answer.ok()?.stdout))?;
        (version >= least).then_some((name, version))
    })
}

/// The interpreters that pyenv has.
fn of_pyenv() -> Vec<OsString> {
    let home = || env::home_dir().map(|home| home.join(".pyenv"));
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(home);
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let versions = versions.into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = versions.map(|it| it.path().join("bin/python3").into()).collect();
    found.sort();
    found
}

/// The version of an interpreter, as it says; `None` for another one than `CPython`.
fn version(said: &str) -> Option<Version> {
    let mut words = said.split_whitespace();
    let name = words.next();
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
    number().zip(number()).filter(|_| name == Some("cpython"))
}

/// The folder with the programs of the virtual environment, made if it is not there or was made for
/// something else. `None` if what it needs cannot be had.
fn environment(interpreter: &OsString, folder: &Path) -> Result<Option<PathBuf>, Failure> {
    let requirements = format!("{PACKAGE}/requirements.txt");
    let wanted = fs::read_to_string(project::root().join(&requirements))
        .map_err(|error| Failure::new(format!("{requirements}: {error}")))?;
    let wanted = format!("{}\n{wanted}", interpreter.to_string_lossy());
    let stamp = folder.with_extension("made");
    let tools = folder.join("bin");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(Some(tools));
    }
    let shown = folder.to_string_lossy();
    step(&Program::new(interpreter.clone(), &["-m", "venv", "--clear", &shown]))?;
    let install = ["-m", "pip", "install", "--quiet", "--requirement", &requirements];
    if let Err(failure) = step(&Program::new(tools.join("python"), &install)) {
        println!("{}", failure.message);
        return Ok(None);
    }
    fs::write(&stamp, wanted)
        .map_err(|error| Failure::new(format!("{}: {error}", stamp.display())))?;
    Ok(Some(tools))
}

/// Says that nothing was checked and why, which is a failure with `CI` set.
fn skip(why: &str) -> Result<(), Failure> {
    if env::var_os("CI").is_some() {
        return Err(Failure::new(format!("the Python package is not checked: {why}")));
    }
    println!("skipped: the Python package is not checked: {why}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_says_its_version_if_it_is_cpython() {
        for (said, known) in [
            ("cpython 3 10\n", Some((3, 10))),
            ("cpython 4 0\n", Some((4, 0))),
            ("pypy 3 11\n", None),
            ("", None),
            ("cpython three", None),
        ] {
            assert_eq!(version(said), known, "{said:?}");
        }
        assert!((3, 9) < OLDEST && OLDEST < AT_ONCE);
    }

    #[test]
    fn every_check_is_of_the_package() {
        for program in checks(Path::new("tools"), Path::new("target")) {
            let program = program.to_string();
            assert!(program.contains(PACKAGE) || program.contains(BUNDLED), "{program}");
        }
    }
}
