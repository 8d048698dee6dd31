"""Who waits for room in the queue of the drop-in broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from compat_tools import one_by_one, running, told, until, who

if TYPE_CHECKING:
    from trunkline.compat import AgentMessage

A = who("a")


async def test_room_is_had_as_soon_as_it_is_there_in_the_order_of_coming() -> None:
    async with running(one_by_one(max_queue_size=16)) as broker:
        passes, seen = asyncio.Semaphore(0), list[str]()

        async def handle(message: AgentMessage) -> None:
            seen.append(message.payload["word"])
            await passes.acquire()

        broker.register_agent(A, handle)
        await broker.send_message(told(A, "held"))
        await until(lambda: len(seen) == 1)
        for n in range(16):
            assert await broker.send_message(told(A, str(n)))
        sending = [asyncio.create_task(broker.send_message(told(A, str(n)))) for n in (16, 17, 18)]
        await asyncio.sleep(0)
        # Who gives up is in nobody's way.
        sending[1].cancel()
        passes.release()
        await until(lambda: sending[0].done())
        assert not sending[2].done()
        # Who comes now does not overtake.
        sending.append(asyncio.create_task(broker.send_message(told(A, "19"))))
        passes.release()
        await until(lambda: sending[2].done())
        assert not sending[3].done()
        passes.release()
        assert await sending[3]
        for _ in range(50):
            passes.release()
    assert seen == ["held", *map(str, range(17)), "18", "19"]


async def test_nobody_is_left_in_the_line_for_room() -> None:
    async with running(one_by_one(max_queue_size=2)) as broker:
        go = asyncio.Event()
        broker.register_agent(A, lambda _: go.wait())
        for n in range(3):
            await broker.send_message(told(A, str(n)))
            await asyncio.sleep(0)
        sending = [asyncio.create_task(broker.send_message(told(A, "x"))) for _ in range(20)]
        await until(lambda: len(broker._room.waits) == 20)
        for task in sending[:10]:
            task.cancel()
        await until(lambda: len(broker._room.waits) == 10)
        assert await asyncio.gather(*sending[10:]) == [False] * 10
        assert len(broker._room.waits) == 0
        go.set()
        await until(lambda: broker.get_stats()["queue_size"] == 0)
        assert await broker.send_message(told([A, A], "y"))
