"""How the drop-in broker stops, and what happens meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from compat_tools import one_by_one, told, until, who
from trunkline.compat import AgentMessageBroker, BrokerConfiguration

if TYPE_CHECKING:
    from trunkline.compat import AgentMessage

A, B = who("a"), who("b")
STOPPED = "the broker was stopped"


class Stubborn:
    """A handler that goes on until it is told to end, although it is cancelled."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.cancelled = 0
        self.open = asyncio.Event()

    async def __call__(self, message: AgentMessage) -> None:
        self.seen.append(message.payload["word"])
        while not self.open.is_set():
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1


def others() -> list[asyncio.Task[object]]:
    """The tasks of pools."""
    return [task for task in asyncio.all_tasks() if "Pool." in repr(task.get_coro())]


async def test_after_the_time_of_stopping_nothing_more_is_begun() -> None:
    for config in (one_by_one(), BrokerConfiguration(1, batch_size=2, delivery_parallelism=1)):
        broker = AgentMessageBroker(config)
        await broker.start()
        handler = Stubborn()
        broker.register_agent(A, handler)
        for n in range(6):
            await broker.send_message(told(A, str(n)))
        await until(lambda handler=handler: handler.seen == ["0"])
        stopping = asyncio.create_task(broker.stop(timeout=0))
        await until(lambda handler=handler: handler.cancelled == 1)
        handler.open.set()
        await stopping
        await until(lambda: not others())
        assert handler.seen == ["0"]
        assert [reason for _, reason in broker.get_dead_letters()] == [STOPPED] * 5
        stats = broker.get_stats()
        assert (stats["messages_delivered"], stats["messages_failed"]) == (1, 5)
        assert stats["worker_pool"]["worker_details"][0]["active"] == 0


async def test_what_ends_after_it_was_given_up_counts_once() -> None:
    broker = AgentMessageBroker(one_by_one())
    await broker.start()
    handler = Stubborn()
    broker.register_agent(A, handler)
    await broker.send_message(told(A, "x"))
    await until(lambda: handler.seen == ["x"])
    await broker.stop(timeout=0)
    assert len(broker.get_dead_letters()) == 1
    handler.open.set()
    await until(lambda: not others())
    stats = broker.get_stats()
    assert (stats["messages_delivered"], stats["messages_failed"]) == (0, 1)


async def test_what_is_due_while_handlers_are_cancelled_is_not_tried_again() -> None:
    broker = AgentMessageBroker(one_by_one(num_workers=2, retry_backoff_ms=20))
    await broker.start()
    handler, tried = Stubborn(), list[int]()

    def fail(message: AgentMessage) -> None:
        tried.append(message.metadata.retry_count)
        raise RuntimeError

    broker.register_agent(A, handler)
    broker.register_agent(B, fail)
    await broker.send_message(told(A, "x"))
    await broker.send_message(told(B, "y"))
    await until(lambda: bool(tried) and bool(handler.seen))
    # Longer than the delay: so long a handler may take that was cancelled.
    await broker.stop(timeout=0)
    handler.open.set()
    await until(lambda: not others())
    assert tried == [0]
    assert [reason for _, reason in broker.get_dead_letters()] == [STOPPED] * 2
