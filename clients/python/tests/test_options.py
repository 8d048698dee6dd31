"""Every option of what is sent acts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import trunkline
from trunkline import errors

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline import Client, Task


async def test_every_option_acts(client: Client) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    agent, got = trunkline.Agent("seer"), asyncio.Queue[str]()

    @agent.task("see", concurrency=1)
    async def see(task: Task) -> None:
        if task.text == "said":
            said = (task.header("h"), task.context, task.traceparent, task.correlation)
            await got.put(str((*said, task.remaining is not None)))
        elif task.text == "endless":
            await asyncio.Event().wait()
        elif task.text == "again":
            await got.put(f"attempt {task.attempt}")
            raise trunkline.Retry("again", after=0)
        else:
            await got.put(task.text)

    # Before the agent is there: what waits is handled by priority, and of a key in order.
    await client.send("skill:see", "low", priority="low")
    await client.send("skill:see", "urgent", priority="urgent")
    expired = await client.send("skill:see", "expired", ttl="1ms")
    with pytest.raises(errors.Unanswered):
        await client.wait(expired.id)
    with pytest.raises(errors.NobodyThereError):
        await client.send("skill:see", "fail", absent="fail")
    delayed = await client.send("skill:see", "delayed", delay="1h")
    await agent.start(client)
    async with agent:
        assert [await got.get(), await got.get()] == ["urgent", "low"]
        headers, context = {"h": "v"}, "c1"
        await client.send(
            "skill:see",
            "said",
            headers=headers,
            context=context,
            traceparent=trace,
            correlation=delayed.id,
            ttl="1h",
        )
        assert await got.get() == str(("v", "c1", trace, delayed.id, True))
        with pytest.raises(errors.DeadLetteredError):
            await client.send_and_wait("skill:see", "again", attempts=2)
        assert [await got.get(), await got.get()] == ["attempt 1", "attempt 2"]
        with pytest.raises(errors.Unanswered):
            await client.send_and_wait("skill:see", "endless", attempts=1, max_run="50ms")
        with pytest.raises(errors.ExpiredError, match="no answer within"):
            await client.send_and_wait("skill:nobody", timeout="20ms")
        assert (await client.task(delayed.id)).state == "submitted"
        with pytest.raises(errors.InvalidError, match="attempts"):
            await client.send("skill:see", attempts=0)


async def test_what_is_ordered_goes_one_after_the_other(client: Client) -> None:
    agent, running, seen = trunkline.Agent("order"), 0, list[str]()

    @agent.task("order")
    async def order(task: Task) -> None:
        nonlocal running
        running += 1
        assert running == 1
        seen.append(task.text)
        await asyncio.sleep(0)
        running -= 1

    await agent.start(client)
    async with agent:
        sent = [
            await client.send("skill:order", str(n), ordering_key="k", attempts=1)
            for n in range(20)
        ]
        for one in sent:
            await client.wait(one.id)
    assert seen == [str(n) for n in range(20)]


async def test_durability_says_what_a_restart_may_take(folder: Path) -> None:
    async with trunkline.Broker(folder) as broker:
        lost = await broker.send("skill:later", "x", durability="ephemeral")
        kept = await broker.send("skill:later", "x", durability="buffered")
    async with trunkline.Broker(folder) as broker:
        assert (await broker.task(kept.id)).state == "submitted"
        with pytest.raises(errors.NotFoundError):
            await broker.task(lost.id)
