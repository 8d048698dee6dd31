"""Handlers in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest
import trunkline
from trunkline import errors
from work import compute

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trunkline import Client


def computer(processes: int = 2) -> trunkline.Agent:
    agent = trunkline.Agent("computer")
    agent.process("compute", processes=processes, timeout="5s")(compute)
    return agent


async def test_work_is_done_elsewhere_and_by_several_at_once(client: Client, folder: Path) -> None:
    agent, place = computer(), folder / "place"
    place.mkdir()
    await agent.start(client)
    async with agent:
        asked = (client.request("skill:compute", f"meet 2 {place}") for _ in range(2))
        pids = {reply.json["pid"] for reply in await asyncio.gather(*asked)}
        assert len(pids) == 2
        assert os.getpid() not in pids
        # They stay for what comes next.
        assert (await client.request("skill:compute", "next")).json["pid"] in pids
    for pid in pids:
        await gone(pid)


async def test_the_ways_to_end_are_carried_over(client: Client) -> None:
    agent = computer(1)
    await agent.start(client)
    async with agent:
        with pytest.raises(errors.RejectedError, match="not mine"):
            await client.send_and_wait("skill:compute", "reject")
        with pytest.raises(errors.FailedError, match="cannot be sent as JSON"):
            await client.send_and_wait("skill:compute", "object")
        sent = await client.send("skill:compute", "ask")
        async for update in client.watch(sent.id):
            if isinstance(update, trunkline.StatusUpdate) and update.state == "input-required":
                await client.continue_task(sent.id, "this")
        assert (await client.wait(sent.id)).json["answers"] == ["this"]


async def test_a_process_that_dies_costs_its_own_delivery_an_attempt(client: Client) -> None:
    agent = computer(1)
    await agent.start(client)
    async with agent:
        before = (await client.send_and_wait("skill:compute", "x")).json
        after = (await client.send_and_wait("skill:compute", "die")).json
        with pytest.raises(errors.DeadLetteredError, match="died with exit code 7"):
            await client.send_and_wait("skill:compute", "die", attempts=1)
    assert (before["attempt"], after["attempt"]) == (1, 2)
    assert before["pid"] != after["pid"]


async def test_a_process_whose_delivery_is_called_off_is_killed(
    client: Client, folder: Path
) -> None:
    agent, begun = computer(1), folder / "begun"
    await agent.start(client)
    async with agent:
        pid = (await client.request("skill:compute", "x")).json["pid"]
        sent = await client.send("skill:compute", f"hang {begun}")
        while not begun.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await client.cancel(sent.id)
        await gone(pid)
        assert (await client.request("skill:compute", "x")).json["pid"] != pid


async def gone(pid: int) -> None:
    """Waits until a process is no more."""
    for _ in range(2000):
        # Asking takes note of those that have ended.
        if pid not in {process.pid for process in multiprocessing.active_children()}:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


async def test_what_a_process_cannot_run_is_named(client: Client) -> None:
    agent = trunkline.Agent("inner")

    @agent.process("inner")
    def inner(_: trunkline.Message) -> None:
        return None

    with pytest.raises(errors.UsageError, match="define it at the top of a module"):
        await agent.start(client)

    async def coroutine(_: trunkline.Message) -> None:
        return None

    with pytest.raises(errors.UsageError, match="a process takes a plain one"):
        agent.process("a")(coroutine)
    with pytest.raises(errors.InvalidError, match="processes is 0, the range is 1 to 4096"):
        agent.process("a", processes=0)(compute)


def test_a_program_without_a_guard_is_told(folder: Path, ran_file: Callable[..., str]) -> None:
    unguarded = folder / "unguarded.py"
    unguarded.write_text(
        """
import asyncio, trunkline

agent = trunkline.Agent("a")

@agent.process("a", processes=1)
def a(message):
    return "x"

async def main():
    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            print((await broker.send_and_wait("skill:a", attempts=1)).text)

asyncio.run(main())
"""
    )
    said = ran_file(unguarded)
    assert "the process of the handler died with exit code 1" in said
    assert 'put what runs the agent under `if __name__ == "__main__":`' in said
    guarded = folder / "guarded.py"
    program = unguarded.read_text().replace("asyncio.run", 'if __name__ == "__main__": asyncio.run')
    guarded.write_text(program)
    assert ran_file(guarded) == "x\n"
