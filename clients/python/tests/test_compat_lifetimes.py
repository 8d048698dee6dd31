"""Times to live of what waits together in the drop-in broker, and of much at once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from compat_tools import Doorman, asked, one_by_one, running, told, until, who
from trunkline.compat import BrokerConfiguration

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trunkline.compat import AgentMessage, AgentMessageBroker

WORKER = who("worker")


@contextlib.asynccontextmanager
async def held_up() -> AsyncGenerator[tuple[AgentMessageBroker, Doorman]]:
    """A broker whose only worker has a message that goes on when the door opens."""
    door = Doorman()
    async with running(one_by_one()) as broker:
        broker.register_agent(WORKER, door)
        await broker.send_message(told(WORKER, "first"))
        await until(lambda: door.inside == 1)
        yield broker, door


async def test_more_than_a_frame_with_different_times_to_live_is_all_handled() -> None:
    seen: list[str] = []

    async def handle(message: AgentMessage) -> None:
        seen.append(message.payload["word"])

    async with running(BrokerConfiguration(max_queue_size=20_000)) as broker:
        broker.register_agent(WORKER, handle)
        # In one turn of the loop: nothing of it is handled meanwhile.
        for number in range(9_000):
            message = told(WORKER, str(number), ttl_seconds=30 if number % 2 else 300)
            assert await broker.send_message(message)
        assert seen == []
        await until(lambda: len(seen) == 9_000)
        assert broker.get_stats()["queue_size"] == 0
    assert sorted(seen, key=int) == [str(number) for number in range(9_000)]


async def test_thousands_that_fail_at_once_are_all_tried_again() -> None:
    tried: dict[str, int] = {}

    async def handle(message: AgentMessage) -> None:
        word = message.payload["word"]
        tried[word] = tried.get(word, 0) + 1
        if tried[word] == 1:
            raise ValueError("not yet")

    config = BrokerConfiguration(enable_batching=False, retry_backoff_ms=10)
    async with running(config) as broker:
        broker.register_agent(WORKER, handle)
        for number in range(5_000):
            assert await broker.send_message(told(WORKER, str(number)))
        await until(lambda: len(tried) == 5_000 and set(tried.values()) == {2})


async def test_thousands_of_requests_at_once_are_all_answered() -> None:
    async def answer(message: AgentMessage) -> dict[str, str]:
        return {"word": message.payload["word"]}

    async with running() as broker:
        broker.register_agent(WORKER, answer)
        requests = (
            broker.send_request(asked(WORKER, str(number), ttl_seconds=30 + number % 5), None)
            for number in range(5_000)
        )
        answers = await asyncio.gather(*requests)
    assert [it and it.payload["word"] for it in answers] == [str(it) for it in range(5_000)]


async def test_what_lives_shorter_expires_among_what_lives_longer() -> None:
    async with held_up() as (broker, door):
        for number in range(6):
            ttl = 0.05 if number % 3 == 1 else 300
            await broker.send_message(told(WORKER, str(number), ttl_seconds=ttl))
        # Nobody takes anything meanwhile.
        await until(lambda: len(broker.get_dead_letters()) == 2)
        letters = [(it.payload["word"], why) for it, why in broker.get_dead_letters()]
        assert letters == [("1", "expired"), ("4", "expired")]
        assert broker.get_stats()["queue_size"] == 4
        door.open.set()
    assert door.seen == ["first", "0", "2", "3", "5"]
    assert broker.get_stats()["messages_expired"] == 2


async def test_what_expires_is_let_go_of_one_after_another() -> None:
    async with held_up() as (broker, door):
        for number in range(300):
            ttl = 0.01 + 0.001 * (number % 100)
            await broker.send_message(told(WORKER, str(number), ttl_seconds=ttl))
        await until(lambda: broker.get_stats()["queue_size"] == 0)
        assert len(broker.get_dead_letters()) == 300
        door.open.set()
    assert door.seen == ["first"]
