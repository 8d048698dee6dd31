"""The command `trunkline`, and `python -m trunkline`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import conftest
import pytest
import trunkline

if TYPE_CHECKING:
    Ran = subprocess.CompletedProcess[str]

# What an installer makes of the entry point.
LAUNCHER = f"""#!{sys.executable}
import sys
from trunkline.__main__ import main
if __name__ == "__main__":
    sys.exit(main())
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def alone(folder: Path) -> dict[str, str]:
    """An environment in which the package has no binary beside its modules."""
    package, own = Path(trunkline.__file__).parent, folder / "alone/trunkline"
    own.mkdir(parents=True)
    for part in package.iterdir():
        if part.name != "trunkline":
            (own / part.name).symlink_to(part)
    environment = {**os.environ, "PYTHONPATH": str(own.parent)}
    environment.pop("TRUNKLINE_BINARY", None)
    return environment


def ran(
    command: list[str],
    *path: Path,
    named: str | None = None,
    environment: dict[str, str] | None = None,
) -> Ran:
    environment = {**(environment or os.environ), "PATH": os.pathsep.join(map(str, path))}
    environment.pop("TRUNKLINE_BINARY", None)
    if named is not None:
        environment["TRUNKLINE_BINARY"] = named
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


MODULE = [sys.executable, "-m", "trunkline"]


def test_it_is_the_real_binary() -> None:
    told = ran([*MODULE, "--version"], named=conftest.program)
    straight = ran([conftest.program, "--version"])
    assert (told.returncode, told.stdout) == (0, straight.stdout)
    assert told.stdout.startswith("trunkline ")
    # Its exit code for what it cannot read.
    told = ran([*MODULE, "--nonsense"], named=conftest.program)
    straight = ran([conftest.program, "--nonsense"])
    assert (told.returncode, told.stderr) == (straight.returncode, straight.stderr)
    assert told.returncode != 0


@pytest.mark.parametrize("by", ["module", "launcher"])
def test_it_takes_the_place_of_python_with_every_argument(by: str, folder: Path) -> None:
    launcher = script(folder / "installed/trunkline", LAUNCHER)
    again = script(folder / "again/trunkline", '#!/bin/sh\nexec python3 -m trunkline "$@"\n')
    (folder / "folder/trunkline").mkdir(parents=True)
    (folder / "plain").mkdir()
    (folder / "plain/trunkline").write_text("no program")
    real = script(folder / "real/trunkline", '#!/bin/sh\necho $$ "$#" "$@"\nexit 7\n')
    other = script(folder / "other/trunkline", "#!/bin/sh\nexit 8\n")
    places = [launcher.parent, again.parent, folder / "folder", folder / "plain"]
    path = os.pathsep.join(map(str, [*places, real.parent, other.parent]))
    environment = {**alone(folder), "PATH": path}
    command = [*(MODULE if by == "module" else [str(launcher)]), "serve", "a b", "--", ""]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        said, errors = child.communicate(timeout=30)
    # The same process: what is sent to it as a signal reaches the binary.
    assert (child.returncode, said, errors) == (7, f"{child.pid} 4 serve a b -- \n", "")
    assert ran(MODULE, *places, real.parent, named=str(other)).returncode == 8


def test_where_there_is_none_the_remedy_is_named(folder: Path) -> None:
    launcher = script(folder / "installed/trunkline", LAUNCHER)
    broken = script(folder / "broken", "neither a script nor a binary")
    nothing = ran(MODULE, launcher.parent, environment=alone(folder))
    for told, words in [
        (nothing, ["cargo install --path crates/cli", "TRUNKLINE_BINARY"]),
        (ran(MODULE, named=str(folder / "no")), [f"'{folder / 'no'}'", "no program"]),
        (ran(MODULE, named=str(folder)), ["no program"]),
        (ran(MODULE, named=str(launcher)), ["only looks for the binary itself"]),
        (ran(MODULE, named=str(broken)), [f"'{broken}' cannot be run"]),
    ]:
        assert (told.returncode, told.stdout) == (127, "")
        assert told.stderr.startswith("trunkline: ")
        assert told.stderr.count("\n") == 1
        for word in words:
            assert word in told.stderr


def test_the_demo_in_python_runs_both_examples(folder: Path) -> None:
    (folder / "notes.md").write_text("What agents do with tasks.\n")
    # Wherever the package that is tested lies.
    path = str(Path(trunkline.__file__).parents[1])
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": path}
    done = subprocess.run(
        [conftest.program, "demo", "--python", "--input", str(folder)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "agents: notes.md:1: What agents do with tasks." in done.stdout
    assert "the counts agree" in done.stdout
