"""One turn of one side, as a program: `python -m versus.turn SIDE WORK …` prints it as JSON.

Warms up until that took a quarter of the time, which also tells how many messages the time is good
for, and then plays with so many.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from typing import TYPE_CHECKING

from .counts import DisagreementError
from .drive import Driven
from .load import Load
from .work import WORKS, Work

if TYPE_CHECKING:
    from .counts import Turn
    from .sides.side import AsyncSide, Side

FIRST = 64
"""How many one-way messages the first play of warming up has; of requests as many as it may."""

MOST = 400_000
"""The most messages of a play; all of their payloads are in memory."""


def side(name: str, binary: str, folder: str) -> Side:
    """Who is compared, started; `name` is as in a row, with a setting behind a colon.

    Only the modules of that side are imported: the others may not be installed.
    """
    kind, _, setting = name.partition(":")
    if kind in ("celery", "celery-durable"):
        from .sides.celery import Celery

        return Celery(folder, durable=kind == "celery-durable")
    return Driven(_async_side(kind, setting, binary, folder))


def _async_side(kind: str, setting: str, binary: str, folder: str) -> AsyncSide:
    if kind in ("plain", "drop-in"):
        from .rows import SETTINGS
        from .sides import compat

        return (compat.Plain if kind == "plain" else compat.DropIn)(SETTINGS[setting])
    if kind in ("nats", "jetstream", "jetstream-memory"):
        from .sides import nats

        if kind == "nats":
            return nats.Nats(folder)
        return nats.JetStream(folder, "file" if kind == "jetstream" else "memory")
    if kind == "autogen":
        from .sides import autogen

        return autogen.AutoGen(folder)
    from .sides import ours

    if kind == "in-process":
        return ours.InProcess(setting)
    if kind == "durable":
        return ours.Durable(setting, binary, folder, "framed")
    if kind in ("framed", "grpc"):
        return ours.Network(setting, binary, folder, "grpc" if kind == "grpc" else "framed")
    raise ValueError(f"there is no side '{kind}'")


def played(side: Side, work: Work, seconds: float) -> Turn:
    """Warms up and then plays for about so long.

    Raises:
        DisagreementError: Counts do not agree, be it of warming up.
    """
    run, count = 0, work.in_flight if work.requests else FIRST
    turn = side.play(work, Load(run, count, work.in_flight))
    while turn.seconds < seconds / 4 and count < MOST:
        run, count = run + 1, min(count * 4, MOST)
        turn = side.play(work, Load(run, count, work.in_flight))
    count = max(work.in_flight if work.requests else 1, min(int(turn.rate * seconds), MOST))
    return side.play(work, Load(run + 1, count, work.in_flight))


def main() -> None:
    """Plays a turn, and prints it or what did not agree."""
    parser = argparse.ArgumentParser(description="One turn of one side")
    parser.add_argument("side")
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="turn-", dir=given.folder) as folder:
        one = side(given.side, given.binary, folder)
        try:
            told = played(one, WORKS[given.work], given.seconds).told()
        except DisagreementError as error:
            told = {"failed": str(error)}
        finally:
            one.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
