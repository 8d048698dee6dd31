"""The table: for people, for a document, and as JSON."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counts import median
from .rows import PROCESSES

if TYPE_CHECKING:
    from .counts import Turn
    from .environment import Environment
    from .rounds import Outcome
    from .rows import Row

_HEAD = ["row", "work", "Trunkline", "rival", "ratio", "spread", "CPU per message", "rounds"]


def conditions(env: Environment, seconds: float, rounds: int, loads: list[float]) -> str:
    """The machine, the versions, and how it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(env.versions.items()))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}, asyncio; {versions}; "
        f"payloads of 256 bytes, turns of {seconds:g} s, {rounds} rounds, "
        f"load average {min(loads):.1f} to {max(loads):.1f}."
    )


def text(outcomes: list[Outcome]) -> str:
    """The table with columns that stand under each other."""
    lines = [_HEAD, *map(_cells, outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    spaced = ("  ".join(map(str.ljust, line, widths)) for line in lines)
    return "\n".join(line.rstrip() for line in spaced)


def markdown(outcomes: list[Outcome]) -> str:
    """The table as Markdown has it."""
    lines = [_HEAD, ["---"] * len(_HEAD)]
    lines += [[f"`{name}`", *rest] for name, *rest in map(_cells, outcomes)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def notes(outcomes: list[Outcome]) -> list[str]:
    """Which processes there were, of every side that was played."""
    played = {side.partition(":")[0] for o in outcomes for side in (o.row.ours, o.row.rival)}
    return [f"{side}: {said}" for side, said in PROCESSES.items() if side in played]


def as_json(outcomes: list[Outcome], said: str) -> dict[str, Any]:
    """Everything, every turn included."""
    rows = [
        {
            "row": outcome.row.name,
            "work": outcome.row.title,
            "ours": outcome.row.ours,
            "rival": outcome.row.rival,
            "turns_ours": [turn.told() for turn in outcome.ours],
            "turns_rival": [turn.told() for turn in outcome.rival],
            "ratios": outcome.ratios,
            "skipped": outcome.skipped,
            "without_rival": outcome.without_rival,
            "failed": outcome.failed,
        }
        for outcome in outcomes
    ]
    return {"conditions": said, "rows": rows}


def _cells(outcome: Outcome) -> list[str]:
    row = outcome.row
    why = f"skipped: {outcome.skipped}" if outcome.skipped else f"failed: {outcome.failed}"
    if outcome.skipped is not None or outcome.failed is not None:
        return [row.name, row.title, why, "", "", "", "", ""]
    ours = [row.name, row.title, _figure(row, outcome.ours)]
    ratios, rounds = outcome.ratios, str(len(outcome.ours))
    if not ratios:
        return [*ours, f"skipped: {outcome.without_rival}", "", "", _cpu(outcome.ours), rounds]
    return [
        *ours,
        _figure(row, outcome.rival),
        f"{median(ratios):.2f}",
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        f"{_cpu(outcome.ours)} : {_cpu(outcome.rival)}",
        rounds,
    ]


def _figure(row: Row, turns: list[Turn]) -> str:
    """Medians over the rounds."""
    rate = f"{median([turn.rate for turn in turns]):,.0f}/s"
    p50s = [turn.p50 for turn in turns if turn.p50 is not None]
    p99s = [turn.p99 for turn in turns if turn.p99 is not None]
    if not p50s:
        return rate
    times = f"p50 {_micros(median(p50s))}, p99 {_micros(median(p99s))}"
    return times if row.work.by_latency else f"{rate}, {times}"


def _cpu(turns: list[Turn]) -> str:
    """The median of load and handler, and of servers and workers where there are any."""
    own, others = zip(*(turn.cpu_each for turn in turns), strict=True)
    if not any(others):
        return _micros(median(list(own)))
    return f"{_micros(median(list(own)))} + {_micros(median(list(others)))}"


def _micros(seconds: float) -> str:
    micros = 1e6 * seconds
    return f"{micros:.1f} µs" if micros < 100 else f"{micros:,.0f} µs"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")
