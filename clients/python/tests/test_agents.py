"""Handlers: what they get, how their work ends, and who is told."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import trunkline
from conftest import PATIENCE
from trunkline import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline import Client, Task


async def test_the_ways_to_end_become_what_the_caller_is_told(client: Client) -> None:
    agent = trunkline.Agent("judge")

    @agent.task("judge")
    async def judge(task: Task) -> str:
        if task.text == "reject":
            raise trunkline.Reject("not mine")
        if task.text == "fail":
            raise trunkline.Fail("broken")
        if task.text == "dead":
            raise trunkline.DeadLetter("poison")
        if task.text == "bad json":
            return task.json
        if task.text == "retry" and task.attempt < 3:
            raise trunkline.Retry("once more", after="1ms")
        if task.text == "error" and task.attempt < 2:
            raise KeyError("a")
        return f"attempt {task.attempt}"

    await agent.start(client)
    async with agent:
        # These first: after five failures in a row the broker spares an agent for a while.
        assert (await client.send_and_wait("skill:judge", "retry")).text == "attempt 3"
        assert (await client.send_and_wait("skill:judge", "error")).text == "attempt 2"
        for word, error, reason in [
            ("reject", errors.RejectedError, "rejected: not mine"),
            ("fail", errors.FailedError, "failed: broken"),
            ("dead", errors.DeadLetteredError, "poison"),
            ("bad json", errors.FailedError, "PayloadError: 8 bytes beginning with b'bad json'"),
        ]:
            with pytest.raises(error, match=reason):
                await client.send_and_wait("skill:judge", word)


async def test_an_exception_is_the_reason_of_the_attempt(client: Client) -> None:
    agent = trunkline.Agent("broken")

    @agent.task("break")
    async def fall(_: Task) -> None:
        raise ZeroDivisionError("by nought")

    await agent.start(client)
    async with agent:
        with pytest.raises(errors.DeadLetteredError, match="ZeroDivisionError: by nought"):
            await client.send_and_wait("skill:break", attempts=1)


async def test_a_plain_handler_that_exits_ends_nothing_but_its_attempt(client: Client) -> None:
    agent = trunkline.Agent("exits")

    @agent.task("one")
    def one(task: Task) -> str:
        if task.attempt == 1:
            sys.exit(3)
        return f"attempt {task.attempt}"

    @agent.batch("many", size=2)
    def many(tasks: list[Task]) -> list[str]:
        return [one(task) for task in tasks]

    await agent.start(client)
    async with agent:
        for skill in ("skill:one", "skill:many"):
            with pytest.raises(errors.DeadLetteredError, match="SystemExit: 3"):
                await client.send_and_wait(skill, attempts=1)
            assert (await client.send_and_wait(skill)).text == "attempt 2"


async def test_a_plain_handler_whose_iterator_has_no_more_ends_as_with_any_exception(
    client: Client,
) -> None:
    agent = trunkline.Agent("finds")

    @agent.task("first")
    def first(task: Task) -> str:
        return next(word for word in task.text.split() if word == "lease")

    @agent.batch("firsts", size=2)
    def firsts(tasks: list[Task]) -> list[str]:
        return [first(task) for task in tasks]

    await agent.start(client)
    async with agent:
        for skill in ("skill:first", "skill:firsts"):
            assert (await client.send_and_wait(skill, "a lease")).text == "lease"
            with pytest.raises(errors.DeadLetteredError, match="raised StopIteration"):
                await client.send_and_wait(skill, "a token", attempts=1, ttl=PATIENCE)


async def test_what_cannot_be_sent_back_fails_and_is_not_tried_again(client: Client) -> None:
    agent, calls = trunkline.Agent("odd"), list[int]()

    @agent.task("odd")
    async def odd(task: Task) -> object:
        calls.append(task.attempt)
        return object()

    @agent.task("forgotten")
    def forgotten(_: Task) -> Any:
        return asyncio.sleep(0)

    await agent.start(client)
    async with agent:
        with pytest.raises(errors.FailedError, match=r"an? object cannot be sent as JSON"):
            await client.send_and_wait("skill:odd")
        with pytest.raises(errors.FailedError, match="coroutine cannot be sent; await it"):
            await client.send_and_wait("skill:forgotten")
    assert calls == [1]


async def test_plain_handlers_run_at_once_on_threads_and_the_loop_goes_on(client: Client) -> None:
    agent, meeting = trunkline.Agent("threads"), threading.Barrier(3)

    @agent.task("meet", concurrency=3)
    def meet(task: Task) -> str:
        meeting.wait(20)
        task.wait(task.progress(50))
        nested = task.wait(agent.request("skill:echo", task.text))
        return f"{threading.current_thread() is threading.main_thread()} {nested.text}"

    @agent.task("echo")
    async def echo(task: Task) -> str:
        with pytest.raises(errors.LoopError, match="use `await`"):
            task.wait(task.progress(1))
        return task.text

    await agent.start(client)
    async with agent:
        replies = await asyncio.gather(
            *(client.send_and_wait("skill:meet", str(n)) for n in range(3))
        )
    assert [reply.text for reply in replies] == ["False 0", "False 1", "False 2"]


async def test_agents_with_one_place_each_ask_each_other_in_a_circle(client: Client) -> None:
    ping, pong = trunkline.Agent("ping"), trunkline.Agent("pong")

    async def step(agent: trunkline.Agent, other: str, task: Task) -> str:
        left = task.json
        if left == 0:
            return "."
        # Through the agent, which knows the task that is being handled here.
        return f"{left}" + (await agent.request(f"skill:{other}", left - 1)).text

    @ping.task("ping", concurrency=1)
    async def on_ping(task: Task) -> str:
        return await step(ping, "pong", task)

    @pong.task("pong", concurrency=1)
    async def on_pong(task: Task) -> str:
        return await step(pong, "ping", task)

    await ping.start(client)
    await pong.start(client)
    async with ping, pong:
        assert (await client.request("skill:ping", 6)).text == "654321."


async def test_what_a_handler_sends_is_known_as_caused_by_its_task(client: Client) -> None:
    agent = trunkline.Agent("maker")

    @agent.task("make")
    async def make(task: Task) -> str:
        assert trunkline.current_task() is task
        return (await agent.send("skill:later")).id

    await agent.start(client)
    async with agent:
        parent = await client.send("skill:make")
        child = (await client.wait(parent.id)).text
        outside = (await agent.send("skill:later")).id
    assert (await client.task(child)).root == parent.id
    assert (await client.task(child)).source == "maker"
    assert (await client.task(outside)).root is None
    assert trunkline.current_task() is None


async def test_events_and_messages_come_to_their_handlers(client: Client) -> None:
    agent, got, all_here = trunkline.Agent("listener"), set[tuple[str, ...]](), asyncio.Event()

    def note(*what: str) -> None:
        got.add(what)
        if len(got) == 3:
            all_here.set()

    @agent.on("news.*", filter="payload.n > 0")
    async def news(task: Task) -> None:
        note("news", str(task.topic), str(task.json["n"]), task.kind)

    @agent.message
    async def message(task: Task) -> None:
        note("message", task.text, str(task.header("h")), str(task.source))

    @agent.task("skill")
    async def skill(task: Task) -> None:
        note("skill", task.text, str(task.skill), str(task.is_task))

    await agent.start(client)
    async with agent:
        await client.publish("news.local", {"n": 0})
        await client.publish("news.local", {"n": 1})
        await client.tell("agent:listener", "hello", headers={"h": "v"})
        await client.request("skill:skill", "r")
        await asyncio.wait_for(all_here.wait(), 20)
    assert got == {
        ("news", "news.local", "1", "event"),
        ("message", "hello", "v", "None"),
        ("skill", "r", "skill", "False"),
    }


async def test_a_handler_that_takes_too_long_is_cancelled_and_tried_again(client: Client) -> None:
    agent, cancelled = trunkline.Agent("late"), asyncio.Event()

    @agent.task("late", timeout="20ms")
    async def late(task: Task) -> str:
        if task.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return f"attempt {task.attempt}"

    await agent.start(client)
    async with agent:
        assert (await client.send_and_wait("skill:late")).text == "attempt 2"
        await asyncio.wait_for(cancelled.wait(), 20)


@pytest.mark.parametrize("how", ["one", "batch"])
async def test_a_plain_handler_that_takes_too_long_sees_that_it_is_called_off(
    client: Client, how: str
) -> None:
    agent, seen = trunkline.Agent("late"), threading.Event()

    def look(task: Task) -> None:
        patience = time.monotonic() + 10
        while not task.cancelled and time.monotonic() < patience:
            time.sleep(0.001)
        if task.cancelled:
            seen.set()

    if how == "one":
        agent.task("late", timeout="20ms")(look)
    else:

        @agent.batch("late", timeout="20ms")
        def late(tasks: list[Task]) -> None:
            look(tasks[0])

    await agent.start(client)
    async with agent:
        with pytest.raises(errors.DeadLetteredError, match="longer than its timeout"):
            await client.send_and_wait("skill:late", attempts=1)
        assert await asyncio.to_thread(seen.wait, 20)


async def test_a_handler_is_cancelled_when_its_time_to_live_ends(client: Client) -> None:
    agent, cancelled = trunkline.Agent("forever"), asyncio.Event()

    @agent.task("forever")
    async def forever(task: Task) -> None:
        assert task.remaining is not None
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await agent.start(client)
    async with agent:
        with pytest.raises(errors.ExpiredError):
            await client.request("skill:forever", timeout="50ms")
        await asyncio.wait_for(cancelled.wait(), 20)


async def test_no_more_handlers_run_at_once_than_were_asked_for(client: Client) -> None:
    agent, running, most = trunkline.Agent("few"), 0, 0

    @agent.task("few", concurrency=3)
    async def few(task: Task) -> None:
        nonlocal running, most
        assert task.attempt == 1
        running += 1
        most = max(most, running)
        for _ in range(10):
            await asyncio.sleep(0)
        running -= 1

    await agent.start(client)
    async with agent:
        await asyncio.gather(*(client.send_and_wait("skill:few") for _ in range(60)))
    assert most == 3


async def test_stopping_finishes_what_is_held_and_takes_nothing_new(client: Client) -> None:
    agent, begun, go_on = trunkline.Agent("leaving"), asyncio.Event(), asyncio.Event()

    @agent.task("leave")
    async def leave(_: Task) -> str:
        begun.set()
        await go_on.wait()
        return "done"

    await agent.start(client)
    held = await client.send("skill:leave")
    await begun.wait()
    stopping = asyncio.ensure_future(agent.stop())
    async for info in client.agents():
        assert info.id == "leaving"
    go_on.set()
    await stopping
    assert (await client.wait(held.id)).text == "done"
    later = await client.send("skill:leave")
    assert later.parked == 1
    # It can begin again.
    await agent.start(client)
    async with agent:
        assert (await client.wait(later.id)).text == "done"


async def test_an_agent_that_is_gone_at_once_gives_its_work_back(client: Client) -> None:
    slow, quick, begun = trunkline.Agent("slow"), trunkline.Agent("quick"), asyncio.Event()

    @slow.task("work")
    async def hang(_: Task) -> None:
        begun.set()
        await asyncio.Event().wait()

    @quick.task("work")
    async def work(_: Task) -> str:
        return "done"

    await slow.start(client)
    held = await client.send("skill:work")
    await begun.wait()
    stopping = asyncio.ensure_future(slow.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await quick.start(client)
    async with quick:
        reply = await client.wait(held.id)
    assert (reply.text, reply.agent) == ("done", "quick")


async def test_handlers_see_the_context_in_which_their_agent_was_started(client: Client) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    agent = trunkline.Agent("context")

    @agent.task("who")
    async def whose(_: Task) -> str:
        before = who.get()
        who.set("changed")
        return before

    @agent.task("who-plain")
    def whose_plain(_: Task) -> str:
        return who.get()

    who.set("me")
    await agent.start(client)
    who.set("other")
    async with agent:
        for skill in ("who", "who", "who-plain"):
            assert (await client.request(f"skill:{skill}")).text == "me"


async def test_a_handler_that_blocks_the_loop_for_longer_than_its_lease_keeps_its_work(
    serve: Callable[..., str],
) -> None:
    agent, attempts = trunkline.Agent("blocker"), list[int]()

    @agent.task("block")
    async def block(task: Task) -> str:
        attempts.append(task.attempt)
        time.sleep(2.5)  # noqa: ASYNC251
        return "done"

    async with trunkline.connect(serve("[broker]", 'lease = "1s"')) as client:
        await agent.start(client)
        async with agent:
            assert (await client.send_and_wait("skill:block")).text == "done"
    assert attempts == [1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks that begin at once came with 3.12")
async def test_handlers_may_begin_at_once() -> None:
    agent = trunkline.Agent("eager")

    @agent.task("eager", concurrency=2)
    async def eager(task: Task) -> str:
        if task.text == "slow":
            await asyncio.sleep(0)
        return task.text

    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # pyright: ignore
    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            for text in ("quick", "slow") * 20:
                assert (await broker.request("skill:eager", text)).text == text
            assert agent._life is not None
            assert agent._life._work._jobs == {}


async def test_a_loop_that_is_kept_busy_costs_waiting_work_no_attempt() -> None:
    agent, attempts = trunkline.Agent("late"), list[int]()

    @agent.task("late", timeout="200ms", concurrency=4)
    async def late(task: Task) -> None:
        attempts.append(task.attempt)

    ids = list[str]()

    async with trunkline.Broker() as broker:

        async def send() -> None:
            ids.extend([(await broker.send("skill:late")).id for _ in range(3)])

        await agent.start(broker)
        async with agent:
            elsewhere = threading.Thread(target=lambda: asyncio.run(send()))
            elsewhere.start()
            # Something else than a handler.
            time.sleep(0.5)  # noqa: ASYNC251
            elsewhere.join()
            for id in ids:  # noqa: A001
                await broker.wait(id)
    assert attempts == [1, 1, 1]


async def test_a_handler_that_blocks_for_longer_than_its_timeout_is_late() -> None:
    agent, attempts = trunkline.Agent("stone"), list[int]()

    @agent.task("stone", timeout="100ms")
    async def stone(task: Task) -> str:
        attempts.append(task.attempt)
        if task.attempt == 1:
            time.sleep(0.3)  # noqa: ASYNC251
        return "done"

    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            assert (await broker.send_and_wait("skill:stone")).text == "done"
    assert attempts == [1, 2]


async def test_a_long_queue_leaves_the_loop_its_turns() -> None:
    agent, handled, turns = trunkline.Agent("busy"), 0, 0
    done = asyncio.Event()

    @agent.message
    async def message(_: Task) -> None:
        nonlocal handled
        begun = time.perf_counter()
        while time.perf_counter() - begun < 0.0002:
            pass
        handled += 1
        if handled == 2000:
            done.set()

    async def turn() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            outcome = await broker.tell_all("agent:busy", ["x"] * 2000)
            assert outcome.accepted == 2000
            await turn()
    # At 64 at a time, which is how often the handler runs at once, it would be about as many.
    assert turns >= 10


@pytest.mark.parametrize("working", [False, True])
async def test_the_end_of_a_broker_in_process_ends_who_is_served_quietly(working: bool) -> None:
    broker, agent, begun = trunkline.Broker(), trunkline.Agent("served"), asyncio.Event()
    may_end = asyncio.Event()

    @agent.task("work")
    async def work(_: Task) -> None:
        begun.set()
        await may_end.wait()

    async def ready() -> None:
        async for _ in broker.watch_agents(skill="work"):
            return

    serving = asyncio.ensure_future(agent.serve(broker))
    await asyncio.wait_for(ready(), PATIENCE)
    if working:
        await broker.send("skill:work")
        await asyncio.wait_for(begun.wait(), PATIENCE)
    closing = asyncio.ensure_future(broker.close())
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait_for(closing, PATIENCE)
    await asyncio.wait_for(serving, PATIENCE)
