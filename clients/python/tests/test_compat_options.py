"""Every setting of the drop-in broker acts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from compat_tools import Doorman, asked, one_by_one, running, told, until, who
from trunkline.compat import AgentMessage, AgentMessageBroker, BrokerConfiguration, MessagePriority

if TYPE_CHECKING:
    from collections.abc import Callable

A, B = who("a"), who("b")


@pytest.mark.parametrize(
    ("name", "value", "least", "most"),
    [
        ("num_workers", 0, "1", "10"),
        ("num_workers", 11, "1", "10"),
        ("batch_size", 101, "1", "100"),
        ("batch_timeout_ms", 9, "10", "1000"),
        ("batch_timeout_ms", 1001, "10", "1000"),
        ("max_queue_size", 0, "1", "10000000"),
        ("queue_warning_threshold", 1.1, "0.0", "1.0"),
        ("delivery_parallelism", 0, "1", "100"),
        ("retry_max_attempts", -1, "0", "100"),
        ("retry_backoff_ms", -1, "0", "3600000"),
        ("worker_health_check_interval_sec", 0, "0.001", "86400"),
        ("num_workers", "5", "1", "10"),
        ("num_workers", True, "1", "10"),
    ],
)
def test_what_is_out_of_range_brings_the_range(
    name: str, value: object, least: str, most: str
) -> None:
    with pytest.raises(ValueError, match=f"{name} is .* from {least} to {most}"):
        BrokerConfiguration(**{name: value})  # pyright: ignore[reportArgumentType]


def test_the_defaults_are_those_that_users_know() -> None:
    config = BrokerConfiguration()
    assert (config.num_workers, config.enable_batching, config.batch_size) == (5, True, 20)
    assert (config.batch_timeout_ms, config.max_queue_size) == (100, 10_000)
    assert (config.queue_warning_threshold, config.delivery_parallelism) == (0.8, 10)
    assert (config.retry_max_attempts, config.retry_backoff_ms) == (3, 100)
    assert config.worker_restart_on_failure
    assert config.worker_health_check_interval_sec == 30


def test_the_earlier_arguments_override_settings() -> None:
    broker = AgentMessageBroker(BrokerConfiguration(num_workers=2), max_queue_size=7, max_retry=1)
    assert (broker.config.max_queue_size, broker.config.retry_max_attempts) == (7, 1)
    assert broker.config.num_workers == 2
    with pytest.raises(ValueError, match="max_queue_size is 0"):
        AgentMessageBroker(max_queue_size=0)


@pytest.mark.parametrize("workers", [1, 3])
async def test_workers_are_shared_by_all_agents(workers: int) -> None:
    async with running(one_by_one(num_workers=workers)) as broker:
        door = Doorman()
        for agent in (A, B):
            broker.register_agent(agent, door)
        for n in range(8):
            await broker.send_message(told(A if n % 2 else B, str(n)))
        await until(lambda: door.inside == workers)
        assert broker.get_stats()["queue_size"] == 8 - workers
        door.open.set()
        await until(lambda: len(door.seen) == 8)
    assert door.most == workers


async def test_a_worker_handles_as_much_of_its_batch_at_once_as_it_may() -> None:
    config = BrokerConfiguration(num_workers=1, batch_size=6, delivery_parallelism=2)
    async with running(config) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        for n in range(6):
            await broker.send_message(told(A, str(n)))
        await until(lambda: door.inside == 2)
        door.open.set()
        await until(lambda: len(door.seen) == 6)
    assert door.most == 2
    stats = broker.get_stats()
    assert (stats["batches_processed"], stats["avg_batch_size"]) == (1, 6.0)


async def test_a_batch_has_no_more_messages_than_its_size() -> None:
    config = BrokerConfiguration(num_workers=1, batch_size=3)
    async with running(config) as broker:
        broker.register_agent(A, lambda _: None)
        for n in range(9):
            await broker.send_message(told(A, str(n)))
        await until(lambda: broker.get_stats()["messages_delivered"] == 9)
    stats = broker.get_stats()
    assert (stats["batches_processed"], stats["avg_batch_size"]) == (3, 3.0)


@pytest.mark.parametrize("span", [10, 70])
async def test_a_batch_that_is_not_full_lingers(span: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, spans = asyncio.get_running_loop(), list[float]()
    real = loop.call_later

    def call_later(delay: float, call: Callable[..., Any], *arguments: Any) -> Any:
        spans.append(delay)
        return real(delay, call, *arguments)

    monkeypatch.setattr(loop, "call_later", call_later)
    async with running(BrokerConfiguration(batch_timeout_ms=span)) as broker:
        broker.register_agent(A, lambda _: None)
        await broker.send_message(told(A, "x"))
        await until(lambda: broker.get_stats()["messages_delivered"] == 1)
        stats = broker.get_stats()
        assert (stats["batches_processed"], stats["avg_batch_size"]) == (1, 1.0)
    assert spans.count(span / 1000) == 1


async def test_without_batching_nothing_lingers_and_there_are_no_batches() -> None:
    # With batches, the first message would wait for a second one.
    for batching in (False, True):
        config = BrokerConfiguration(
            num_workers=1, batch_size=2, batch_timeout_ms=1000, enable_batching=batching
        )
        async with running(config) as broker:
            broker.register_agent(A, lambda _: None)
            await broker.send_message(told(A, "1"))
            if batching:
                await asyncio.sleep(0.01)
                assert broker.get_stats()["messages_delivered"] == 0
                await broker.send_message(told(A, "2"))
            await until(lambda broker=broker: broker.get_stats()["queue_size"] == 0)
        assert broker.get_stats()["batches_processed"] == int(batching)


async def test_a_full_queue_refuses_and_takes_again() -> None:
    async with running(one_by_one(max_queue_size=2)) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        await broker.send_message(told(A, "held"))
        await until(lambda: door.inside == 1)
        assert await broker.send_message(told(A, "1"))
        assert await broker.send_message(told(A, "2"))
        stats = broker.get_stats()
        assert (stats["queue_size"], stats["queue_utilization"]) == (2, 1.0)
        assert not await broker.send_message(told(A, "3"))
        assert [reason for _, reason in broker.get_dead_letters()] == ["queue_full"]
        assert await broker.send_request(asked(A, "4")) is None
        # Whoever waits for room has it when there is some.
        waits = asyncio.create_task(broker.send_message(told(A, "5")))
        await asyncio.sleep(0)
        door.open.set()
        assert await waits
        # What never fits is refused at once.
        assert not await broker.send_message(told([A] * 3, "6"))
    assert door.seen == ["held", "1", "2", "5"]
    assert broker.get_stats()["messages_failed"] == 3


async def test_a_handler_that_waits_for_room_lends_its_place() -> None:
    async with running(one_by_one(max_queue_size=1)) as broker:
        words = list[str]()

        async def handle(message: AgentMessage) -> None:
            words.append(message.payload["word"])
            if message.payload["word"] == "first":
                assert await broker.send_message(told(A, "second"))
                assert await broker.send_message(told(A, "third"))

        broker.register_agent(A, handle)
        await broker.send_message(told(A, "first"))
        await until(lambda: len(words) == 3)
    assert words == ["first", "second", "third"]
    assert broker.get_dead_letters() == []


async def test_what_is_sent_to_busy_workers_expires_as_well() -> None:
    async with running(one_by_one()) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        for n in range(40):
            await broker.send_message(told(A, str(n)))
        await until(lambda: broker.get_stats()["queue_size"] == 39)
        await broker.send_message(told(A, "late", ttl_seconds=0.02))
        await until(lambda: broker.get_stats()["messages_expired"] == 1)
        door.open.set()
    assert len(door.seen) == 40


async def test_a_queue_that_fills_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    config = one_by_one(max_queue_size=10, queue_warning_threshold=0.5)
    async with running(config) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        await broker.send_message(told(A, "held"))
        await until(lambda: door.inside == 1)
        for n in range(4):
            await broker.send_message(told(A, str(n)))
        assert "messages wait" not in caplog.text
        for n in range(4):
            await broker.send_message(told(A, str(n)))
        assert caplog.text.count("5 messages wait, of 10 that may") == 1
        door.open.set()


@pytest.mark.parametrize("attempts", [0, 2])
async def test_what_fails_is_tried_again_as_often_as_is_set(attempts: int) -> None:
    async with running(one_by_one(retry_max_attempts=attempts, retry_backoff_ms=1)) as broker:
        counts: list[int] = []

        def fail(message: AgentMessage) -> None:
            counts.append(message.metadata.retry_count)
            raise RuntimeError("no")

        broker.register_agent(A, fail)
        await broker.send_message(told(A, "x"))
        await until(lambda: bool(broker.get_dead_letters()))
        assert counts == list(range(attempts + 1))
        ((message, reason),) = broker.get_dead_letters()
        assert (message.payload, reason) == ({"word": "x"}, "RuntimeError: no")
        stats = broker.get_stats()
        assert (stats["messages_retried"], stats["messages_failed"]) == (attempts, 1)
        assert (stats["messages_delivered"], stats["dead_letters"]) == (0, 1)
        broker.clear_dead_letters()
        assert broker.get_stats()["dead_letters"] == 0


async def test_the_backoff_is_as_long_as_is_set_and_doubles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delays, real = list[float](), AgentMessageBroker._send_later

    def send_later(broker: AgentMessageBroker, *sent: Any) -> None:
        delays.append(sent[-1])
        real(broker, *sent)

    monkeypatch.setattr(AgentMessageBroker, "_send_later", send_later)
    async with running(one_by_one(retry_max_attempts=3, retry_backoff_ms=5)) as broker:
        broker.register_agent(A, fail)
        await broker.send_message(told(A, "x"))
        await until(lambda: bool(broker.get_dead_letters()))
    assert delays == [0.005, 0.01, 0.02]


async def test_what_is_tried_again_waits_for_its_backoff() -> None:
    broker = AgentMessageBroker(one_by_one(retry_backoff_ms=3_600_000))
    await broker.start()
    broker.register_agent(A, fail)
    broker.register_agent(B, lambda _: {})
    await broker.send_message(told(A, "x", ttl_seconds=7200))
    await until(lambda: broker.get_stats()["messages_retried"] == 1)
    for _ in range(20):
        assert await broker.send_request(asked(B)) is not None
    stats = broker.get_stats()
    assert (stats["messages_retried"], stats["queue_size"]) == (1, 1)
    await broker.stop(timeout=0)
    ((_, reason),) = broker.get_dead_letters()
    assert reason == "the broker was stopped"


async def test_what_would_be_too_late_is_not_tried_again() -> None:
    async with running(one_by_one(retry_backoff_ms=3_600_000)) as broker:
        broker.register_agent(A, fail)
        assert await broker.send_request(asked(A), timeout=None) is None
        stats = broker.get_stats()
        assert (stats["messages_expired"], stats["messages_retried"]) == (1, 0)


def fail(_: AgentMessage) -> None:
    raise RuntimeError


async def test_more_failures_than_a_breaker_bears_hold_nobody_up() -> None:
    async with running(one_by_one(retry_max_attempts=0)) as broker:

        def handle(message: AgentMessage) -> dict[str, Any]:
            if message.payload["word"] == "bad":
                raise RuntimeError
            return {}

        broker.register_agent(A, handle)
        for _ in range(20):
            assert await broker.send_request(asked(A, "bad")) is None
        assert await broker.send_request(asked(A, "good")) is not None
        assert broker.get_stats()["requests_timeout"] == 0


async def cancel(_: AgentMessage) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("restart", [True, False])
async def test_a_worker_that_fails_goes_on_if_it_is_to(restart: bool) -> None:
    config = one_by_one(worker_restart_on_failure=restart, retry_max_attempts=0)
    broker = AgentMessageBroker(config)
    await broker.start()
    broker.register_agent(A, cancel)
    broker.register_agent(B, lambda _: {})
    await broker.send_message(told(A, "x"))
    await until(lambda: bool(broker.get_dead_letters()))
    pool = broker.get_stats()["worker_pool"]
    (worker,) = pool["worker_details"]
    assert (worker["is_running"], worker["is_healthy"], worker["errors"]) == (restart, restart, 1)
    assert (pool["healthy_workers"], pool["unhealthy_workers"]) == (restart, not restart)
    assert worker["restarts"] == restart
    await broker.send_message(told(B, "y"))
    # Without a worker nothing can be drained, and nothing is waited for.
    await broker.stop()
    assert broker.get_stats()["messages_delivered"] == restart
    assert [reason for _, reason in broker.get_dead_letters()] == ["CancelledError"] + [
        "the broker was stopped"
    ] * (not restart)


async def test_a_worker_that_finishes_nothing_is_seen_at_the_next_checks() -> None:
    async with running(one_by_one(worker_health_check_interval_sec=0.01)) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        await broker.send_message(told(A, "x"))
        await until(lambda: broker.get_stats()["worker_pool"]["unhealthy_workers"] == 1)
        door.open.set()
        await until(lambda: broker.get_stats()["worker_pool"]["healthy_workers"] == 1)
    async with running(one_by_one(worker_health_check_interval_sec=3600)) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        await broker.send_message(told(A, "x"))
        await until(lambda: door.inside == 1)
        await asyncio.sleep(0.05)
        assert broker.get_stats()["worker_pool"]["unhealthy_workers"] == 0
        door.open.set()


async def test_what_is_more_urgent_is_handled_first() -> None:
    async with running(one_by_one()) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        await broker.send_message(told(A, "held"))
        await until(lambda: door.inside == 1)
        for n in range(300):
            await broker.send_message(told(A, f"low {n}", priority=MessagePriority.LOW))
        for word in ("normal", "high", "urgent"):
            await broker.send_message(told(A, word, priority=MessagePriority[word.upper()]))
        door.open.set()
        await until(lambda: len(door.seen) == 304)
    assert door.seen == ["held", "urgent", "high", "normal"] + [f"low {n}" for n in range(300)]


async def test_what_waits_too_long_expires() -> None:
    async with running(one_by_one()) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        held = asyncio.create_task(broker.send_request(asked(A, "held", ttl_seconds=0.05)))
        await until(lambda: door.inside == 1)
        assert await broker.send_request(asked(A, "late", ttl_seconds=0.05)) is None
        await until(lambda: broker.get_stats()["messages_expired"] == 1)
        ((message, reason),) = broker.get_dead_letters()
        assert (message.payload["word"], reason) == ("late", "expired")
        assert not held.done()
        door.open.set()
        # What was begun in time is finished, and its answer comes.
        response = await held
        assert response is not None
        assert response.payload == {"word": "held"}
        # A message that is too old when it is sent is accepted, and expires.
        old = told(A, "old", ttl_seconds=0)
        assert await broker.send_message(old)
        assert broker.get_dead_letters()[-1] == (old, "expired")
    assert door.seen == ["held"]
    stats = broker.get_stats()
    assert (stats["messages_expired"], stats["messages_failed"], stats["queue_size"]) == (2, 0, 0)
