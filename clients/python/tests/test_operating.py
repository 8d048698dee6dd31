"""What operators list, look up and change."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import trunkline
from conftest import PATIENCE
from trunkline import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import TypeVar

    from trunkline import Client, DeadLetterInfo, Task

    T = TypeVar("T")


async def all_of(things: AsyncIterator[T]) -> list[T]:
    return [thing async for thing in things]


def pass_by(moment: float) -> None:
    """Returns when a moment is over that is a millisecond away."""
    while time.time() <= moment:
        pass


def killer() -> trunkline.Agent:
    """An agent that takes nothing but what is good."""
    agent = trunkline.Agent("killer", labels={"tier": "gold"})

    @agent.task("bill")
    async def bill(task: Task) -> str:
        if task.text != "good":
            raise trunkline.DeadLetter(f"bad: {task.text}")
        return "billed"

    return agent


async def dead(client: Client, *texts: str) -> list[DeadLetterInfo]:
    """Lets some work die, and lists it."""
    for text in texts:
        with pytest.raises(errors.DeadLetteredError):
            await client.send_and_wait("skill:bill", text, headers={"h": "v"})
    return await all_of(client.dead_letters())


async def test_dead_letters_are_listed_with_the_reason_of_every_attempt(client: Client) -> None:
    agent, before = killer(), time.time() - 1
    await agent.start(client)
    async with agent:
        two, one = await dead(client, "one", "two")
    assert (one.payload.text, one.reason, one.inbox, one.to) == (
        "one",
        "bad: one",
        "skill:bill",
        "skill:bill",
    )
    assert (one.headers, one.source, one.redriven_from) == ([("h", "v")], None, None)
    assert [(note.attempt, note.agent, note.reason) for note in one.attempts] == [
        (1, "killer", "bad: one")
    ]
    assert before < one.accepted_at <= one.at <= two.at
    later = datetime.fromtimestamp(two.at, timezone.utc) + timedelta(seconds=1)
    for wanted, found in [
        (client.dead_letters(id=one.id), [one]),
        (client.dead_letters(reason="two"), [two]),
        (client.dead_letters(inbox="skill:bill", limit=1), [two]),
        (client.dead_letters(inbox="skill:other"), []),
        (client.dead_letters(agent="killer"), [two, one]),
        (client.dead_letters(agent="other"), []),
        (client.dead_letters(since=before), [two, one]),
        (client.dead_letters(since=later), []),
        (client.dead_letters(until=later), [two, one]),
        (client.dead_letters(until=before), []),
    ]:
        assert await all_of(wanted) == found
    with pytest.raises(errors.InvalidError, match="limit"):
        await all_of(client.dead_letters(limit=0))


async def test_lists_go_on_over_pages(client: Client) -> None:
    agent, bad = killer(), list[str]()
    await agent.start(client)
    async with agent:
        for n in range(101):
            sent = await client.send("skill:bill", str(n))
            bad.append(sent.id)
            with pytest.raises(errors.Unanswered):
                await client.wait(sent.id)
            # So many failures in a row would open the circuit breaker.
            await client.send_and_wait("skill:bill", "good")
    letters = [letter.id async for letter in client.dead_letters()]
    assert sorted(letters) == sorted(bad)
    tasks = [task.id async for task in client.tasks()]
    assert (len(tasks), len(set(tasks))) == (202, 202)
    changed = [task.id async for task in client.tasks(by_change=True)]
    assert sorted(changed) == sorted(tasks)
    assert len(await all_of(client.tasks(by_change=True, limit=101))) == 101


async def test_a_dead_letter_is_sent_again_edited_or_not_or_deleted(client: Client) -> None:
    agent = killer()
    await agent.start(client)
    async with agent:
        three, two, one = await dead(client, "one", "two", "three")
        mended = await client.redrive(one, "good", priority="high")
        assert (await client.wait(mended)).text == "billed"
        again = await client.redrive(two.id, inbox="skill:bill")
        with pytest.raises(errors.Unanswered, match="bad: two"):
            await client.wait(again)
        elsewhere = await client.redrive(three, to="agent:killer")
        with pytest.raises(errors.Unanswered, match="bad: three"):
            await client.wait(elsewhere)
        with pytest.raises(errors.NotFoundError):
            await client.redrive(one)
        elsewhere, again = sorted(
            await all_of(client.dead_letters()), key=lambda letter: letter.inbox
        )
        assert (elsewhere.inbox, elsewhere.redriven_from) == ("agent:killer", three.id)
        assert (again.inbox, again.redriven_from) == ("skill:bill", two.id)
        await client.purge(again)
        await client.purge(elsewhere.id)
        with pytest.raises(errors.NotFoundError):
            await client.purge(again)
    assert await all_of(client.dead_letters()) == []
    stats = await client.stats()
    assert (stats.redriven, stats.purged, stats.dead_letters) == (3, 2, 0)


async def test_tasks_are_listed_by_what_happened_to_them_when(client: Client) -> None:
    first = await client.send("skill:a", "1", context="talk")
    middle = (await client.task(first.id)).created_at + 0.001
    pass_by(middle)
    second = await client.send("agent:b", "2")

    async def ids(**wanted: float | list[str] | bool) -> list[str]:
        return [task.id async for task in client.tasks(**wanted)]  # type: ignore[arg-type]

    assert await ids(since=middle) == [second.id]
    assert await ids(until=middle) == [first.id]
    assert await ids(except_agents=["b"]) == [first.id]
    assert await ids(by_change=True) == [second.id, first.id]
    changed_at = (await client.task(second.id)).updated_at + 0.001
    pass_by(changed_at)
    await client.cancel(first.id, "no more")
    assert await ids(changed_since=changed_at) == [first.id]
    assert await ids(by_change=True) == [first.id, second.id]


async def test_what_was_said_in_a_task_and_a_conversation_is_told(client: Client) -> None:
    agent, attempts = trunkline.Agent("shop"), 0

    @agent.task("buy")
    async def buy(task: Task) -> str:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise trunkline.Retry("not yet", after=0)
        return "bought"

    await agent.start(client)
    async with agent:
        sent = await client.send("skill:buy", "a hat", context="talk")
        await client.wait(sent.id)
    task = await client.task(sent.id, history=None)
    said = [(it.task, it.role, it.source, it.payload.text) for it in task.history.messages]
    assert said == [
        (sent.id, "caller", None, "a hat"),
        (sent.id, "agent", "shop", "bought"),
    ]
    assert (task.history.more, task.causation) == (False, None)
    assert [(note.attempt, note.agent, note.reason) for note in task.notes] == [
        (1, "shop", "not yet")
    ]
    assert (await client.task(sent.id)).history.messages == []
    latest = (await client.task(sent.id, history=1)).history
    assert ([it.payload.text for it in latest.messages], latest.more) == (["bought"], True)
    talk = await client.context("talk")
    assert (talk.id, talk.tasks, talk.tasks_open) == ("talk", 1, 0)
    assert talk.history.messages == task.history.messages
    with pytest.raises(errors.NotFoundError):
        await client.context("another")


async def test_a_message_tells_where_its_copies_are(client: Client) -> None:
    sent = await client.tell("skill:nobody", "x", ttl="1h")
    message = await client.message(sent.id)
    assert (message.id, message.kind, message.to) == (sent.id, "event", "skill:nobody")
    assert [(copy.inbox, copy.state, copy.attempts, copy.agent) for copy in message.copies] == [
        ("skill:nobody", "parked", 0, None)
    ]
    await client.cancel(sent.id)
    ended = await client.message(sent.id)
    assert [copy.state for copy in ended.copies] == ["canceled"]


async def test_a_one_way_message_is_of_the_kind_that_was_asked_for(client: Client) -> None:
    agent, got = trunkline.Agent("ear"), asyncio.Queue[tuple[str, str | None]]()

    @agent.message
    async def hear(task: Task) -> None:
        await got.put((task.kind, task.correlation))

    await agent.start(client)
    async with agent:
        for kind in ("event", "broadcast", "context-share", "status", "error"):
            await client.tell("all" if kind == "broadcast" else "agent:ear", kind=kind)
            assert await asyncio.wait_for(got.get(), PATIENCE) == (kind, None)
        question = await client.send("skill:nobody")
        await client.tell("agent:ear", kind="response", correlation=question.id)
        assert await asyncio.wait_for(got.get(), PATIENCE) == ("response", question.id)
        with pytest.raises(errors.InvalidError, match="correlation"):
            await client.tell("agent:ear", kind="response")


async def test_agents_are_found_by_what_they_say_and_set_while_they_run(client: Client) -> None:
    agent, other = killer(), trunkline.Agent("other", types=["t"], capabilities=["c"])

    @other.task("x")
    async def x(task: Task) -> None: ...

    await agent.start(client)
    await other.start(client)
    async with agent, other:
        for wanted, found in [
            (client.agents(id="other"), ["other"]),
            (client.agents(type="t"), ["other"]),
            (client.agents(capability="c"), ["other"]),
            (client.agents(labels={"tier": "gold"}), ["killer"]),
            (client.agents(labels={"tier": "tin"}), []),
            (client.agents(presence="offline"), []),
            (client.agents(limit=1), ["killer"]),
        ]:
            assert [it.id async for it in wanted] == found
        await client.set_agent("killer", weight=7, healthy=False)
        (info,) = await all_of(client.agents(id="killer"))
        assert (info.weight, info.healthy, info.draining, info.breakers) == (7, False, False, [])
        assert info.credit > 0
        with pytest.raises(errors.NotFoundError):
            await client.set_agent("nobody", weight=1)
        with pytest.raises(errors.Refused, match="1000"):
            await client.set_agent("killer", weight=1001)
    await client.unregister("killer")
    assert [it.id async for it in client.agents()] == ["other"]


async def test_a_breaker_that_opened_is_told(client: Client) -> None:
    agent = trunkline.Agent("frail")

    @agent.task("break")
    async def fall(task: Task) -> None:
        raise trunkline.Fail("broken")

    await agent.start(client)
    async with agent:
        for _ in range(5):
            with pytest.raises(errors.FailedError):
                await client.send_and_wait("skill:break")
        (info,) = await all_of(client.agents(id="frail"))
    assert [(it.inbox, it.state, it.failures) for it in info.breakers] == [
        ("skill:break", "open", 5)
    ]
    assert info.breakers[0].open_for > 0
    assert (await client.stats()).breakers_opened == 1


async def test_who_comes_and_goes_is_told(client: Client) -> None:
    agent = killer()
    watch = client.watch_agents(skill="bill")

    async def told() -> tuple[str, int, str]:
        news = await asyncio.wait_for(anext(watch), PATIENCE)
        return (news.event, news.snapshot, news.agent.id)

    await agent.start(client)
    assert await told() == ("present", 1, "killer")
    await client.set_agent("killer", draining=True)
    assert await told() == ("changed", 1, "killer")
    await agent.stop()
    while (last := await told())[0] == "changed":
        pass
    assert last == ("left", 1, "killer")
    await client.unregister("killer")
    assert await told() == ("gone", 1, "killer")


async def test_an_inbox_is_run_as_it_was_set(client: Client) -> None:
    await client.set_inbox(
        "skill:bill",
        when_full="wait",
        wait="20ms",
        limit=1,
        ttl="1h",
        routing="weighted",
        bindings={"urgent": ("tier", "gold")},
    )
    await client.send("skill:bill", "1")
    inbox = await client.inbox("skill:bill")
    assert (inbox.inbox, inbox.when_full, inbox.limit, inbox.routing) == (
        "skill:bill",
        "wait",
        1,
        "weighted",
    )
    assert (inbox.wait, inbox.ttl, inbox.bindings) == (0.02, 3600, {"urgent": ("tier", "gold")})
    assert (inbox.effective.wait, inbox.effective.logged) == (0.02, 1)
    assert (inbox.counters.accepted, inbox.gauges.parked, inbox.servers) == (1, 1, 0)
    with pytest.raises(errors.InboxFullError):
        await client.send("skill:bill", "2")
    await client.set_inbox("skill:bill", reset=True)
    inbox = await client.inbox("skill:bill")
    assert (inbox.when_full, inbox.wait, inbox.limit, inbox.bindings) == (None, None, None, {})
    await client.send("skill:bill", "2")
    for label in (1, "ab", ("a",), ("a", 1), None):
        wrong: Any = {"urgent": label}
        with pytest.raises(errors.InvalidError, match="for 'urgent'; give key and value"):
            await client.set_inbox("skill:bill", bindings=wrong)
    with pytest.raises(errors.InvalidError, match="routing"):
        await client.set_inbox("agent:a", routing="random")
    with pytest.raises(errors.Refused, match="range"):
        await client.set_inbox("skill:bill", limit=2_000_000_000)


async def test_a_schedule_sends_what_is_due_until_it_is_removed(client: Client) -> None:
    told = await client.set_schedule(
        "tick", "* * * * * *", "topic:clock.tick", "tick", zone="Europe/Berlin"
    )
    assert (told.name, told.cron, told.zone, told.to) == (
        "tick",
        "* * * * * *",
        "Europe/Berlin",
        "topic:clock.tick",
    )
    assert (told.payload.text, told.refused) == ("tick", None)
    assert told.next is not None
    async with client.subscribe("clock.*") as events:
        event = await asyncio.wait_for(anext(events), PATIENCE)
    assert event.text == "tick"
    assert ("trunkline-schedule", "tick") in event.headers
    await client.set_schedule("report", "0 8 * * mon-fri", "skill:report", {"a": 1}, priority="low")
    report, tick = await all_of(client.schedules())
    assert (report.name, report.payload.json, report.fired, report.last) == (
        "report",
        {"a": 1},
        0,
        None,
    )
    assert tick.fired > 0
    assert tick.last is not None
    assert [it.name async for it in client.schedules(name="tick")] == ["tick"]
    await client.remove_schedule("tick")
    with pytest.raises(errors.NotFoundError, match="tick"):
        await client.remove_schedule("tick")
    assert [it.name async for it in client.schedules()] == ["report"]
    with pytest.raises(errors.InvalidError, match="61"):
        await client.set_schedule("never", "61 * * * *", "skill:report")
    with pytest.raises(errors.InvalidError, match="Nowhere"):
        await client.set_schedule("where", "* * * * *", "skill:report", zone="Nowhere")


async def test_the_figures_are_told(client: Client) -> None:
    agent = killer()
    await agent.start(client)
    async with agent:
        await client.send_and_wait("skill:bill", "good")
        await dead(client, "bad")
        stats = await client.stats()
    assert (stats.messages_accepted, stats.tasks_completed, stats.tasks_failed) == (2, 1, 1)
    assert (stats.counters.accepted, stats.counters.settled) == (2, 1)
    assert (stats.dead_letters, stats.agents, stats.log) == (1, 1, None)
    assert stats.uptime > 0
    (inbox,) = [it for it in stats.inboxes if it.address == "skill:bill"]
    assert (inbox.counters.dead_lettered, inbox.gauges.leased) == (1, 0)


async def test_the_log_has_figures_of_its_own(tmp_path: object) -> None:
    async with trunkline.Broker(str(tmp_path)) as broker:
        await broker.send("skill:later")
        stats = await broker.stats()
    assert stats.log is not None
    assert stats.log.records > 0
    assert not stats.log.disk_full
