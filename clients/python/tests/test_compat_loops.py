"""The drop-in broker on event loops of every kind, and in the child of a fork."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from compat_tools import Doorman, asked, one_by_one, running, who

if TYPE_CHECKING:
    from collections.abc import Callable

A = who("a")


def uv() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()


def eager() -> asyncio.AbstractEventLoop:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("tasks of this version of Python cannot begin at once")
    loop = asyncio.new_event_loop()
    loop.set_task_factory(factory)
    return loop


@pytest.mark.parametrize("made", [asyncio.new_event_loop, uv, eager])
def test_requests_end_in_time_on_any_loop(made: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        door = Doorman()

        async with running(one_by_one(num_workers=2)) as broker:
            broker.register_agent(A, door)
            # No time at all, and times that end close to each other.
            requests = [broker.send_request(asked(A, "x"), n * 1e-4) for n in range(30)]
            assert await asyncio.gather(*requests) == [None] * 30
            door.open.set()
            answer = await broker.send_request(asked(A, "y"), timeout=30)
            assert answer is not None
            assert answer.payload == {"word": "y"}

    loop = made()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
