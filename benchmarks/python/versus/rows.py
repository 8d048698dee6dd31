"""What is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .work import ONE_WAY, REQUEST_1, REQUEST_50, REQUEST_64

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .work import Work

_ONE = "broker, load and handler in one process, on one event loop"
_TWO = "load and handler in one process, on one event loop; the broker or server in another"

PROCESSES = {
    "in-process": _ONE,
    "drop-in": _ONE,
    "plain": f"{_ONE}; it acknowledges nothing, a message counts when its handler has it",
    "framed": _TWO,
    "grpc": _TWO,
    "durable": f"{_TWO}, with a data directory",
    "nats": f"{_TWO}; it acknowledges nothing, a message counts when its handler has it",
    "jetstream-memory": f"{_TWO}, with a stream in memory and explicit acknowledgements",
    "jetstream": f"{_TWO}, with a stream in files, flushed as it is when nothing is said",
    "autogen": f"{_TWO}, with a runtime each; events are not acknowledged",
    "celery": "load, worker (pool solo, late acknowledgement) and Redis in a process each",
    "celery-durable": "load, worker and Redis in a process each; Redis with appendfsync always",
}
"""Who is compared, and what of each is in which process."""

WAYS = {"lists": "sent in lists", "batches": "sent in lists to a batch handler"}
"""How one-way messages of Trunkline's go, if it is not one by one."""

SETTINGS = {
    "1-worker": "1 worker, no batches",
    "5-workers": "5 workers, no batches",
    "5-workers-20": "5 workers, batches of 20",
    "1-worker-10": "1 worker, batches of 10",
}
"""The settings of the drop-in and of the plain broker by short names."""


@dataclass(frozen=True)
class Row:
    """One kind of work, done by Trunkline and by a rival."""

    name: str
    """`WORK/RIVAL`."""
    title: str
    """What is done, for people."""
    work: Work
    ours: str
    """Which side of Trunkline's: one of `PROCESSES`, with a setting behind a colon."""
    rival: str


def _rows() -> Iterable[Row]:
    for name, work in (("oneway", ONE_WAY), ("request-1", REQUEST_1), ("request-50", REQUEST_50)):
        title = f"{work.title}, in process"
        yield Row(f"{name}/plain", title, work, "in-process", "plain:1-worker")
    for way, said in WAYS.items():
        rival = "plain:5-workers-20" if way == "batches" else "plain:1-worker"
        title = f"one way, {said}, in process"
        yield Row(f"oneway-{way}/plain", title, ONE_WAY, f"in-process:{way}", rival)
    for setting, said in SETTINGS.items():
        for name, work in (
            ("oneway", ONE_WAY),
            ("request-1", REQUEST_1),
            ("request-50", REQUEST_50),
        ):
            title = f"drop-in: {work.title}, {said}"
            ours, rival = f"drop-in:{setting}", f"plain:{setting}"
            yield Row(f"drop-in-{name}/{setting}", title, work, ours, rival)
    for rival, ours in (("nats", "framed"), ("celery", "framed"), ("autogen", "grpc")):
        for name, work in (
            ("oneway", ONE_WAY),
            ("request-1", REQUEST_1),
            ("request-64", REQUEST_64),
        ):
            title = f"{work.title}, {'gRPC' if ours == 'grpc' else ours}"
            yield Row(f"net-{name}/{rival}", title, work, ours, rival)
    title = f"{ONE_WAY.title}, framed"
    yield Row("net-oneway/jetstream-memory", title, ONE_WAY, "framed", "jetstream-memory")
    for rival in ("nats", "jetstream-memory"):
        for way, said in WAYS.items():
            title = f"one way, {said}, framed"
            yield Row(f"net-oneway-{way}/{rival}", title, ONE_WAY, f"framed:{way}", rival)
    title = "durable: submitted, delivered, completed, framed"
    for rival in ("jetstream", "celery-durable"):
        yield Row(f"durable/{rival}", title, ONE_WAY, "durable", rival)
    title = f"durable, {WAYS['batches']}, framed"
    yield Row("durable-batches/jetstream", title, ONE_WAY, "durable:batches", "jetstream")


ROWS = {row.name: row for row in _rows()}
"""All rows by their names, in the order in which they are played."""


def chosen(names: Iterable[str]) -> list[Row]:
    """The rows of these names, each of which may also be either half of one; all if there are none.

    Raises:
        ValueError: A name is of no row.
    """
    names = list(names)
    for name in names:
        if not any(_is(row, name) for row in ROWS.values()):
            raise ValueError(f"there is no row '{name}'; `--list` names them")
    return [row for row in ROWS.values() if not names or any(_is(row, name) for name in names)]


def _is(row: Row, name: str) -> bool:
    return name in (row.name, *row.name.split("/"))
