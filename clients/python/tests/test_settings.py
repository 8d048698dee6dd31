"""What is set about a broker in process acts, by the names of the configuration file."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import conftest
import pytest
import trunkline
from trunkline import errors

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline import Broker, Task


def known() -> dict[str, Any]:
    """Every setting that the command line knows, with its default and its range."""
    shown = subprocess.run(
        [conftest.program, "config", "show", "--json"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return json.loads(shown.stdout)


SECTIONS: dict[str, Any] = {
    "broker": trunkline.BrokerSettings,
    "limits": trunkline.LimitSettings,
    "log": trunkline.LogSettings,
}


def opened(name: str, value: Any, data: str | None = None) -> Broker:
    section, key = name.split(".")
    if section == "broker":
        return trunkline.Broker(data, **{key: value})
    return trunkline.Broker(data, **{section: {key: value}})  # type: ignore[arg-type]


def test_every_setting_of_the_configuration_file_is_declared_and_taken() -> None:
    elsewhere = {"broker.data", "broker.ephemeral"}
    settings = {
        name: about
        for name, about in known().items()
        if not name.startswith("server.") and name not in elsewhere
    }
    declared = {
        f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.__annotations__
    }
    assert declared == set(settings)
    for name, about in settings.items():
        opened(name, about["default"])._close_now()
        with pytest.raises(errors.InvalidError, match=name):
            opened(name, "x")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("broker.lease", "1ms", "broker.lease is 1ms, the range is 100ms to 1d"),
        ("broker.lease", 0.001, "broker.lease is 1ms, the range is 100ms to 1d"),
        ("broker.lease", timedelta(days=2), "broker.lease is 2d, the range is 100ms to 1d"),
        ("broker.breaker_failures", -1, "breaker_failures is -1, the range is 0 to 1000000"),
        ("broker.breaker_failures", True, "is 'True', which is no number"),
        ("broker.routing", "round-robbin", "did you mean 'round-robin'"),
        ("broker.priority_weights", (1, 2, 4, 256), "like 1:2:4:8"),
        ("limits.payload_bytes", "9MiB", "the range is 1 to 8MiB"),
        ("log.segment_bytes", 1, "the range is 64KiB to 1GiB"),
        ("broker.leese", "1m", "no setting 'broker.leese'"),
        ("limits.lease", "1m", "no setting 'limits.lease'"),
    ],
)
def test_what_is_out_of_range_or_unknown_is_refused(name: str, value: Any, said: str) -> None:
    with pytest.raises(errors.InvalidError, match=said.replace("(", r"\(")):
        opened(name, value)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(errors.InvalidError, match="backoff_base is 60s and backoff_cap is 1s"):
        trunkline.Broker(backoff_base="1m", backoff_cap="1s")
    with pytest.raises(errors.InvalidError, match="max_body_bytes"):
        trunkline.Broker(limits={"payload_bytes": "8MiB"}, log={"max_body_bytes": "1MiB"})


def failing() -> trunkline.Agent:
    agent = trunkline.Agent("frail")

    @agent.task("fall")
    async def fall(task: Task) -> None:
        raise trunkline.Fail("fallen")

    @agent.task("retry")
    async def retry(task: Task) -> None:
        raise RuntimeError("again")

    return agent


async def fall(broker: Broker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(errors.FailedError):
            await asyncio.wait_for(broker.send_and_wait("skill:fall"), conftest.PATIENCE)


async def test_a_breaker_opens_after_as_many_failures_as_were_set() -> None:
    agent = failing()
    async with trunkline.Broker(breaker_failures=2, breaker_open="1h") as broker:
        await agent.start(broker)
        async with agent:
            await fall(broker, 2)
            (info,) = [it async for it in broker.agents()]
            assert [(it.state, it.failures) for it in info.breakers] == [("open", 2)]
            assert info.breakers[0].open_for > 3000


async def test_there_need_be_no_breakers() -> None:
    agent = failing()
    async with trunkline.Broker(breaker_failures=0) as broker:
        await agent.start(broker)
        async with agent:
            await fall(broker, 20)
            assert (await broker.stats()).breakers_opened == 0


async def test_an_open_breaker_lets_probes_through_after_its_time() -> None:
    agent = failing()
    async with trunkline.Broker(
        breaker_failures=1, breaker_open=0.01, breaker_window=timedelta(hours=1)
    ) as broker:
        await agent.start(broker)
        async with agent:
            await fall(broker, 3)
            assert (await broker.stats()).breakers_opened >= 2


async def test_an_inbox_holds_as_much_as_was_set() -> None:
    async with trunkline.Broker(inbox_ephemeral=2) as broker:
        await broker.tell("skill:a")
        await broker.tell("skill:a")
        with pytest.raises(errors.InboxFullError, match="2"):
            await broker.tell("skill:a")
    async with trunkline.Broker(inbox_ephemeral=1, when_full="drop-oldest") as broker:
        first = await broker.tell("skill:a")
        await broker.tell("skill:a")
        (copy,) = (await broker.message(first.id)).copies
        assert copy.state == "dropped"
    async with trunkline.Broker(inbox_ephemeral_bytes="1KiB") as broker:
        await broker.tell("skill:a", b"x" * 1024)
        with pytest.raises(errors.InboxFullError, match="1024"):
            await broker.tell("skill:a", b"x")


async def test_what_has_ended_is_kept_as_long_as_was_set(folder: Path) -> None:
    async with trunkline.Broker(ended_tasks=1, dead_letters=1) as broker:
        agent = trunkline.Agent("a")

        @agent.task("die")
        async def die(task: Task) -> None:
            raise trunkline.DeadLetter(task.text)

        await agent.start(broker)
        async with agent:
            for text in ("1", "2", "3"):
                with pytest.raises(errors.DeadLetteredError):
                    await broker.send_and_wait("skill:die", text)
            assert [it.reason async for it in broker.dead_letters()] == ["3"]
            stats = await broker.stats()
            assert (stats.dead_letters_forgotten, stats.tasks_forgotten > 0) == (2, True)


async def test_retries_back_off_as_was_set() -> None:
    agent = failing()
    async with trunkline.Broker(backoff_base="1h", backoff_cap="1h") as broker:
        await agent.start(broker)
        async with agent:
            # By default the second attempt would come after 100 ms at most.
            with pytest.raises(errors.ExpiredError):
                await broker.send_and_wait("skill:retry", attempts=2, timeout="500ms")


async def test_limits_are_as_was_set() -> None:
    async with trunkline.Broker(
        limits={"payload_bytes": 10, "attempts": 2, "longest_span": "1h"}
    ) as broker:
        with pytest.raises(errors.TooLargeError, match="10"):
            await broker.tell("skill:a", b"x" * 11)
        with pytest.raises(errors.InvalidError, match="attempts is 3, the range is 1 to 2"):
            await broker.send("skill:a", attempts=3)
        with pytest.raises(errors.Refused, match="1h"):
            await broker.send("skill:a", ttl="2h")


async def test_the_log_is_as_was_set(folder: Path) -> None:
    small: trunkline.LimitSettings = {
        "payload_bytes": 1024,
        "headers": 1,
        "header_bytes": 64,
        "card_entries": 8,
        "card_schema_bytes": "1KiB",
    }
    log: trunkline.LogSettings = {"segment_bytes": "128KiB", "max_body_bytes": "100KiB"}
    async with trunkline.Broker(
        folder,
        logged_copies=10,
        limits=small,
        log=log,
    ) as broker:
        await asyncio.gather(
            *(broker.send("skill:a", b"x" * 1024, durability="buffered") for _ in range(300))
        )
        stats = await broker.stats()
    assert stats.log is not None
    assert stats.log.segments > 1
