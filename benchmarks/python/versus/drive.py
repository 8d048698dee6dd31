"""Drives a side by coroutines: sends, waits for the last, and counts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING, Any

from .counts import Counts, Turn, quantile
from .meter import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .load import Load
    from .sides.side import AsyncSide
    from .work import Work

PATIENCE = 60.0
"""How many seconds a play may take until what is missing counts as lost."""


class Driven:
    """A side that has an event loop to itself, from the first play to the last."""

    def __init__(self, side: AsyncSide) -> None:
        """Opens the side."""
        self._side = side
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(side.open())

    def play(self, work: Work, load: Load) -> Turn:
        """Does the work with all of the load.

        Raises:
            DisagreementError: Counts do not agree.
        """
        return self._loop.run_until_complete(_play(self._side, work, load))

    def close(self) -> None:
        """Ends the side."""
        self._loop.run_until_complete(self._side.shut())
        self._loop.close()


async def _play(side: AsyncSide, work: Work, load: Load) -> Turn:
    if not work.requests and side.window is not None:
        load.window = min(load.window, side.window)
    await side.begin(work, load)
    messages, took = side.messages(work, load), list[float]()
    # What is prepared is not to be looked through again and again by the collector of garbage.
    gc.collect()
    gc.freeze()
    meter, begun = Meter(side.others), time.perf_counter()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_send(side, work, load, messages, took), PATIENCE)
    elapsed = time.perf_counter() - begun
    own, others = meter.read()
    gc.unfreeze()
    settled, left = await side.end()
    took.sort()
    return Turn(
        Counts(
            sent=load.sent,
            accepted=load.accepted,
            handled=load.handled,
            wrong=load.wrong,
            answered=load.answered if work.requests else None,
            settled=settled,
            left=left,
        ),
        seconds=elapsed,
        cpu=own,
        cpu_others=others,
        p50=quantile(took, 0.5) if took else None,
        p99=quantile(took, 0.99) if took else None,
    )


async def _send(
    side: AsyncSide, work: Work, load: Load, messages: list[Any], took: list[float]
) -> None:
    if work.requests:
        both = zip(load.payloads, messages, strict=True)
        await asyncio.gather(*(_ask(side, load, both, took) for _ in range(work.in_flight)))
    else:
        many = side.lists
        if many is None:
            these = iter(messages)
            await asyncio.gather(*(_tell(side, load, these) for _ in range(side.senders)))
        else:
            lists = (messages[at : at + many] for at in range(0, len(messages), many))
            await asyncio.gather(*(_tell_all(side, load, lists) for _ in range(side.senders)))
        await load.all_handled()
    await side.settle()


async def _tell(side: AsyncSide, load: Load, messages: Iterator[Any]) -> None:
    tell = side.tell
    for message in messages:
        while load.full:
            await load.room()
        load.sent += 1
        await tell(message)
        load.accepted += 1


async def _tell_all(side: AsyncSide, load: Load, lists: Iterator[list[Any]]) -> None:
    for messages in lists:
        while load.full:
            await load.room()
        load.sent += len(messages)
        taken = await side.tell_all(messages)
        load.accepted += taken


async def _ask(
    side: AsyncSide, load: Load, both: Iterator[tuple[bytes, Any]], took: list[float]
) -> None:
    request = side.request
    for payload, message in both:
        load.sent += 1
        begun = time.perf_counter()
        answer = await request(message)
        took.append(time.perf_counter() - begun)
        load.accepted += 1
        load.answer(payload, answer)
