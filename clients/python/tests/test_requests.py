"""Requests, tasks and messages, in process and over the network."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import trunkline
from trunkline import _payload, errors

if TYPE_CHECKING:
    from trunkline import Agent, Client, Task


async def started(agent: Agent, client: Client) -> Agent:
    await agent.start(client)
    return agent


def echo() -> Agent:
    agent = trunkline.Agent("echo", skills=["echo"])

    @agent.task("echo")
    async def answer(task: Task) -> trunkline.Payload:
        return trunkline.Payload(task.data, task.content_type)

    return agent


@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        (b"\x00\xff", ""),
        (bytearray(b"ab"), ""),
        (memoryview(b"ab"), ""),
        ("grün", "text/plain; charset=utf-8"),
        (None, ""),
        (trunkline.Payload(b"<a/>", "text/xml"), "text/xml"),
    ],
)
async def test_a_payload_comes_back_as_it_was_sent(
    client: Client, value: Any, content_type: str
) -> None:
    async with await started(echo(), client):
        reply = await client.request("skill:echo", value)
    data, _ = _payload.to_payload(value)
    assert (reply.data, reply.content_type, reply.agent) == (data, content_type, "echo")


async def test_what_json_has_goes_as_json(client: Client) -> None:
    value = {"a": [1, 2.5, None, True], "ü": "ß"}
    async with await started(echo(), client):
        reply = await client.request("agent:echo", value)
    assert reply.json == value
    assert reply.content_type == "application/json"


async def test_many_requests_at_once_each_get_their_own_answer(client: Client) -> None:
    async with await started(echo(), client):
        replies = await asyncio.gather(*(client.request("skill:echo", str(n)) for n in range(500)))
    assert [reply.text for reply in replies] == [str(n) for n in range(500)]


async def test_a_request_that_nobody_answers_in_time_expires(client: Client) -> None:
    with pytest.raises(errors.ExpiredError):
        await client.request("skill:nobody", "?", timeout="50ms")
    with pytest.raises(TimeoutError):
        await client.request("skill:nobody", "?", timeout=0.05)


async def test_a_request_that_is_not_to_wait_is_refused(client: Client) -> None:
    with pytest.raises(errors.NobodyThereError) as caught:
        await client.request("skill:nobody", "?", absent="fail")
    assert caught.value.code == "nobody-there"


async def test_a_task_has_a_result_that_stays(client: Client) -> None:
    async with await started(echo(), client):
        accepted = await client.send("skill:echo", "work")
        assert (await client.wait(accepted.id)).text == "work"
        task = await client.task(accepted.id)
        assert task.ended
        assert (task.state, task.to, task.agent, task.attempts) == (
            "completed",
            "skill:echo",
            "echo",
            1,
        )
        assert task.result is not None
        assert task.result.text == "work"
        again = await client.send_and_wait("skill:echo", "more")
        newest_first = sorted([again.id, accepted.id], reverse=True)
        assert [task.id async for task in client.tasks()] == newest_first
        assert [task.id async for task in client.tasks(limit=1)] == newest_first[:1]
        assert [task.id async for task in client.tasks(states=["working"])] == []


async def test_tasks_are_listed_over_many_pages(client: Client) -> None:
    sent = [(await client.send("skill:later", str(n))).id for n in range(230)]
    sent.sort(reverse=True)
    assert [task.id async for task in client.tasks(skill="later")] == sent
    assert len([task async for task in client.tasks(limit=150)]) == 150


async def test_a_key_is_accepted_once(client: Client) -> None:
    first = await client.send("skill:later", "x", key="k1")
    again = await client.send("skill:later", "x", key="k1")
    assert (again.id, first.duplicate, again.duplicate) == (first.id, False, True)
    with pytest.raises(errors.KeyReusedError):
        await client.send("skill:later", "y", key="k1")


async def test_a_watch_tells_a_task_from_any_number_to_its_end(client: Client) -> None:
    agent = trunkline.Agent("writer")

    @agent.task("write")
    async def write(task: Task) -> str:
        await task.artifact("notes", "one ")
        await task.artifact("notes", {"n": 2}, last=True)
        return "done"

    accepted = await client.send("skill:write")
    async with await started(agent, client):
        told = [
            update
            async for update in client.watch(accepted.id)
            if not isinstance(update, trunkline.ProgressUpdate)
        ]
        again = [update async for update in client.watch(accepted.id, after=3)]
    states = [update.state for update in told if isinstance(update, trunkline.StatusUpdate)]
    assert states == ["submitted", "working", "completed"]
    pieces = [update for update in told if isinstance(update, trunkline.ArtifactUpdate)]
    assert [(it.name, it.append, it.last) for it in pieces] == [
        ("notes", True, False),
        ("notes", True, True),
    ]
    assert (pieces[0].payload.text, pieces[1].payload.json) == ("one ", {"n": 2})
    assert again == told[3:]


async def test_progress_shows_in_the_task(client: Client) -> None:
    agent, seen = trunkline.Agent("slow"), asyncio.Event()

    @agent.task("slow")
    async def slow(task: Task) -> None:
        await task.progress(40, "nearly half")
        await seen.wait()

    async with await started(agent, client):
        accepted = await client.send("skill:slow")
        async for update in client.watch(accepted.id):
            if isinstance(update, trunkline.ProgressUpdate):
                assert (update.percent, update.text) == (40, "nearly half")
                break
        assert (await client.task(accepted.id)).progress == (40, "nearly half")
        seen.set()
        assert (await client.wait(accepted.id)).data == b""


async def test_a_paused_task_goes_on_when_it_is_answered(client: Client) -> None:
    agent = trunkline.Agent("asker")

    @agent.task("ask")
    async def ask(task: Task) -> str:
        if not task.messages:
            raise trunkline.InputRequired({"question": "which?"})
        return task.messages[-1].text

    async with await started(agent, client):
        accepted = await client.send("skill:ask")
        async for update in client.watch(accepted.id):
            if isinstance(update, trunkline.MessageUpdate):
                if update.source is not None:
                    assert update.payload.json == {"question": "which?"}
            elif isinstance(update, trunkline.StatusUpdate) and update.state == "input-required":
                await client.continue_task(accepted.id, "this one")
        assert (await client.wait(accepted.id)).text == "this one"
        with pytest.raises(errors.WrongStateError):
            await client.continue_task(accepted.id, "late")


async def test_cancelling_reaches_the_handler_as_cancelled_error(client: Client) -> None:
    agent, begun, ended = trunkline.Agent("long"), asyncio.Event(), asyncio.Event()

    @agent.task("long")
    async def long(task: Task) -> None:
        if task.text == "quick":
            return
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    async with await started(agent, client):
        accepted = await client.send("skill:long")
        await begun.wait()
        assert await client.cancel(accepted.id, "not needed") == 1
        await asyncio.wait_for(ended.wait(), 20)
        with pytest.raises(errors.CanceledError):
            await client.wait(accepted.id)
        done = await client.send_and_wait("agent:long", "quick")
        with pytest.raises(errors.WrongStateError):
            await client.cancel(done.id)
    with pytest.raises(errors.NotFoundError):
        await client.cancel("0192f0c1-2d3e-7000-8000-00000000002a")


async def test_cancelling_descendants_counts_them(client: Client) -> None:
    agent, begun = trunkline.Agent("parent"), asyncio.Event()

    @agent.task("parent")
    async def parent(task: Task) -> None:
        await task.send("skill:never")
        begun.set()
        await asyncio.Event().wait()

    async with await started(agent, client):
        accepted = await client.send("skill:parent")
        await begun.wait()
        assert await client.cancel(accepted.id, descendants=True) == 2
        tasks = [task async for task in client.tasks(root=accepted.id)]
    assert {task.state for task in tasks} == {"canceled"}
    assert len(tasks) == 2


async def test_events_come_in_order_and_tell_their_topic(client: Client) -> None:
    async with client.subscribe("builds.*") as events:
        for n in range(600):
            told = await client.publish(f"builds.b{n % 3}", str(n), headers={"n": str(n)})
            assert told.targets == 1
        await client.publish("other", "x")
        got = [await anext(events) for _ in range(600)]
    assert [event.text for event in got] == [str(n) for n in range(600)]
    assert got[4].topic == "builds.b1"
    assert got[4].headers == [("n", "4")]
    assert sum(event.missed for event in got) == 0


async def test_a_subscriber_that_is_too_slow_is_told_how_many_it_missed(client: Client) -> None:
    # More than the subscriber and the broker together hold for it.
    total = 12_000
    async with client.subscribe("fast") as events:
        told = await asyncio.gather(*(client.publish("fast", str(n)) for n in range(total)))
        dropped = sum(it.dropped for it in told)
        assert dropped > 0
        # An event tells of those that were dropped before it.
        seen = [await anext(events) for _ in range(total - dropped)]
        await client.publish("fast", "last")
        seen.append(await anext(events))
    assert seen[-1].text == "last"
    assert sum(event.missed for event in seen) == dropped


async def test_a_subscription_wants_only_what_its_filter_wants(client: Client) -> None:
    async with client.subscribe("f", filter="payload.n > 1") as events:
        for n in range(4):
            await client.publish("f", {"n": n})
        assert [(await anext(events)).json["n"] for _ in range(2)] == [2, 3]
    with pytest.raises(errors.InvalidError):
        await client.subscribe("f", filter="payload.n >")


async def test_a_closed_subscription_ends_who_waits_for_it(client: Client) -> None:
    events = await client.subscribe("quiet")
    waiting = asyncio.ensure_future(anext(events, None))
    await asyncio.sleep(0)
    with pytest.raises(errors.UsageError, match="already waits"):
        await anext(events)
    events.close()
    assert await asyncio.wait_for(waiting, 20) is None
    assert [event async for event in events] == []


async def test_the_directory_tells_agents(client: Client) -> None:
    agent = trunkline.Agent(
        "card", description="d", types=["t"], labels={"k": "v"}, region="r", version="1"
    )

    @agent.task("carding")
    async def carding(_: Task) -> None:
        return None

    async with await started(agent, client):
        (info,) = [it async for it in client.agents(skill="carding")]
        assert [it async for it in client.agents(skill="none")] == []
    assert (info.id, info.description, info.types, info.skills, info.labels) == (
        "card",
        "d",
        ["t"],
        ["carding"],
        {"k": "v"},
    )


async def test_a_call_that_is_given_up_does_no_harm(client: Client) -> None:
    for _ in range(20):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.request("skill:nobody", "?"), 0.001)
    async with client.subscribe("a") as events:
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(events), 0.001)
        await client.publish("a", "here")
        assert (await anext(events)).text == "here"
    async with await started(echo(), client):
        assert (await client.request("skill:echo", "still")).text == "still"


async def test_the_answers_of_several_are_gathered_with_who_is_missing(client: Client) -> None:
    agents = [trunkline.Agent(name) for name in ("g1", "g2", "g3")]
    for agent in agents:

        @agent.message
        @agent.task("vote")
        async def vote(task: Task, name: str = agent.id) -> dict[str, str]:
            if task.text == "two" and name == "g3":
                raise trunkline.Reject("abstains")
            if task.text == "late" and name == "g3":
                await asyncio.Event().wait()
            return {"name": name}

        await agent.start(client)
    async with agents[0], agents[1], agents[2]:
        every = await client.gather("skill:vote", "all")
        assert every.complete
        assert {agent: it.json["name"] for agent, it in every.answers.items()} == {
            name: name for name in ("g1", "g2", "g3")
        }
        two = await client.gather("agents:g1,g3", "two")
        assert (two.complete, list(two.answers)) == (False, ["g1"])
        assert isinstance(two.missing["g3"], errors.RejectedError)
        assert str(two.missing["g3"]) == "rejected: abstains"
        late = await client.gather("skill:vote", "late", timeout="100ms")
        assert (late.complete, sorted(late.answers), list(late.missing)) == (
            False,
            ["g1", "g2"],
            ["g3"],
        )
        assert isinstance(late.missing["g3"], errors.ExpiredError)
        enough = await client.gather("skill:vote", "late", wanted=2)
        assert (enough.complete, sorted(enough.answers)) == (True, ["g1", "g2"])
        inside = await agents[0].gather("agents:g2", "x")
        assert list(inside.answers) == ["g2"]
