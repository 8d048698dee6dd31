"""A handler that keeps the event loop is told as it does, and counted; an agent's figures."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import trunkline
from conftest import PATIENCE
from trunkline import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline import Client, Task


class Reports(logging.Handler):
    """What the logger says, for those who wait for it on any thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self.came = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self.came:
            self.said.append(record.getMessage())
            self.came.notify_all()

    def wait(self, wanted: Callable[[list[str]], bool]) -> bool:
        """Waits as a call that blocks does."""
        with self.came:
            return self.came.wait_for(lambda: wanted(self.said), PATIENCE)


@pytest.fixture
def reports() -> Iterator[Reports]:
    reports, logger = Reports(), logging.getLogger("trunkline")
    logger.addHandler(reports)
    yield reports
    logger.removeHandler(reports)


async def test_a_handler_that_blocks_is_told_while_it_does(
    client: Client, reports: Reports
) -> None:
    agent = trunkline.Agent("stone")

    @agent.task("block")
    async def block(task: Task) -> str:
        # It ends only when it has been told of, and told of again as it goes on.
        assert reports.wait(lambda said: len(said) == 2)
        return task.id

    await agent.start(client)
    async with agent:
        reply = await client.send_and_wait("skill:block")
        assert agent.stats().blocked == 1
    for report in reports.said:
        assert "agent stone: the handler of skill block has blocked the event loop" in report
        assert reply.text in report
        assert "threading.py" in report
    first, second = (float(it.split(" for ")[1].split(" s ")[0]) for it in reports.said)
    assert 0.1 <= first < second
    for thread in threading.enumerate():
        if thread.name == "trunkline-watcher":
            thread.join(PATIENCE)
            assert not thread.is_alive()


async def test_a_call_within_a_handler_is_found(reports: Reports) -> None:
    agent = trunkline.Agent("deep")
    where = contextvars.ContextVar[str]("where")

    async def deeper() -> None:
        await asyncio.sleep(0)
        assert reports.wait(lambda said: len(said) == 1)

    @agent.task("block")
    async def block(task: Task) -> None:
        where.set("in a handler")
        await deeper()

    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            await broker.send_and_wait("skill:block")
            assert agent.stats().blocked == 1
    assert "the handler of skill block" in reports.said[0]


async def test_a_handler_of_batches_that_blocks_is_found(reports: Reports) -> None:
    agent = trunkline.Agent("many")

    @agent.batch("block", size=2)
    async def block(tasks: list[Task]) -> None:
        assert reports.wait(lambda said: len(said) == 1)

    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            sent = await broker.send("skill:block")
            await broker.wait(sent.id)
            assert agent.stats().blocked == 1
    assert "agent many: the handler of skill block" in reports.said[0]
    assert sent.id in reports.said[0]


async def test_what_else_keeps_the_loop_is_told_as_such(reports: Reports) -> None:
    agent, begun, end = trunkline.Agent("calm"), asyncio.Event(), asyncio.Event()

    @agent.task("wait")
    async def wait(task: Task) -> None:
        begun.set()
        await end.wait()

    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            sent = await broker.send("skill:wait")
            await begun.wait()
            assert reports.wait(lambda said: len(said) == 1)
            assert "something else than a handler keeps it" in reports.said[0]
            assert "agent calm" in reports.said[0]
            end.set()
            await broker.wait(sent.id)
            assert agent.stats().blocked == 0


