"""What the workers of the drop-in broker take when, and what becomes of their places."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from compat_tools import Doorman, MessagePriority, asked, one_by_one, running, told, until, who
from trunkline.compat import AgentMessage, AgentMessageBroker, BrokerConfiguration

A, B, C, D = who("a"), who("b"), who("c"), who("d")


async def test_what_is_urgent_overtakes_a_batch_that_was_begun() -> None:
    config = BrokerConfiguration(1, batch_size=3, delivery_parallelism=1, batch_timeout_ms=10)
    async with running(config) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        for n in range(3):
            await broker.send_message(told(A, str(n)))
        await until(lambda: door.inside == 1)
        await broker.send_message(told(A, "urgent", priority=MessagePriority.URGENT))
        door.open.set()
        await until(lambda: len(door.seen) == 4)
    assert door.seen == ["0", "urgent", "1", "2"]


async def test_what_is_left_of_a_batch_expires_while_its_worker_is_held_up() -> None:
    config = BrokerConfiguration(1, batch_size=2, delivery_parallelism=1)
    async with running(config) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        await broker.send_message(told(A, "held"))
        await broker.send_message(told(A, "late", ttl_seconds=0.05))
        await until(lambda: broker.get_stats()["messages_expired"] == 1)
        assert (door.inside, broker.get_stats()["queue_size"]) == (1, 0)
        door.open.set()
        # What the batch has left of its share is nobody's loss.
        for n in range(2):
            await broker.send_message(told(A, str(n)))
        await until(lambda: len(door.seen) == 3)
    assert door.seen == ["held", "0", "1"]


async def test_a_task_that_outlives_its_handler_lends_nobody_elses_place() -> None:
    async with running(one_by_one()) as broker:
        door, go = Doorman(), asyncio.Event()
        begun: list[asyncio.Task[AgentMessage | None]] = []

        async def late() -> AgentMessage | None:
            await go.wait()
            return await broker.send_request(asked(B, "b"))

        def begin(_: AgentMessage) -> None:
            begun.append(asyncio.create_task(late()))

        handled = list[str]()
        broker.register_agent(A, begin)
        broker.register_agent(B, lambda message: handled.append("b") or {})
        broker.register_agent(C, door)
        await broker.send_message(told(A, "a"))
        await broker.send_message(told(C, "c"))
        await until(lambda: door.inside == 1)
        go.set()
        await until(lambda: broker.get_stats()["pending_requests"] == 1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert handled == []
        door.open.set()
        assert await begun[0] is not None


async def test_a_handler_that_cancels_its_own_task_takes_no_worker_along() -> None:
    async with running(one_by_one(retry_max_attempts=0)) as broker:

        async def cancel(_: AgentMessage) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

        seen = list[AgentMessage]()
        broker.register_agent(A, cancel)
        broker.register_agent(B, seen.append)
        for agent in (A, B, A, A, B):
            await broker.send_message(told(agent, "x"))
        await until(lambda: len(seen) == 2)


def test_a_loop_that_ends_without_stopping_its_broker_ends() -> None:
    async def main() -> AgentMessageBroker:
        broker = AgentMessageBroker(BrokerConfiguration(2, enable_batching=False))
        await broker.start()
        door = Doorman()
        broker.register_agent(A, door)
        for n in range(3):
            await broker.send_message(told(A, str(n)))
        await until(lambda: door.inside == 2)
        return broker

    broker = asyncio.run(main())
    assert not broker.get_stats()["running"]
    reasons = [reason for _, reason in broker.get_dead_letters()]
    assert reasons == ["the broker was stopped"] * 3


async def test_requests_wait_each_for_its_own_time() -> None:
    async with running(one_by_one(num_workers=4)) as broker:
        door, over = Doorman(), list[str]()
        broker.register_agent(A, door)

        async def ask(word: str, timeout: float | None) -> AgentMessage | None:
            response = await broker.send_request(asked(A, word), timeout)
            over.append(word)
            return response

        spans = {"never": None, "long": 0.06, "short": 0.01, "hour": 3600.0}
        asking = [asyncio.create_task(ask(word, span)) for word, span in spans.items()]
        await until(lambda: len(over) == 2)
        assert (over, broker.get_stats()["requests_timeout"]) == (["short", "long"], 2)
        door.open.set()
        answers = await asyncio.gather(*asking)
        assert [answer is None for answer in answers] == [False, True, True, False]


@pytest.mark.parametrize("how", ["timeout", "cancelled", "answered", "twice"])
async def test_who_waits_no_longer_has_its_place_at_once(how: str) -> None:
    async with running(one_by_one()) as broker:
        door, over = Doorman(), list[bool]()

        async def ask(message: AgentMessage) -> None:
            request = asked(B if how == "answered" else C, "ask")
            if how == "cancelled":
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(broker.send_request(request, None), 0.02)
            else:
                answer = await broker.send_request(request, 0.02)
                assert (answer is not None) == (how == "answered")
            if how == "twice":
                assert await broker.send_request(asked(C, "again"), 0.02) is None
            over.append(door.open.is_set())

        async def hold(message: AgentMessage) -> None:
            await door(message)

        async def answer_and_hold(message: AgentMessage) -> None:
            await broker.send_message(message.create_response(B, {}))
            await door(message)

        broker.register_agent(A, ask)
        broker.register_agent(B, answer_and_hold if how == "answered" else hold)
        broker.register_agent(C, lambda _: None)
        await broker.send_message(told(A, "x"))
        if how != "answered":
            await broker.send_message(told(B, "y"))
        await until(lambda: len(over) == 1)
        assert (over, door.inside) == ([False], 1)
        # There are no more places than before.
        other = Doorman()
        broker.register_agent(D, other)
        for _ in range(3):
            await broker.send_message(told(D, "z"))
        door.open.set()
        await until(lambda: other.inside == 1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert other.most == 1
        other.open.set()
    assert broker.get_stats()["worker_pool"]["worker_details"][0]["active"] == 0
    assert broker.get_dead_letters() == []


async def test_a_handler_that_asks_side_by_side_has_one_place_back() -> None:
    async with running(one_by_one()) as broker:
        door, over = Doorman(), list[str]()

        async def ask(_: AgentMessage) -> None:
            async def twice() -> None:
                await broker.send_request(asked(B), None)
                for _ in range(5):
                    await asyncio.sleep(0)
                # The other one waits for the place by now, which C has.
                assert await broker.send_request(asked(D), 0) is None

            await asyncio.gather(twice(), broker.send_request(asked(B), None))
            over.append("a")

        broker.register_agent(A, ask)
        broker.register_agent(B, lambda _: {})
        broker.register_agent(C, door)
        broker.register_agent(D, lambda _: over.append("d"))
        await broker.send_message(told(A, "x"))
        await broker.send_message(told(C, "borrows", priority=MessagePriority.LOW))
        await until(lambda: door.inside == 1)
        for _ in range(100):
            await asyncio.sleep(0)
        door.open.set()
        await until(lambda: len(over) == 2)
    assert over == ["a", "d"]
    assert broker.get_stats()["worker_pool"]["worker_details"][0]["active"] == 0


async def test_a_worker_that_was_woken_in_vain_takes_the_next_message() -> None:
    async with running(one_by_one()) as broker:
        seen: list[AgentMessage] = []
        broker.register_agent(A, seen.append)
        await broker.send_message(told(A, "x"))
        # Nothing of them has begun.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await until(lambda: len(seen) == 1)
    assert broker.get_stats()["worker_pool"]["worker_details"][0]["active"] == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_worker_that_was_woken_and_then_failed_takes_nothing_more(workers: int) -> None:
    config = one_by_one(num_workers=workers, worker_restart_on_failure=False, retry_max_attempts=0)
    broker = AgentMessageBroker(config)
    await broker.start()
    seen, asking = list[AgentMessage](), list[asyncio.Task[AgentMessage | None]]()

    async def fail(_: AgentMessage) -> None:
        # It lends its place, for which somebody is woken, and ends its worker before that begins.
        asking.append(asyncio.create_task(broker.send_request(asked(B), 1)))
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    broker.register_agent(A, fail)
    broker.register_agent(B, seen.append)
    await broker.send_message(told(A, "x"))
    await until(lambda: len(asking) == 1)
    for _ in range(5):
        await broker.send_message(told(B, "y"))
        for _ in range(20):
            await asyncio.sleep(0)
    details = broker.get_stats()["worker_pool"]["worker_details"]
    failed = [it for it in details if not it["is_running"]]
    assert [(it["messages_processed"], it["active"]) for it in failed] == [(1, 0)]
    assert len(seen) == (6 if workers == 2 else 0)
    await broker.stop()
    assert (await asking[0] is None, len(broker.get_dead_letters())) == (True, 7 - len(seen))
