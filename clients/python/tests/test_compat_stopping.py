"""How the drop-in broker stops, and what happens meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from compat_tools import Doorman, asked, one_by_one, told, until, who
from conftest import PATIENCE
from trunkline import errors
from trunkline.compat import AgentMessage, AgentMessageBroker, BrokerConfiguration

A, B, C = who("a"), who("b"), who("c")
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
    broker = AgentMessageBroker(one_by_one(num_workers=2, retry_backoff_ms=250))
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


async def test_who_starts_it_while_it_stops_has_it_started_afterwards() -> None:
    for held in (False, True):
        broker = AgentMessageBroker(one_by_one())
        await broker.start()
        door = Doorman()
        broker.register_agent(A, door)
        if held:
            await broker.send_message(told(A, "before"))
            await until(lambda door=door: door.inside == 1)
        stopping = asyncio.create_task(broker.stop())
        starting = asyncio.create_task(broker.start())
        await asyncio.sleep(0)
        door.open.set()
        await asyncio.gather(stopping, starting)
        assert broker.get_stats()["running"]
        assert await broker.send_message(told(A, "after"))
        await until(lambda door=door: door.seen[-1:] == ["after"])
        await broker.stop()
        assert broker.get_dead_letters() == []


async def test_who_stops_it_while_it_stops_waits_for_that() -> None:
    broker = AgentMessageBroker(one_by_one())
    await broker.start()
    door, ended = Doorman(), list[str]()

    async def handle(message: AgentMessage) -> None:
        await door(message)
        ended.append("handler")

    async def stop(word: str, timeout: float) -> None:
        await broker.stop(timeout)
        ended.append(word)

    broker.register_agent(A, handle)
    await broker.send_message(told(A, "x"))
    await until(lambda: door.inside == 1)
    stopping = [asyncio.create_task(stop(word, 30)) for word in ("first", "second")]
    await asyncio.sleep(0.01)
    assert ended == []
    # Who gives up waiting for it leaves it to the other.
    stopping.append(asyncio.create_task(broker.stop()))
    await asyncio.sleep(0)
    stopping.pop().cancel()
    door.open.set()
    await asyncio.gather(*stopping)
    assert ended == ["handler", "first", "second"]


@pytest.mark.parametrize("at_once", [1, 2])
async def test_it_stops_when_its_last_worker_does(at_once: int) -> None:
    config = one_by_one(worker_restart_on_failure=False, retry_max_attempts=0)
    if at_once == 2:
        config = BrokerConfiguration(
            1, batch_size=2, worker_restart_on_failure=False, retry_max_attempts=0
        )
    broker = AgentMessageBroker(config)
    await broker.start()
    door, kept = Doorman(), Doorman()

    async def fall(message: AgentMessage) -> None:
        await door(message)
        raise asyncio.CancelledError

    broker.register_agent(A, fall)
    broker.register_agent(B, kept)
    await broker.send_message(told(A, "x"))
    for _ in range(3):
        await broker.send_message(told(B, "y"))
    await until(lambda: door.inside + kept.inside == at_once)
    stopping = asyncio.create_task(broker.stop(timeout=3600))
    await asyncio.sleep(0)
    door.open.set()
    if at_once == 2:
        # What is at work is waited for.
        await until(lambda: len(broker.get_dead_letters()) == 1)
        assert broker.get_stats()["running"]
        kept.open.set()
    await asyncio.wait_for(stopping, PATIENCE)
    reasons = [reason for _, reason in broker.get_dead_letters()]
    assert reasons == ["CancelledError", *[STOPPED] * (4 - at_once)]


async def test_a_handler_may_have_its_broker_stopped_by_a_task() -> None:
    broker = AgentMessageBroker(one_by_one())
    await broker.start()
    begun, refused = list[asyncio.Task[None]](), list[Exception]()

    async def handle(_: AgentMessage) -> None:
        begun.append(asyncio.create_task(broker.stop()))
        await asyncio.sleep(0)
        for call in (broker.start, broker.stop):
            try:
                await call()
            except errors.UsageError as error:
                refused.append(error)

    broker.register_agent(A, handle)
    await broker.send_message(told(A, "x"))
    await until(lambda: bool(begun))
    await begun[0]
    assert [str(error).count("create_task") for error in refused] == [1, 1]
    assert (broker.get_stats()["running"], broker.get_dead_letters()) == (False, [])


def test_a_loop_that_has_ended_counts_as_a_broker_that_was_stopped() -> None:
    broker = AgentMessageBroker(one_by_one())
    seen = list[str]()
    broker.register_agent(A, lambda message: seen.append(message.payload["word"]))

    async def leave(*, start: bool) -> None:
        if start:
            await broker.start()
        else:
            # Nobody sees to it any more.
            await broker.send_message(told(A, "left"))

    async def whole(word: str) -> None:
        await broker.start()
        assert await broker.send_message(told(A, word))
        await until(lambda: seen[-1:] == [word])
        await broker.stop()

    asyncio.run(leave(start=False))
    asyncio.run(whole("1"))
    asyncio.run(leave(start=True))
    assert not broker.get_stats()["running"]
    asyncio.run(broker.stop())
    asyncio.run(whole("2"))
    asyncio.run(leave(start=True))
    asyncio.run(whole("3"))
    asyncio.run(leave(start=True))
    assert not asyncio.run(broker.send_message(told(A, "refused")))
    asyncio.run(whole("4"))
    assert seen == ["1", "2", "3", "4"]
    letters = [(one.payload["word"], reason) for one, reason in broker.get_dead_letters()]
    assert letters == [("left", STOPPED), ("refused", STOPPED)]


def test_a_loop_that_still_runs_keeps_its_broker() -> None:
    broker = AgentMessageBroker(one_by_one())
    first = asyncio.new_event_loop()
    first.run_until_complete(broker.start())
    for call in (broker.start, broker.stop):
        with pytest.raises(errors.LoopError, match="another event loop"):
            asyncio.run(call())
    assert broker.get_stats()["running"]
    first.run_until_complete(broker.stop())
    first.close()
    asyncio.run(broker.start())


async def test_who_wants_a_place_back_is_not_left_waiting() -> None:
    broker = AgentMessageBroker(one_by_one())
    await broker.start()
    borrower, asking = Doorman(), list[asyncio.Task[AgentMessage | None]]()

    async def ask(_: AgentMessage) -> None:
        # What a handler begins is not cancelled with it.
        asking.append(asyncio.create_task(broker.send_request(asked(B), timeout=None)))
        await asyncio.sleep(0)
        await broker.send_message(told(C, "borrows the place"))
        await asyncio.shield(asking[0])

    broker.register_agent(A, ask)
    broker.register_agent(B, lambda _: {"b": 1})
    broker.register_agent(C, borrower)
    await broker.send_message(told(A, "x"))
    await until(lambda: borrower.inside == 1)
    await broker.stop(timeout=0)
    answer = await asyncio.wait_for(asking[0], PATIENCE)
    assert answer is not None
    assert answer.payload == {"b": 1}
    await until(lambda: not others())
    assert broker.get_stats()["worker_pool"]["worker_details"][0]["active"] == 0


async def test_who_was_woken_for_what_another_has_handled_leaves_when_the_broker_stops() -> None:
    broker = AgentMessageBroker(one_by_one(num_workers=3))
    seen: list[AgentMessage] = []
    broker.register_agent(A, seen.append)
    await broker.start()
    # In this order: who takes both, the end of all, and who was woken for the second.
    await broker.send_message(told(A, "x"))
    stopping = asyncio.create_task(broker.stop())
    await broker.send_message(told(A, "y"))
    await stopping
    assert len(seen) == 2
    workers = broker.get_stats()["worker_pool"]["worker_details"]
    assert [worker["active"] for worker in workers] == [0, 0, 0]
