//! Says which commit the binary is built from, for `--version` and the reports of `bench`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What moves when another commit is checked out or made: the head itself, the list of where it
/// was, and branches that are packed away.
const MOVES: [&str; 3] = ["HEAD", "logs/HEAD", "packed-refs"];

/// Crates that are no part of the binary.
const APART: [&str; 2] = ["sim", "xtask"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let root = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let commit = commit(&root);
    println!("cargo::rustc-env=BUILT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let version = match commit {
        Some(commit) => {
            let branch = git(&root, &["symbolic-ref", "--quiet", "HEAD"]);
            let moves = MOVES.into_iter().chain(branch.as_deref());
            let places = moves.filter_map(|name| git(&root, &["rev-parse", "--git-path", name]));
            // One that is not there would have the binary built again each time.
            let places = places.map(|place| root.join(place)).filter(|place| place.exists());
            // Whatever else the binary is made of has it built again by itself; this keeps the
            // mark of changed files true.
            for place in places.chain(sources(&root)) {
                println!("cargo::rerun-if-changed={}", place.display());
            }
            format!("{version} ({commit})")
        }
        None => version,
    };
    // Cargo hands it to what it runs as well, and what begins with the binary's own name is a setting
    // there.
    println!("cargo::rustc-env=BUILT_VERSION={version}");
}

/// The short hash of the commit that is checked out at `root`, with a mark if files of it have
/// been changed since. `None` if there is no git, or `root` is no checkout of its own: source that
/// was unpacked within somebody's repository is not of its commits.
pub(crate) fn commit(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    let same = |path: PathBuf| fs::canonicalize(path).ok();
    if same(PathBuf::from(top))? != same(root.to_path_buf())? {
        return None;
    }
    let hash = git(root, &["rev-parse", "--short", "HEAD"])?;
    let changed = git(root, &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { hash } else { format!("{hash}-dirty") })
}

/// The sources that the binary is made of.
fn sources(root: &Path) -> impl Iterator<Item = PathBuf> {
    let crates = fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    let parts = crates.filter(|found| !APART.iter().any(|apart| found.file_name() == *apart));
    parts.map(|found| found.path().join("src")).filter(|source| source.exists())
}

/// What a command of git says, in one piece; `None` if it is refused.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    // Looking at a checkout is no reason to write to its index.
    let mut command = Command::new("git");
    let output = command.arg("--no-optional-locks").args(args).current_dir(root).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
