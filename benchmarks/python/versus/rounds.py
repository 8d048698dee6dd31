"""Plays rows: each round is a turn of Trunkline's side and then one of the rival's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .counts import DisagreementError, Turn, median
from .places import HERE
from .work import WORKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .environment import Environment
    from .rows import Row

PATIENCE = 90.0
"""How many seconds a turn may take besides what it is given, starting its servers included."""


@dataclass
class Outcome:
    """What came of a row."""

    row: Row
    ours: list[Turn] = field(default_factory=list[Turn])
    rival: list[Turn] = field(default_factory=list[Turn])
    skipped: str | None = None
    """Why nothing was played."""
    without_rival: str | None = None
    """Why only Trunkline's side was played."""
    failed: str | None = None
    """Why there are no figures although both were there."""

    @property
    def ratios(self) -> list[float]:
        """How many times better Trunkline was in each round, the least first: above 1 it is."""
        if self.failed is not None:
            return []
        pairs = zip(self.ours, self.rival, strict=False)
        return sorted(_times_better(self.row, ours, rival) for ours, rival in pairs)

    @property
    def short(self) -> str:
        """One line while others are still to come."""
        if self.skipped is not None:
            return f"skipped: {self.skipped}"
        if self.failed is not None:
            return f"failed: {self.failed}"
        ratios = self.ratios
        if not ratios:
            return f"no rival: {self.without_rival}"
        return f"{median(ratios):.2f} times the rival ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _times_better(row: Row, ours: Turn, rival: Turn) -> float:
    if row.work.by_latency:
        return (rival.p50 or 0.0) / (ours.p50 or 1.0)
    return ours.rate / rival.rate


def play(
    rows: list[Row], env: Environment, folder: Path, seconds: float, rounds: int
) -> Iterator[Outcome]:
    """Plays rows one after another; yields what came of each."""
    for row in rows:
        outcome = Outcome(row, skipped=env.missing(row.ours), without_rival=env.missing(row.rival))
        if outcome.skipped is None:
            try:
                for _ in range(rounds):
                    outcome.ours.append(_turn(row, row.ours, env, folder, seconds))
                    if outcome.without_rival is None:
                        outcome.rival.append(_turn(row, row.rival, env, folder, seconds))
            except (DisagreementError, RuntimeError) as error:
                outcome.failed = str(error)
        print(f"{row.name}: {outcome.short}", file=sys.stderr, flush=True)
        yield outcome


def _turn(row: Row, side: str, env: Environment, folder: Path, seconds: float) -> Turn:
    """A turn in a process of its own.

    Raises:
        DisagreementError: Its counts do not agree.
        RuntimeError: It came to nothing.
    """
    work = next(name for name, work in WORKS.items() if work == row.work)
    command = [env.python_of(side), "-m", "versus.turn", side, work, "--seconds", str(seconds)]
    command += ["--binary", str(env.binary), "--folder", str(folder)]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    try:
        said, errors = running.communicate(timeout=seconds * 4 + PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{side} took longer than {error.timeout:.0f} s") from error
    finally:
        # Servers that it did not end itself are of its group.
        _kill(running)
    if running.returncode != 0:
        last = errors.strip().rpartition("\n")[2]
        raise RuntimeError(f"{side} ended with exit code {running.returncode}; it said: {last}")
    told = json.loads(said.strip().rpartition("\n")[2])
    if "failed" in told:
        raise DisagreementError(f"{side}: {told['failed']}")
    return Turn.from_told(told)


def _kill(running: subprocess.Popen[str]) -> None:
    try:
        os.killpg(running.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    running.wait()
