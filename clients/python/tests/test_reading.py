"""Whoever reads what comes one by one and is cancelled has taken nothing."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import trunkline
from conftest import PATIENCE
from trunkline._loop import current

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline import Client, Task


class Cancelling:
    """Tells what a call came to, and cancels whoever waits for it before that one has it."""

    def __init__(self, ends: Any, waiting: asyncio.Future[Any]) -> None:
        self._ends = ends
        self._waiting = waiting

    def done(self) -> bool:
        return self._ends.done()

    def set_result(self, result: Any) -> None:
        self._ends.set_result(result)
        self._waiting.cancel()

    def set_exception(self, exception: Any) -> None:
        self._ends.set_exception(exception)
        self._waiting.cancel()


async def come_in_vain(read: Awaitable[Any], provoke: Callable[[], Awaitable[Any]]) -> None:
    """Has a reader cancelled when what it waits for has come, just before it would have it."""
    loop = current()
    others = set(loop._waiting)
    waiting = asyncio.ensure_future(read)
    # It begins to wait.
    await asyncio.sleep(0)
    # An agent that has just started begins to wait for its end as well, before this one.
    number = max(set(loop._waiting) - others)
    loop._waiting[number] = Cancelling(loop._waiting[number], waiting)
    await provoke()
    await asyncio.wait({waiting}, timeout=PATIENCE)
    assert waiting.cancelled()


async def leave(read: Awaitable[Any]) -> None:
    """Has a reader cancelled who waits in vain."""
    waiting = asyncio.ensure_future(read)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=PATIENCE)
    assert waiting.cancelled()


async def until_nobody_subscribes(client: Client) -> None:
    async def publish() -> None:
        while (await client.publish("a")).targets:  # noqa: ASYNC110
            await asyncio.sleep(0)

    await asyncio.wait_for(publish(), PATIENCE)


async def soon(read: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(read, PATIENCE)


async def test_an_event_whose_reader_was_cancelled_is_the_next(client: Client) -> None:
    async with client.subscribe("a") as events:
        for n in range(3):
            await come_in_vain(anext(events), lambda n=n: client.publish("a", str(n)))
            await client.publish("a", f"after {n}")
            got = [await soon(anext(events)) for _ in range(2)]
            assert [it.text for it in got] == [str(n), f"after {n}"]
            assert sum(it.missed for it in got) == 0


async def test_a_subscription_whose_first_reader_was_cancelled_goes_on(
    serve: Callable[..., str],
) -> None:
    async with trunkline.connect(serve()) as client:
        events = client.subscribe("a")
        await come_in_vain(anext(events), lambda: asyncio.sleep(0))
        assert (await client.publish("a", "first")).targets == 1
        assert (await soon(anext(events))).text == "first"


async def test_an_update_whose_reader_was_cancelled_is_the_next(client: Client) -> None:
    agent, says = trunkline.Agent("writer"), asyncio.Queue[str]()

    @agent.task("write")
    async def write(task: Task) -> None:
        while (piece := await soon(says.get())) != "last":
            await task.artifact("notes", piece)

    await agent.start(client)
    async with agent:
        sent = await client.send("skill:write")
        watch = client.watch(sent.id)
        told = [await soon(anext(watch)) for _ in range(2)]
        for piece in ("a", "b", "last"):
            await come_in_vain(anext(watch), lambda piece=piece: says.put(piece))
            told.append(await soon(anext(watch)))
        assert [update async for update in watch] == []
    assert [update.number for update in told] == [1, 2, 3, 4, 5]


async def test_news_whose_reader_was_cancelled_are_the_next(client: Client) -> None:
    watch = client.watch_agents(skill="rest")
    agent = trunkline.Agent("resting")

    @agent.task("rest")
    async def rest(_: Task) -> None:
        return None

    await agent.start(client)
    async with agent:
        assert (await soon(anext(watch))).event == "present"
        await come_in_vain(anext(watch), lambda: client.set_agent("resting", draining=True))
        news = await soon(anext(watch))
    assert (news.event, news.agent.id) == ("changed", "resting")


async def test_a_list_whose_reader_was_cancelled_goes_on(serve: Callable[..., str]) -> None:
    async with trunkline.connect(serve()) as client:
        sent = [(await client.send("skill:nobody")).id for _ in range(3)]
        listed = client.tasks()
        await come_in_vain(anext(listed), lambda: asyncio.sleep(0))
        assert [task.id async for task in listed] == sent[::-1]


async def test_a_read_that_was_left_behind_ends_with_its_subscription(client: Client) -> None:
    closed = await client.subscribe("a")
    await leave(anext(closed))
    closed.close()
    assert [event async for event in closed] == []
    await until_nobody_subscribes(client)
    dropped = await client.subscribe("a")
    await leave(anext(dropped))
    assert (await client.publish("other")).targets == 0
    del dropped
    gc.collect()
    await until_nobody_subscribes(client)


async def test_a_read_that_was_left_behind_ends_with_its_watch(client: Client) -> None:
    watch = client.watch_agents()
    waits = set(current()._waiting)
    # It opens, if that takes time, and then waits for news.
    await leave(anext(watch))
    assert set(current()._waiting) != waits
    del watch
    gc.collect()
    assert set(current()._waiting) == waits


async def test_a_subscription_that_was_closed_while_it_opened_ends(client: Client) -> None:
    events = client.subscribe("a")
    opening = asyncio.ensure_future(anext(events, None))
    await asyncio.sleep(0)
    events.close()
    assert await soon(opening) is None
    await until_nobody_subscribes(client)


def test_a_read_that_was_left_behind_goes_on_in_another_event_loop() -> None:
    broker = trunkline.Broker()

    async def begin() -> trunkline.Subscription:
        events = await broker.subscribe("a")
        await leave(anext(events))
        return events

    async def go_on(events: trunkline.Subscription) -> str:
        await broker.publish("a", "here")
        event = await soon(anext(events))
        events.close()
        await broker.close()
        return event.text

    assert asyncio.run(go_on(asyncio.run(begin()))) == "here"
