"""`python -m trunkline` and the command `trunkline`: the Rust binary, wherever it lies.

It is looked for by the environment variable `TRUNKLINE_BINARY`, then beside these modules, then on
the `PATH`; it takes the place of this process.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

NAMED = "TRUNKLINE_BINARY"

_NOT_FOUND = 127
"""The exit code of shells for a command that is not there."""

_HEAD = 4096
"""How many bytes of a script are looked at; those that installers make are shorter."""


def main() -> int:
    """Becomes the binary; the exit code if there is none."""
    try:
        binary = found()
        _become(binary)
    except OSError as error:
        sys.stderr.write(f"trunkline: {error}\n")
    return _NOT_FOUND


def found() -> Path:
    """Where the binary lies.

    Raises:
        FileNotFoundError: There is none.
    """
    named = os.environ.get(NAMED)
    if named:
        binary = Path(named)
        if not _is_program(binary):
            raise FileNotFoundError(f"{NAMED} is '{named}', which is no program that can be run")
        if _starts_this(binary):
            raise FileNotFoundError(
                f"{NAMED} is '{named}', which only looks for the binary itself; name the binary"
            )
        return binary
    folders = [Path(__file__).parent, *map(Path, os.get_exec_path())]
    for folder in folders:
        binary = folder / "trunkline"
        if _is_program(binary) and not _starts_this(binary):
            return binary
    raise FileNotFoundError(
        f"the binary is neither beside {Path(__file__).parent} nor on the PATH; build it with "
        "`cargo install --path crates/cli` in a checkout of Trunkline, or say where it lies in "
        f"{NAMED}"
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _starts_this(path: Path) -> bool:
    """Whether it is a script that would only come here again."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        # It can be run though not read, as no script can.
        return False
    ours = b"trunkline.__main__", b"-m trunkline"
    return head.startswith(b"#!") and any(word in head for word in ours)


def _become(binary: Path) -> None:
    # Python ignores these, and what takes its place would go on to.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execv(binary, [str(binary), *sys.argv[1:]])
    except OSError as error:
        raise OSError(f"'{binary}' cannot be run: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
