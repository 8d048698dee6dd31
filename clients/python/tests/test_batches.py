"""Handlers that get several deliveries at once, and many things that are sent at once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trunkline
from trunkline import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline import Client, Task


async def test_a_batch_is_handled_at_once_and_each_of_it_is_answered(client: Client) -> None:
    agent, sizes = trunkline.Agent("upper"), list[int]()

    @agent.batch("upper", size=8, linger="20ms", concurrency=1)
    async def upper(tasks: list[Task]) -> list[str]:
        sizes.append(len(tasks))
        return [task.text.upper() for task in tasks]

    await agent.start(client)
    async with agent:
        asked = (client.request("skill:upper", f"word {n}") for n in range(40))
        answers = await asyncio.gather(*asked)
    assert [answer.text for answer in answers] == [f"WORD {n}" for n in range(40)]
    assert sum(sizes) == 40
    assert 1 < max(sizes) <= 8


async def test_each_of_a_batch_ends_in_its_own_way(client: Client) -> None:
    agent = trunkline.Agent("mixed")

    @agent.batch("mixed", size=10, linger="50ms")
    def mixed(tasks: list[Task]) -> list[Any]:
        assert threading.current_thread() is not threading.main_thread()
        ends = {
            "reject": trunkline.Reject("not mine"),
            "fail": trunkline.Fail("broken"),
            "unsendable": {1, 2},
            "none": None,
        }
        return [ends.get(task.text, {"was": task.text, "at": task.attempt}) for task in tasks]

    await agent.start(client)
    async with agent:
        words = ["reject", "fail", "unsendable", "none", "good"]
        sent = (client.send_and_wait("skill:mixed", word) for word in words)
        ends: list[Any] = await asyncio.gather(*sent, return_exceptions=True)
    assert isinstance(ends[0], errors.RejectedError)
    assert isinstance(ends[1], errors.FailedError)
    assert isinstance(ends[2], errors.FailedError)
    assert "cannot be sent as JSON" in str(ends[2])
    assert ends[3].data == b""
    assert ends[4].json == {"was": "good", "at": 1}


async def test_what_a_handler_of_batches_raises_ends_all_of_them(client: Client) -> None:
    agent = trunkline.Agent("once")

    @agent.batch("once", size=10)
    async def once(tasks: list[Task]) -> None:
        if any(task.attempt < 2 for task in tasks):
            raise trunkline.Retry("once more", after="1ms")

    await agent.start(client)
    async with agent:
        sent = (client.send_and_wait("skill:once", str(n)) for n in range(4))
        replies = await asyncio.gather(*sent)
    assert [reply.data for reply in replies] == [b""] * 4


@pytest.mark.parametrize("given", [[1], "text"])
async def test_other_results_than_one_each_are_an_error(client: Client, given: Any) -> None:
    agent, attempts = trunkline.Agent("wrong"), list[int]()

    @agent.batch("wrong", size=4)
    async def wrong(tasks: list[Task]) -> Any:
        attempts.extend(task.attempt for task in tasks)
        return [1, 2] if given == [1] else given

    await agent.start(client)
    async with agent:
        with pytest.raises(errors.DeadLetteredError, match=r"a batch|of a batch"):
            await client.send_and_wait("skill:wrong", "x", attempts=2)
    assert attempts == [1, 2]


@pytest.mark.parametrize("given", [None, [None]])
@pytest.mark.parametrize("on_loop", [True, False])
async def test_a_handler_of_batches_that_answers_nothing_where_it_declares_answers_fails(
    client: Client, given: Any, on_loop: bool
) -> None:
    agent, wrong = trunkline.Agent("forgetful"), given

    async def forget(_: list[Task]) -> list[dict[str, int]]:
        return wrong

    def forget_on_a_thread(_: list[Task]) -> list[str]:
        return wrong

    async def may_answer(_: list[Task]) -> list[str | None] | None:
        return wrong

    agent.batch("forget", size=2)(forget if on_loop else forget_on_a_thread)
    agent.batch("quiet", size=2)(may_answer)
    await agent.start(client)
    async with agent:
        with pytest.raises(errors.FailedError, match="returned nothing"):
            await client.request("skill:forget")
        assert (await client.request("skill:quiet")).data == b""


async def test_batches_of_events_and_of_messages(client: Client) -> None:
    agent, seen = trunkline.Agent("sink"), list[tuple[str | None, str]]()
    whole = asyncio.Event()

    def add(tasks: list[Task]) -> None:
        seen.extend((task.topic, task.text) for task in tasks)
        if len(seen) == 30:
            whole.set()

    @agent.batch(topics="builds.*", size=16, filter="payload > 4")
    async def events(tasks: list[Task]) -> None:
        add(tasks)

    @agent.batch(size=16)
    async def messages(tasks: list[Task]) -> None:
        add(tasks)

    await agent.start(client)
    async with agent:
        outcome = await client.publish_all("builds.linux", range(20))
        assert (outcome.accepted, outcome.refused) == (20, [])
        told = await client.tell_all("agent:sink", [str(n) for n in range(15)])
        assert (told.accepted, told.dropped) == (15, 0)
        await asyncio.wait_for(whole.wait(), 20)
    assert sorted(text for topic, text in seen if topic == "builds.linux") == sorted(
        str(n) for n in range(5, 20)
    )
    assert [text for topic, text in seen if topic is None] == [str(n) for n in range(15)]


async def test_many_tasks_sent_at_once_are_all_done(client: Client) -> None:
    agent, seen = trunkline.Agent("counter"), set[int]()
    whole = asyncio.Event()

    @agent.task("count")
    async def count(task: Task) -> None:
        seen.add(task.json)
        if len(seen) == 500:
            whole.set()

    await agent.start(client)
    async with agent:
        outcome = await client.send_all("skill:count", range(500), headers={"of": "many"})
        assert (outcome.accepted, outcome.duplicates, outcome.refused) == (500, 0, [])
        await asyncio.wait_for(whole.wait(), 20)
    assert seen == set(range(500))


async def test_the_handler_of_a_task_sends_many_as_caused_by_it(client: Client) -> None:
    agent, roots = trunkline.Agent("splitter"), list[str | None]()
    whole = asyncio.Event()

    @agent.task("split")
    async def split(task: Task) -> int:
        outcome = await task.tell_all("skill:part", ["a", "b", "c"])
        return outcome.accepted

    @agent.task("part")
    async def part(task: Task) -> None:
        roots.append(task.context)
        if len(roots) == 3:
            whole.set()

    await agent.start(client)
    async with agent:
        reply = await client.send_and_wait("skill:split", context="talk-1")
        assert reply.json == 3
        await asyncio.wait_for(whole.wait(), 20)
    assert roots == ["talk-1"] * 3


async def test_what_is_refused_of_many_is_told_by_its_place(
    serve: Callable[..., str],
) -> None:
    address = serve("[limits]", "payload_bytes = 4096")
    async with trunkline.connect(address) as client:
        outcome = await client.tell_all("skill:any", [b"x", bytes(5000), b"y"])
    assert outcome.accepted == 2
    [(place, error)] = outcome.refused
    assert place == 1
    assert isinstance(error, errors.TooLargeError)
    assert "4096" in str(error)


async def test_misuse_of_batches_is_told(client: Client) -> None:
    agent = trunkline.Agent("misused")
    for size in (0, 1, 1025):
        with pytest.raises(errors.InvalidError, match="the range is 2 to 1024"):
            agent.batch("x", size=size)

    async def two(tasks: list[Task], more: str) -> None: ...

    wrong: Any = two
    with pytest.raises(errors.UsageError, match="nothing is known to give"):
        agent.batch("x")(wrong)

    with pytest.raises(errors.UsageError, match="make two"):
        agent.batch("x", topics="y")
    with pytest.raises(errors.UsageError, match="name their topics"):
        agent.batch("x", group="g")
    with pytest.raises(errors.InvalidError, match="each under its own"):
        await client.send_all("skill:x", ["a"], key="once")
    with pytest.raises(errors.InvalidError, match="give a list"):
        await client.tell_all("skill:x", "text")
    with pytest.raises(errors.PayloadError, match="cannot be sent"):
        await client.tell_all("skill:x", [{1}])


async def test_a_batch_that_is_cancelled_goes_back(client: Client) -> None:
    agent, attempts = trunkline.Agent("slow"), list[int]()

    @agent.batch("slow", size=4, timeout="50ms")
    async def slow(tasks: list[Task]) -> list[int]:
        attempts.extend(task.attempt for task in tasks)
        if tasks[0].attempt == 1:
            await asyncio.Event().wait()
        return [task.attempt for task in tasks]

    await agent.start(client)
    async with agent:
        reply = await client.send_and_wait("skill:slow", "x")
    assert reply.json == 2
    assert attempts == [1, 2]
