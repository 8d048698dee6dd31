"""Two ways to a broker, both of which every test of a client takes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trunkline

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 20.0
"""How many seconds anything may take that is awaited; a machine at work needs some."""


def complaints(errors: str) -> str:
    """What a program in development mode said on its errors but how long a step of its loop took.

    That says only how busy the machine is, and so does what its agents say of it.
    """
    lines = r"^(Executing .* took [0-9.]+ seconds|the event loop of .* has not come round for .*)\n"
    return re.sub(lines, "", errors, flags=re.MULTILINE)


program = ""
"""The `trunkline` that is tested."""


def pytest_addoption(parser: pytest.Parser) -> None:
    built = Path(__file__).parents[3] / "target/release/trunkline"
    parser.addoption("--program", default=str(built), help="the `trunkline` to test")


def pytest_configure(config: pytest.Config) -> None:
    global program
    program = str(config.getoption("--program"))
    if not os.access(program, os.X_OK):
        raise pytest.UsageError(f"there is no {program}; build it, or name it by --program")


def _is_ready(port_file: Path) -> bool:
    try:
        address = port_file.read_text().strip()
        with urllib.request.urlopen(f"http://{address}/readyz") as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def serving(folder: Path, *settings: str) -> Generator[str]:
    """Runs a broker and tells its address."""
    port_file, config = folder / "port", folder / "config.toml"
    config.write_text("\n".join(settings))
    log = (folder / "log").open("w+")
    command = [program, "serve", "--listen", "127.0.0.1:0", "--ephemeral", "--config", str(config)]
    with (
        log,
        subprocess.Popen([*command, "--port-file", str(port_file)], stderr=log) as broker,
    ):
        deadline = time.monotonic() + PATIENCE
        try:
            while not _is_ready(port_file):
                log.seek(0)
                assert broker.poll() is None, f"the broker ended: {log.read()}"
                assert time.monotonic() < deadline, "the broker is not ready"
                time.sleep(0.01)
            yield port_file.read_text().strip()
        finally:
            broker.kill()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., str]]:
    """Starts the real broker with some settings; it ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *settings: stack.enter_context(serving(folder, *settings))


@pytest.fixture(params=["in process", "over the network"])
async def client(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[trunkline.Client]:
    """A client of a broker of its own."""
    if request.param == "in process":
        async with trunkline.Broker() as broker:
            yield broker
    else:
        with serving(folder) as address:
            async with trunkline.connect(address) as client:
                yield client


@pytest.fixture
def ran_file() -> Callable[[Path], str]:
    """Runs a program that lies in a file, and tells all that it says."""

    def run(path: Path) -> str:
        done = subprocess.run(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    return run
