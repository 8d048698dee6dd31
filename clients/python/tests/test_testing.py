"""The tools for tests: time that is put forward, faults by a seed, sessions that are lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trunkline
from conftest import PATIENCE
from trunkline import errors
from trunkline.testing import Fault, Faults, TestBroker

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline import Task

pytestmark = pytest.mark.filterwarnings("error")


def flaky(until: int, after: str = "10m") -> tuple[trunkline.Agent, list[int]]:
    """An agent that succeeds at some attempt, and the attempts that it made."""
    agent, attempts = trunkline.Agent("flaky"), list[int]()

    @agent.task("work")
    async def work(task: Task) -> str:
        attempts.append(task.attempt)
        if task.attempt < until:
            raise trunkline.Retry("not yet", after=after)
        return "done"

    return agent, attempts


async def until(happened: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), PATIENCE)


async def test_retries_come_when_time_is_put_forward() -> None:
    agent, attempts = flaky(3)
    async with TestBroker() as broker:
        await agent.start(broker)
        async with agent:
            sent = await broker.send("skill:work")
            await broker.advance("9m")
            assert attempts == [1]
            await broker.advance("2m")
            assert attempts == [1, 2]
            await broker.advance("10m")
            assert attempts == [1, 2, 3]
            assert (await broker.wait(sent.id)).text == "done"


async def test_all_that_a_span_brings_comes_within_it() -> None:
    agent, attempts = flaky(5, after="1h")
    async with TestBroker() as broker:
        await agent.start(broker)
        async with agent:
            sent = await broker.send("skill:work", attempts=5)
            await broker.advance("5h")
            assert attempts == [1, 2, 3, 4, 5]
            assert (await broker.task(sent.id)).state == "completed"


async def test_delays_and_times_to_live_end() -> None:
    agent, attempts = flaky(1)
    async with TestBroker() as broker:
        await agent.start(broker)
        async with agent:
            await broker.send("skill:work", delay="1h")
            short = await broker.send("skill:nobody", ttl="2h")
            await broker.advance("59m")
            assert attempts == []
            await broker.advance("2m")
            assert attempts == [1]
            assert (await broker.task(short.id)).state == "submitted"
            await broker.advance("1h")
            assert (await broker.task(short.id)).reason == "EXPIRED"


async def test_schedules_are_due() -> None:
    agent, attempts = flaky(1)
    async with TestBroker() as broker:
        await agent.start(broker)
        async with agent:
            told = await broker.set_schedule("hourly", "0 * * * *", "skill:work")
            await broker.advance("24h")
            (schedule,) = [it async for it in broker.schedules()]
            assert schedule.fired == len(attempts) == 24
            assert told.next is not None
            assert schedule.last is not None
            assert schedule.last[1] == told.next + 23 * 3600


async def test_an_open_breaker_lets_work_through_in_time() -> None:
    agent = trunkline.Agent("frail")

    @agent.task("fall")
    async def fall(task: Task) -> None:
        raise trunkline.Fail("fallen")

    async with TestBroker(breaker_failures=1, breaker_open="10m") as broker:
        await agent.start(broker)
        async with agent:
            with pytest.raises(errors.FailedError):
                await broker.send_and_wait("skill:fall")
            sent = await broker.send("skill:fall")
            await broker.advance("9m")
            assert (await broker.task(sent.id)).state == "submitted"
            await broker.advance("2m")
            assert (await broker.task(sent.id)).state == "failed"


@pytest.mark.parametrize(("lease", "attempts"), [("1m", [1, 2]), ("1d", [1])])
async def test_a_lease_is_as_long_as_was_set(lease: str, attempts: list[int]) -> None:
    agent, got, end = trunkline.Agent("still"), list[int](), asyncio.Event()

    @agent.task("hold")
    async def hold(task: Task) -> None:
        got.append(task.attempt)
        await end.wait()

    async with TestBroker(lease=lease) as broker:
        await agent.start(broker)
        async with agent:
            await broker.send("skill:hold")
            await broker.advance("90s")
            end.set()
    assert got == attempts


async def test_what_is_awaited_is_hurried() -> None:
    agent, attempts = flaky(3, after="1h")
    async with TestBroker() as broker:
        await agent.start(broker)
        async with agent:
            reply = await broker.hurry(broker.send_and_wait("skill:work"))
            assert (reply.text, attempts) == ("done", [1, 2, 3])
            with pytest.raises(TimeoutError, match="10m"):
                await broker.hurry(broker.send_and_wait("skill:nobody"), at_most="10m")
            with pytest.raises(errors.ExpiredError):
                await broker.hurry(broker.send_and_wait("skill:nobody", ttl="10m"))


async def test_work_at_hand_is_not_hurried() -> None:
    agent, begun, end = trunkline.Agent("slow"), asyncio.Event(), asyncio.Event()

    @agent.task("work", concurrency=1)
    async def work(task: Task) -> str:
        begun.set()
        await end.wait()
        return "done"

    async with TestBroker() as broker:
        await agent.start(broker)
        async with agent:
            waits = asyncio.ensure_future(
                broker.hurry(broker.send_and_wait("skill:work", ttl="1h", max_run="1h"))
            )
            await begun.wait()
            for _ in range(50):
                await asyncio.sleep(0.001)
            end.set()
            assert (await waits).text == "done"


class Bank:
    """An account that is paid into, by an agent that was written well or badly."""

    def __init__(self, careful: bool) -> None:
        self.paid: list[str] = []
        self.agent = trunkline.Agent("bank")

        @self.agent.task("pay")
        async def pay(task: Task) -> str:
            await asyncio.sleep(0)
            if careful and task.id in self.paid:
                return "paid before"
            self.paid.append(task.id)
            await asyncio.sleep(0)
            return "paid"

    async def pay(self, faults: Faults) -> list[Fault]:
        async with TestBroker(faults) as broker:
            await self.agent.start(broker)
            async with self.agent:
                await broker.hurry(
                    asyncio.gather(*(broker.send_and_wait("skill:pay", str(n)) for n in range(30)))
                )
            return broker.injected


def known(faults: list[Fault]) -> list[tuple[bytes, int, str, str]]:
    """What does not depend on the order in which handlers ran."""
    return sorted((it.payload, it.attempt, it.what, it.handler) for it in faults)


@pytest.mark.parametrize("what", ["crash", "redelivery", "lost", "delay", "most"])
@pytest.mark.parametrize("share", [5.5, "x", -1, float("nan"), None, True])
def test_faults_that_are_none_are_refused(what: str, share: object) -> None:
    given: dict[str, Any] = {what: share}
    with pytest.raises(errors.InvalidError, match=f"{what} is "):
        Faults(**given)


async def test_what_is_no_agent_and_no_faults_is_refused() -> None:
    wrong: Any = 5
    async with TestBroker() as broker:
        with pytest.raises(errors.InvalidError, match=r"is awaited, such as .* not 5"):
            await broker.hurry(wrong)
    with pytest.raises(errors.InvalidError, match="faults is 5"):
        TestBroker(wrong)
    async with TestBroker() as broker:
        for call in (broker.lose, broker.kill):
            with pytest.raises(errors.InvalidError, match="not to 5"):
                await call(wrong)


async def test_faults_find_an_agent_that_does_things_twice_and_none_that_does_not() -> None:
    careful, careless = Bank(careful=True), Bank(careful=False)
    met = await careful.pay(Faults(seed=1, crash=0.3, redelivery=0.3, delay=0.3))
    assert len(careful.paid) == len(set(careful.paid)) == 30
    assert {it.what for it in met} == {"crash", "redelivery", "delay"}
    await careless.pay(Faults(seed=1, crash=0.3, redelivery=0.3, delay=0.3))
    assert len(careless.paid) > 30


async def test_a_seed_makes_the_same_faults_again_and_another_makes_others() -> None:
    runs = [
        known(await Bank(True).pay(Faults(seed=seed, crash=0.3, redelivery=0.3, delay=0.3)))
        for seed in (7, 7, 8)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


async def test_faults_alone_do_not_use_up_the_attempts_of_a_task() -> None:
    met = await Bank(True).pay(Faults(crash=1.0))
    assert [it.attempt for it in met].count(2) == 30
    assert len(met) == 60
    agent, attempts = flaky(1)
    async with TestBroker(Faults(redelivery=1.0, most=9)) as broker:
        await agent.start(broker)
        async with agent:
            with pytest.raises(errors.DeadLetteredError, match="a fault of the test"):
                await broker.hurry(broker.send_and_wait("skill:work"))
            assert attempts == [1, 2, 3]


async def test_a_handler_whose_agent_dies_goes_no_further() -> None:
    agent, seen = trunkline.Agent("mortal"), list[str]()

    @agent.task("die")
    async def die(task: Task) -> str:
        seen.append(f"began {task.attempt}")
        try:
            for _ in range(10):
                await asyncio.sleep(0)
        except BaseException as error:
            # What closes it is no exception that a handler could take for its own.
            seen.append(type(error).__name__)
            raise
        seen.append("ended")
        return "done"

    async with TestBroker(Faults(crash=1.0, most=1)) as broker:
        await agent.start(broker)
        async with agent:
            reply = await broker.hurry(broker.send_and_wait("skill:die"))
    assert reply.text == "done"
    assert seen == ["began 1", "GeneratorExit", "began 2", "ended"]


async def test_plain_handlers_meet_faults_at_their_end() -> None:
    agent, attempts = trunkline.Agent("plain"), list[int]()

    @agent.task("work")
    def work(task: Task) -> str:
        attempts.append(task.attempt)
        return "done"

    async with TestBroker(Faults(redelivery=1.0, most=1)) as broker:
        await agent.start(broker)
        async with agent:
            reply = await broker.hurry(broker.send_and_wait("skill:work"))
        assert [(it.what, it.handler, it.attempt) for it in broker.injected] == [
            ("redelivery", "skill work", 1)
        ]
    assert (reply.text, attempts) == ("done", [1, 2])


async def test_what_lost_its_session_is_done_twice_at_the_same_time() -> None:
    agent, seen, met = trunkline.Agent("adrift"), list[str](), asyncio.Event()

    @agent.task("work")
    async def work(task: Task) -> str:
        seen.append(f"began {task.attempt}")
        if task.attempt == 1:
            await met.wait()
        else:
            # Only a handler that still runs can have been met.
            met.set()
            await until(lambda: "ended 1" in seen)
        seen.append(f"ended {task.attempt}")
        return f"attempt {task.attempt}"

    async with TestBroker(Faults(lost=1.0, most=1)) as broker:
        await agent.start(broker)
        async with agent:
            reply = await broker.hurry(broker.send_and_wait("skill:work"))
        assert [(it.what, it.attempt) for it in broker.injected] == [("lost", 1)]
    assert reply.text == "attempt 2"
    assert seen == ["began 1", "began 2", "ended 1", "ended 2"]


@pytest.mark.parametrize(
    ("faults", "reason", "retried"),
    [
        (Faults(lost=1.0, most=1), "a fault of the test: the session was lost", 1),
        (None, "the session ended while it held the delivery", 0),
    ],
    ids=["by a fault", "by hand"],
)
async def test_a_lost_session_is_told_as_what_it_is(
    faults: Faults | None, reason: str, retried: int
) -> None:
    agent, began, go = trunkline.Agent("adrift"), list[int](), asyncio.Event()

    @agent.task("work")
    async def work(task: Task) -> None:
        began.append(task.attempt)
        if task.attempt == 1:
            await go.wait()

    async with TestBroker(faults, breaker_failures=1) as broker:
        await agent.start(broker)
        async with agent:
            sent = await broker.send("skill:work")
            if faults is None:
                await until(lambda: began == [1])
                await broker.lose(agent)
            await broker.hurry(broker.wait(sent.id))
            told = await broker.task(sent.id)
            # Only what the agent said itself is held against it, and is in its own figures.
            await until(lambda: agent.stats().completed == 1)
            figures, breakers = agent.stats(), (await broker.stats()).breakers_opened
            go.set()
    assert (told.attempts, [note.reason for note in told.notes]) == (2, [reason])
    assert (figures.retried, breakers) == (retried, retried)


async def test_a_plain_function_that_lost_its_session_goes_on_too() -> None:
    agent, attempts, ended = trunkline.Agent("adrift"), list[int](), threading.Event()

    @agent.task("work")
    def work(task: Task) -> str:
        attempts.append(task.attempt)
        if task.attempt == 1:
            ended.set()
            raise ValueError("of which nobody hears")
        assert ended.wait(PATIENCE)
        return "done"

    async with TestBroker(Faults(lost=1.0, most=1)) as broker:
        await agent.start(broker)
        async with agent:
            reply = await broker.hurry(broker.send_and_wait("skill:work"))
    assert (reply.text, sorted(attempts)) == ("done", [1, 2])


async def test_a_broker_that_ends_cancels_what_lost_its_session() -> None:
    agent, cancelled = trunkline.Agent("adrift"), list[int]()

    @agent.task("work")
    async def work(task: Task) -> str:
        if task.attempt == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(task.attempt)
                raise
        return "done"

    async with TestBroker(Faults(lost=1.0, most=1)) as broker:
        await agent.start(broker)
        async with agent:
            await broker.hurry(broker.send_and_wait("skill:work"))
        assert cancelled == []
    await asyncio.sleep(0)
    assert cancelled == [1]


async def test_a_batch_meets_faults_as_a_whole() -> None:
    agent, batches = trunkline.Agent("many"), list[list[str]]()
    attempts: dict[str, list[int]] = {}

    @agent.batch("work", size=4)
    async def work(tasks: list[Task]) -> None:
        batches.append([task.text for task in tasks])
        for task in tasks:
            attempts.setdefault(task.text, []).append(task.attempt)
        await asyncio.sleep(0)

    async with TestBroker(Faults(redelivery=1.0, most=1)) as broker:
        sent = [await broker.send("skill:work", str(n)) for n in range(4)]
        await agent.start(broker)
        async with agent:
            for one in sent:
                await broker.hurry(broker.wait(one.id))
        assert {it.what for it in broker.injected} == {"redelivery"}
    assert len(attempts) == 4
    assert [attempts[text] for text in batches[0]] == [[1, 2]] * len(batches[0])


async def test_an_agent_that_lost_its_session_works_twice_and_does_not_know() -> None:
    agent, begun, go_on = trunkline.Agent("twice"), list[asyncio.Event](), asyncio.Event()
    ended: list[int] = []

    @agent.task("work")
    async def work(task: Task) -> str:
        number = len(begun)
        begun.append(asyncio.Event())
        await go_on.wait()
        ended.append(number)
        return f"run {number}"

    async with TestBroker() as broker:
        await agent.start(broker)
        async with agent:
            waits = asyncio.ensure_future(broker.send_and_wait("skill:work"))
            await until(lambda: len(begun) == 1)
            await broker.lose(agent)
            await until(lambda: len(begun) == 2)
            go_on.set()
            assert (await asyncio.wait_for(waits, PATIENCE)).text == "run 1"
            assert ended == [0, 1]
            # It is served as ever.
            reply = await broker.send_and_wait("skill:work")
            assert reply.text == "run 2"


async def test_an_agent_that_serves_goes_on_serving_after_its_session_was_lost() -> None:
    agent, attempts = flaky(1)
    async with TestBroker() as broker:
        serving = asyncio.ensure_future(agent.serve(broker))
        while (await broker.stats()).agents == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await broker.lose(agent)
        assert (await broker.send_and_wait("skill:work")).text == "done"
        assert not serving.done()
        await broker.set_agent("flaky", draining=True)
        await asyncio.wait_for(serving, PATIENCE)
    assert attempts == [1]


async def test_what_an_agent_held_that_was_killed_goes_to_another() -> None:
    agent, begun, cancelled = trunkline.Agent("victim"), asyncio.Event(), list[str]()

    @agent.task("work")
    async def work(task: Task) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(task.id)
            raise

    other, attempts = flaky(1)
    async with TestBroker() as broker:
        await agent.start(broker)
        sent = await broker.send("skill:work")
        await begun.wait()
        await broker.kill(agent)
        assert cancelled == [sent.id]
        with pytest.raises(errors.UsageError, match="victim"):
            await broker.kill(agent)
        await other.start(broker)
        async with other:
            assert (await broker.wait(sent.id)).text == "done"
    assert len(attempts) == 1


PLUGGED = """
import pytest, trunkline
from trunkline.testing import TestBroker, Faults

@pytest.mark.asyncio
async def test_one(trunkline_broker, trunkline_seed):
    assert isinstance(trunkline_broker, TestBroker)
    assert trunkline_seed == 42
    await trunkline_broker.send("skill:a")

def test_two(trunkline_seed):
    assert False
"""


def test_pytest_has_the_fixtures(folder: Path) -> None:
    (folder / "test_plugged.py").write_text(PLUGGED)
    # Wherever the package that is tested lies.
    environment = {**os.environ, "PYTHONPATH": str(Path(trunkline.__file__).parents[1])}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "trunkline.pytest_plugin"),
            *("-p", "no:cacheprovider", "--trunkline-seed", "42", str(folder)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert "1 failed, 1 passed" in run.stdout, run.stdout + run.stderr
    assert "--trunkline-seed=42" in run.stdout
