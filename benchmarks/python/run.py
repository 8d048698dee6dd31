"""Trunkline beside others from Python, on this machine in one run.

python benchmarks/python/run.py --install
python benchmarks/python/run.py oneway nats --seconds 2 --rounds 5
python benchmarks/python/run.py drop-in-oneway --markdown

The interpreter that runs it has to have the package `trunkline`. Exits with 1 if a row came to
nothing although both of its sides were there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from versus import report
from versus.environment import Environment, install
from versus.places import BINARY, DATA, ENVIRONMENT
from versus.rounds import Outcome, play
from versus.rows import ROWS, chosen


def main() -> int:
    """Plays what is asked for and prints the table."""
    parser = argparse.ArgumentParser(description="Trunkline beside others from Python")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these, or halves of names")
    parser.add_argument("--list", action="store_true", help="print the names of the rows instead")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a turn is")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side has its turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--broker", type=Path, default=BINARY, help="the binary `trunkline`")
    parser.add_argument("--install", action="store_true", help="install the rivals first")
    parser.add_argument("--venv", type=Path, default=ENVIRONMENT, help="where the rivals are")
    parser.add_argument("--dir", type=Path, default=DATA, help="where data is kept: on a disk")
    given = parser.parse_args()
    try:
        rows = chosen(given.rows)
    except ValueError as error:
        parser.error(str(error))
    if not 0.05 <= given.seconds <= 60 or not 1 <= given.rounds <= 100:
        parser.error("a turn takes 0.05 to 60 seconds, and there are 1 to 100 rounds")
    if given.list:
        print("\n".join(ROWS))
        return 0
    if given.install:
        install(given.venv)
    sides = {side for row in rows for side in (row.ours, row.rival)}
    env = Environment.found(given.venv, given.broker.resolve(), sides)
    loads, outcomes = [os.getloadavg()[0]], list[Outcome]()
    given.dir.mkdir(parents=True, exist_ok=True)
    # What is killed by it ends its turn, and that its servers.
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="trunkline-python-", dir=given.dir) as folder:
        for outcome in play(rows, env, Path(folder), given.seconds, given.rounds):
            outcomes.append(outcome)
            loads.append(os.getloadavg()[0])
    said = report.conditions(env, given.seconds, given.rounds, loads)
    table = report.markdown if given.markdown else report.text
    between = "\n- " if given.markdown else "\n  "
    print(f"{said}\n\n{table(outcomes)}\n{between}{between.join(report.notes(outcomes))}")
    if given.json is not None:
        given.json.write_text(json.dumps(report.as_json(outcomes, said), indent=1) + "\n")
    return 1 if any(outcome.failed is not None for outcome in outcomes) else 0


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