async def test_a_loop_that_waits_for_something_to_do_is_not_told(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, begun, end = trunkline.Agent("idle"), asyncio.Event(), asyncio.Event()
    loop, looks, asked = asyncio.get_running_loop(), list[str](), list[Callable[[], object]]()
    ask, frames = loop.call_soon_threadsafe, sys._current_frames
    runs_on = threading.get_ident()

    @agent.task("wait")
    async def wait(task: Task) -> None:
        begun.set()
        await end.wait()

    def unheard(callback: Callable[[], object], *more: Any, **other: Any) -> Any:
        if threading.current_thread().name != "trunkline-watcher":
            return ask(callback, *more, **other)
        asked.append(callback)
        if len(asked) == 1:
            # As on a machine so busy that a loop that was woken does not run.
            return None
        monkeypatch.setattr("trunkline._watching.BLOCKED", PATIENCE)
        ask(end.set)
        return ask(callback)

    def waiting() -> Any:
        """The frames of all threads while the loop waits, and nothing wakes it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            known = frames()
            at = known[runs_on]
            if at.f_code.co_name == "select" and at.f_back and at.f_back.f_locals["timeout"] != 0:
                return known
        raise AssertionError("the loop does not come to wait")

    def look() -> Any:
        looks.append("waits")
        if len(looks) == 2:
            # It has come round at last.
            asked[0]()
        return waiting() if len(asked) == 1 else frames()

    monkeypatch.setattr(loop, "call_soon_threadsafe", unheard)
    monkeypatch.setattr(sys, "_current_frames", look)
    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            sent = await broker.send("skill:wait")
            await begun.wait()
            await asyncio.wait_for(end.wait(), PATIENCE)
            await broker.wait(sent.id)
            assert agent.stats().blocked == 0
    assert len(looks) >= 2
    assert reports.said == []


async def test_a_handler_that_waits_for_descriptors_by_itself_is_told(reports: Reports) -> None:
    agent = trunkline.Agent("reader")
    ours, theirs = socket.socketpair()

    @agent.task("read")
    async def read(task: Task) -> None:
        def write() -> None:
            if reports.wait(lambda said: len(said) == 1):
                theirs.send(b"x")

        with selectors.DefaultSelector() as ready, ThreadPoolExecutor() as threads:
            ready.register(ours, selectors.EVENT_READ)
            threads.submit(write)
            assert ready.select(PATIENCE)

    with ours, theirs:
        async with trunkline.Broker() as broker:
            await agent.start(broker)
            async with agent:
                await broker.send_and_wait("skill:read", attempts=1)
                assert agent.stats().blocked == 1
    assert "agent reader: the handler of skill read" in reports.said[0]
    assert "in select (" in reports.said[0]


async def test_handlers_that_wait_are_not_told_nor_a_loop_with_much_to_do(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = trunkline.Agent("busy")
    # So long that a machine with much to do does not look like a handler that blocks.
    monkeypatch.setattr("trunkline._watching.BLOCKED", 1.0)

    @agent.task("turn")
    async def turn(task: Task) -> None:
        # Each step is short, and those of all handlers together keep the loop for longer.
        for _ in range(2):
            time.sleep(0.025)  # noqa: ASYNC251
            await asyncio.sleep(0)

    @agent.task("plain")
    def plain(task: Task) -> None:
        time.sleep(2)

    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            work = [broker.send_and_wait("skill:turn") for _ in range(64)]
            await asyncio.gather(broker.send_and_wait("skill:plain"), *work)
            assert agent.stats().blocked == 0
    assert reports.said == []


async def test_an_agent_tells_its_figures(client: Client) -> None:
    agent = trunkline.Agent("worker")

    @agent.task("work", concurrency=2)
    async def work(task: Task) -> None:
        if task.text == "retry" and task.attempt == 1:
            raise trunkline.Retry("again", after=0)
        if task.text == "reject":
            raise trunkline.Reject("no")
        if task.text == "die":
            raise trunkline.DeadLetter("dead")

    with pytest.raises(errors.ClosedError, match="worker"):
        agent.stats()
    await agent.start(client)
    async with agent:
        await client.send_and_wait("skill:work", "good")
        await client.send_and_wait("skill:work", "retry")
        for text in ("reject", "die"):
            with pytest.raises(errors.Unanswered):
                await client.send_and_wait("skill:work", text)
        await client.send_and_wait("skill:work", "good")

        async def counted() -> trunkline.AgentStats:
            # What has ended is counted soon after its sender knows.
            while (stats := agent.stats()).handled < 6:  # noqa: ASYNC110
                await asyncio.sleep(0)
            return stats

        stats = await asyncio.wait_for(counted(), PATIENCE)
        assert (stats.handled, stats.completed, stats.failed) == (6, 3, 1)
        assert (stats.retried, stats.dead_lettered, stats.released) == (1, 1, 0)
        assert (stats.queued, len(stats.workers), stats.blocked) == (0, 2, 0)
        assert sum(worker.messages for worker in stats.workers) == 6
        assert sum(worker.errors for worker in stats.workers) == 3
        assert stats.handler_time > 0
        assert stats.credit >= 2
    with pytest.raises(errors.ClosedError):
        agent.stats()
