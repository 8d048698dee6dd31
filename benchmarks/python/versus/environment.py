"""What is there to be compared: the package, the binary, the rivals; and how the rivals are had.

The packages of the rivals are installed into a virtual environment of their own, Redis by `apt-get`
where that is allowed. What cannot be had is told, and its rows have no figures of the rival.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .places import REQUIREMENTS
from .rows import WAYS

_PACKAGES = {
    "nats": ("nats", "nats-py"),
    "jetstream": ("nats", "nats-py"),
    "jetstream-memory": ("nats", "nats-py"),
    "autogen": ("autogen_ext.runtimes.grpc", "autogen-core"),
    "celery": ("celery", "celery"),
    "celery-durable": ("celery", "celery"),
}
"""For each rival that is a package: the module that has to be there, and the package's name."""

_PROGRAMS = {
    "nats": "nats-server",
    "jetstream": "nats-server",
    "jetstream-memory": "nats-server",
    "celery": "redis-server",
    "celery-durable": "redis-server",
}

_ASK_MODULE = """
import importlib, importlib.metadata, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(importlib.metadata.version(sys.argv[2])))
"""

_ASK_PACKAGE = """
import json, sys, trunkline
try:
    import orjson
except ImportError:
    orjson = None
print(json.dumps([trunkline.__version__, hasattr(trunkline.Agent, "batch"), orjson is not None]))
"""


@dataclass
class Environment:
    """What there is."""

    rivals_python: str
    """The interpreter that has the rivals' packages."""
    binary: Path
    versions: dict[str, str] = field(default_factory=dict[str, str])
    """What is compared, with its version."""
    _missing: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def found(cls, venv: Path, binary: Path, sides: set[str]) -> Environment:
        """Looks what there is of these sides.

        Args:
            venv: Where the rivals are, if they are in an environment of their own.
            binary: The Rust binary.
            sides: Names of sides, with their settings.
        """
        rivals_python = venv / "bin/python"
        python = str(rivals_python) if rivals_python.is_file() else sys.executable
        found = cls(python, binary)
        for side in sorted(sides):
            why = found._look(*side.partition(":")[::2])
            if why is not None:
                found._missing[side] = why
        return found

    def missing(self, side: str) -> str | None:
        """Why a side cannot be played; `None` if it can."""
        return self._missing.get(side)

    def python_of(self, side: str) -> str:
        """The interpreter that plays a side."""
        return self.rivals_python if side in _PACKAGES else sys.executable

    def _look(self, kind: str, setting: str) -> str | None:
        if kind in _PACKAGES:
            return self._look_for_rival(kind)
        try:
            version, batches, fast = json.loads(_said([sys.executable, "-c", _ASK_PACKAGE]))
        except RuntimeError as error:
            return (
                f"this interpreter cannot import trunkline ({error}); `cargo xtask python` leaves "
                "one that can in target/python/environment"
            )
        self.versions["trunkline"] = f"{version} {'with' if fast else 'without'} orjson"
        if setting in WAYS and not batches:
            return "this build of the package has no batches"
        if kind in ("framed", "grpc", "durable"):
            if not os.access(self.binary, os.X_OK):
                return (
                    f"there is no {self.binary}; build it with `cargo build --release`, or name it "
                    "by --broker"
                )
            self.versions["broker"] = _said([str(self.binary), "--version"])
        return None

    def _look_for_rival(self, kind: str) -> str | None:
        module, package = _PACKAGES[kind]
        try:
            said = _said([self.rivals_python, "-c", _ASK_MODULE, module, package])
        except RuntimeError as error:
            return f"{package} is not there ({error}); --install installs it"
        self.versions[package] = json.loads(said)
        program = _PROGRAMS.get(kind)
        if program is not None:
            beside = Path(self.rivals_python).parent / program
            path = str(beside) if beside.is_file() else shutil.which(program)
            if path is None:
                return f"there is no {program}; --install installs it, as root where it must"
            self.versions[program] = _version(_said([path, "--version"]))
        return None


def install(venv: Path) -> None:
    """Installs the rivals' packages into an environment of their own, and Redis if it may.

    What fails is told, and looked for later all the same.
    """
    print(f"installing the rivals into {venv}", file=sys.stderr)
    python = str(venv / "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    commands = [
        [sys.executable, "-m", "venv", str(venv)],
        [*pip, "--requirement", str(REQUIREMENTS)],
    ]
    if shutil.which("redis-server") is None:
        if os.geteuid() == 0 and shutil.which("apt-get") is not None:
            # At run level 1 the package does not start a server of its own.
            apt = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "install"]
            commands.append([*apt, "--yes", "--no-install-recommends", "redis-server"])
        else:
            print("there is no redis-server, and only root may install it", file=sys.stderr)
    for command in commands:
        try:
            _said(command)
        except RuntimeError as error:
            print(f"{' '.join(command)}: {error}", file=sys.stderr)


def _said(command: list[str]) -> str:
    """What a program says.

    Raises:
        RuntimeError: It failed, with its last words.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RuntimeError(f"cannot start {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(last or f"exit code {done.returncode}")
    return done.stdout.strip()


def _version(said: str) -> str:
    """The version in what `nats-server --version` or `redis-server --version` says."""
    words = [word.lstrip("v=") for word in said.split()]
    return next((word for word in words if word[:1].isdigit()), said)
