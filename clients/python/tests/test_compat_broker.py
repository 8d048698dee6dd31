"""The drop-in broker: agents, messages, requests, events, and its life."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trunkline
from compat_tools import ME, Doorman, asked, one_by_one, running, told, until, who
from trunkline import errors
from trunkline.compat import (
    AgentMessage,
    AgentMessageBroker,
    BrokerConfiguration,
    create_broadcast_message,
    create_event_message,
    create_request_message,
)

A, B, C = who("a", "x", "read"), who("b", "x", "read", "write"), who("c", "y")


async def test_agents_are_found_while_they_are_registered() -> None:
    broker = AgentMessageBroker()
    for agent in (A, B, C):
        broker.register_agent(agent, lambda _: None)
    assert broker.get_agent("a") is A
    assert broker.get_agents_by_type("x") == [A, B]
    assert broker.get_agents_by_capability("write") == [B]
    broker.subscribe("b", "news")
    assert broker.get_stats()["agents_registered"] == 3
    broker.unregister_agent("b")
    assert broker.get_agent("b") is None
    assert broker.get_subscribers("news") == set()
    assert broker.get_stats()["agents_registered"] == 2
    broker.unregister_agent("b")
    with pytest.raises(ValueError, match="'b' is not registered"):
        broker.subscribe("b", "news")
    with pytest.raises(errors.InvalidError, match="AgentIdentity"):
        broker.register_agent("a", print)  # pyright: ignore[reportArgumentType]
    with pytest.raises(errors.InvalidError, match="cannot be called"):
        broker.register_agent(A, 3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("batching", [True, False])
async def test_requests_are_answered_by_functions_and_coroutines(batching: bool) -> None:
    config = BrokerConfiguration(enable_batching=batching, batch_timeout_ms=10)
    async with running(config) as broker:

        async def coroutine(message: AgentMessage) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"to": message.payload["word"]}

        thing = object()
        broker.register_agent(A, coroutine)
        broker.register_agent(B, lambda _: {"thing": thing})
        broker.register_agent(C, lambda _: {})
        request = asked(A, "hello")
        response = await broker.send_request(request)
        assert response is not None
        assert (response.payload, response.sender) == ({"to": "hello"}, A)
        assert response.metadata.correlation_id == request.metadata.correlation_id
        other = await broker.send_request(asked(B))
        # A payload is handed over as it is, whatever it holds.
        assert other is not None
        assert other.payload["thing"] is thing
        empty = await broker.send_request(asked(C))
        assert empty is not None
        assert empty.payload == {}
    stats = broker.get_stats()
    assert (stats["messages_sent"], stats["messages_delivered"]) == (3, 3)


@pytest.mark.parametrize("config", [one_by_one(), BrokerConfiguration(1, batch_timeout_ms=10)])
async def test_nested_requests_work_with_one_worker(config: BrokerConfiguration) -> None:
    async with running(config) as broker:
        inside = most = 0

        async def down(message: AgentMessage) -> dict[str, Any]:
            nonlocal inside, most
            depth = int(message.payload["word"])
            if depth == 0:
                return {"sum": 0}
            asking = [broker.send_request(asked(A, str(depth - 1))) for _ in range(2)]
            answers = await asyncio.gather(*asking)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            return {"sum": 1 + sum(answer.payload["sum"] for answer in answers if answer)}

        broker.register_agent(A, down)
        answer = await broker.send_request(asked(A, "4"))
        assert answer is not None
        assert answer.payload == {"sum": 15}
        # Who has lent its place goes on when it has it again.
        assert most <= config.at_once
    assert broker.get_dead_letters() == []


async def test_a_request_without_an_answer_is_none() -> None:
    async with running(one_by_one(retry_max_attempts=0)) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        late = asyncio.create_task(broker.send_request(asked(A), timeout=0.01))
        await until(lambda: broker.get_stats()["pending_requests"] == 1)
        assert await late is None
        stats = broker.get_stats()
        assert (stats["requests_timeout"], stats["pending_requests"]) == (1, 0)
        door.open.set()
        # What cannot be answered any more is told at once.
        assert await broker.send_request(asked(who("nobody")), timeout=None) is None
        assert "'nobody' is not registered" in broker.get_dead_letters()[-1][1]
        broker.register_agent(B, lambda _: "text")
        assert await broker.send_request(asked(B), timeout=None) is None
        assert "returned a str" in broker.get_dead_letters()[-1][1]
        assert broker.get_stats()["requests_timeout"] == 1
        with pytest.raises(ValueError, match="no request"):
            await broker.send_request(told(A, "x"))
        with pytest.raises(errors.InvalidError, match="AgentMessage"):
            await broker.send_message("x")  # pyright: ignore[reportArgumentType]


async def test_an_answer_may_come_by_itself_later() -> None:
    async with running(one_by_one()) as broker:
        later: list[asyncio.Task[bool]] = []

        async def answer(message: AgentMessage) -> None:
            response = message.create_response(A, {"late": True})
            later.append(asyncio.create_task(broker.send_message(response)))

        async def relay(_: AgentMessage) -> dict[str, Any] | None:
            got = await broker.send_request(create_request_message(B, A, {}))
            return None if got is None else got.payload

        broker.register_agent(A, answer)
        broker.register_agent(B, relay)
        response = await broker.send_request(asked(B))
        assert response is not None
        assert response.payload == {"late": True}
        request = asked(A)
        first = asyncio.create_task(broker.send_request(request))
        await until(lambda: broker.get_stats()["pending_requests"] == 1)
        with pytest.raises(errors.InvalidError, match="waits already"):
            await broker.send_request(request)
        assert await first is not None


async def test_a_request_that_nobody_waits_for_is_answered_to_its_sender() -> None:
    async with running(one_by_one()) as broker:
        got = asyncio.Queue[AgentMessage]()
        broker.register_agent(A, lambda _: {"a": 1})
        broker.register_agent(ME, got.put)
        await broker.send_message(asked(A))
        response = await got.get()
        assert response.is_response()
        assert response.payload == {"a": 1}


async def test_events_go_to_subscribers_and_the_rest_to_everybody() -> None:
    async with running(one_by_one()) as broker:
        got: dict[str, list[Any]] = {"a": [], "b": [], "me": []}
        for agent in (A, B, ME):
            list_ = got[agent.agent_id]
            broker.register_agent(agent, lambda m, list_=list_: list_.append(m.payload))
        broker.subscribe("a", "news")
        broker.subscribe("b", "news")
        broker.unsubscribe("b", "news")
        stats = broker.get_stats()
        assert (broker.get_subscribers("news"), stats["subscriptions_active"]) == ({"a"}, 1)
        await broker.publish_event("news", ME, {"n": 1})
        await broker.publish_event("other", ME, {"n": 2})
        await broker.send_message(create_event_message(ME, "news", {"n": 3}))
        await broker.send_message(create_broadcast_message(ME, {"n": 4}))
        await until(lambda: bool(got["me"]) and bool(got["b"]) and len(got["a"]) == 3)
        await until(lambda: broker.get_stats()["queue_size"] == 0)
    # What is broadcast is more urgent.
    news = [{"topic": "news", "data": {"n": n}} for n in (1, 3)]
    assert sorted(got["a"], key=str) == sorted([{"n": 4}, *news], key=str)
    assert got["b"] == got["me"] == [{"n": 4}]
    assert broker.get_stats()["messages_sent"] == 3


async def test_one_recipient_that_fails_is_no_concern_of_the_others() -> None:
    async with running(one_by_one(retry_backoff_ms=1)) as broker:
        good = list[AgentMessage]()

        def bad(_: AgentMessage) -> None:
            raise RuntimeError

        broker.register_agent(A, bad)
        broker.register_agent(B, good.append)
        await broker.send_message(told([A, B], "x"))
        await until(lambda: bool(broker.get_dead_letters()))
        assert len(good) == 1
        assert broker.get_stats()["messages_retried"] == 3


async def test_what_was_sent_before_the_start_is_handled_after_it() -> None:
    broker = AgentMessageBroker(one_by_one())
    seen = list[AgentMessage]()
    broker.register_agent(A, seen.append)
    assert await broker.send_message(told(A, "early"))
    assert not broker.get_stats()["running"]
    assert broker.get_stats()["queue_size"] == 1
    await broker.start()
    await broker.start()
    await until(lambda: len(seen) == 1)
    await broker.stop()
    await broker.stop()


async def test_stopping_drains_and_what_comes_then_is_refused() -> None:
    broker = AgentMessageBroker(BrokerConfiguration(1, batch_timeout_ms=1000, retry_backoff_ms=1))
    await broker.start()
    seen, failed = list[str](), False

    async def handle(message: AgentMessage) -> dict[str, Any]:
        nonlocal failed
        await asyncio.sleep(0)
        if message.payload["word"] == "0" and not failed:
            failed = True
            raise RuntimeError
        seen.append(message.payload["word"])
        if message.payload["word"] == "1":
            # What is being handled may still speak, and ask.
            assert await broker.send_request(asked(A, "asked")) is not None
        return {}

    broker.register_agent(A, handle)
    for n in range(50):
        await broker.send_message(told(A, str(n)))
    await broker.stop()
    assert sorted(seen) == sorted([*map(str, range(50)), "asked"])
    stats = broker.get_stats()
    assert (stats["running"], stats["queue_size"], stats["messages_delivered"]) == (False, 0, 51)
    up = stats["broker_uptime_seconds"]
    assert up > 0
    assert broker.get_stats()["broker_uptime_seconds"] == up
    assert not await broker.send_message(told(A, "after"))
    assert broker.get_dead_letters()[-1][1] == "the broker was stopped"
    await broker.start()
    assert await broker.send_request(asked(A, "again")) is not None
    await broker.stop()


async def test_stopping_waits_no_longer_than_it_is_told() -> None:
    broker = AgentMessageBroker(one_by_one())
    await broker.start()
    door = Doorman()
    broker.register_agent(A, door)
    waits = asyncio.create_task(broker.send_request(asked(A, "1")))
    await until(lambda: door.inside == 1)
    await broker.send_message(told(A, "2"))
    await broker.stop(timeout=0.01)
    assert await waits is None
    assert {reason for _, reason in broker.get_dead_letters()} == {"the broker was stopped"}
    assert len(broker.get_dead_letters()) == 2
    assert broker.get_stats()["queue_size"] == 0


async def test_a_handler_cannot_wait_for_its_own_broker_to_stop() -> None:
    async with running(one_by_one(retry_max_attempts=0)) as broker:
        broker.register_agent(A, lambda _: broker.stop())
        await broker.send_request(asked(A))
        assert "UsageError" in broker.get_dead_letters()[0][1]


def test_a_broker_belongs_to_one_loop_until_it_is_stopped() -> None:
    broker = AgentMessageBroker(one_by_one())
    broker.register_agent(A, lambda _: {})
    first = asyncio.new_event_loop()
    first.run_until_complete(broker.start())

    async def ask() -> AgentMessage | None:
        return await broker.send_request(asked(A))

    async def whole() -> AgentMessage | None:
        await broker.start()
        try:
            return await ask()
        finally:
            await broker.stop()

    with pytest.raises(trunkline.errors.LoopError, match="another event loop"):
        asyncio.run(ask())
    first.run_until_complete(broker.stop())
    first.close()
    assert asyncio.run(whole()) is not None
    assert asyncio.run(whole()) is not None


async def test_every_figure_of_a_worker_is_its_own() -> None:
    async with running(BrokerConfiguration(2, batch_size=1, delivery_parallelism=1)) as broker:
        door = Doorman()
        broker.register_agent(A, door)
        for n in range(2):
            await broker.send_message(told(A, str(n)))
        await until(lambda: door.inside == 2)
        door.open.set()
        await until(lambda: broker.get_stats()["messages_delivered"] == 2)
    pool = broker.get_stats()["worker_pool"]
    assert (pool["total_workers"], pool["total_messages_processed"]) == (2, 2)
    assert (pool["total_batches_processed"], pool["avg_messages_per_worker"]) == (2, 1.0)
    assert [(one["worker_id"], one["messages_processed"]) for one in pool["worker_details"]] == [
        (0, 1),
        (1, 1),
    ]


async def test_thousands_that_wait_all_come_in_their_order() -> None:
    broker = AgentMessageBroker(one_by_one(max_queue_size=50_000))
    seen = list[str]()
    broker.register_agent(A, lambda message: seen.append(message.payload["word"]))
    for n in range(20_000):
        assert await broker.send_message(told(A, str(n)))
        if n % 3 == 0:
            # Small bundles, more of them than the broker takes at a time.
            await asyncio.sleep(0)
    assert broker.get_stats()["queue_size"] == 20_000
    await broker.start()
    await broker.stop()
    assert seen == [str(n) for n in range(20_000)]
