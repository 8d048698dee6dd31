"""The mixin of agents and the supervisor of the drop-in broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from compat_tools import ME, one_by_one, running, until, who
from trunkline.compat import (
    AgentCommunicationMixin,
    AgentMessage,
    AgentSupervisor,
    MessagePriority,
    MessageType,
)

if TYPE_CHECKING:
    from trunkline.compat import AgentMessageBroker


class Agent(AgentCommunicationMixin):
    """Keeps what it gets, and answers as its name says."""

    def __init__(self, broker: AgentMessageBroker, name: str) -> None:
        super().__init__(broker, who(name))
        self.got: list[AgentMessage] = []
        for kind in MessageType:
            if kind is not MessageType.REQUEST:
                self.register_message_handler(kind, self.got.append)

    async def answer(self, message: AgentMessage) -> dict[str, Any]:
        name = self.identity.agent_id
        if name == "fails":
            raise RuntimeError("broken")
        if name == "hangs":
            await asyncio.Event().wait()
        return {"by": name, "asked": message.payload.get("word")}


async def test_an_agent_speaks_in_every_way() -> None:
    async with running(one_by_one()) as broker:
        a, b = Agent(broker, "a"), Agent(broker, "b")
        assert a.is_registered()
        assert a.get_identity() == who("a")
        assert (await a.send_request(b.identity, {}) or {})["status"] == "acknowledged"
        b.register_message_handler(MessageType.REQUEST, b.answer)
        urgent = MessagePriority.URGENT
        answer = await a.send_request(b.identity, {"word": "x"}, timeout=20, priority=urgent)
        assert answer == {"by": "b", "asked": "x"}
        b.register_message_handler(MessageType.REQUEST, lambda _: {})
        assert await a.send_request(b.identity, {}) == {}
        b.subscribe("news")
        a.subscribe("news")
        a.unsubscribe("news")
        await a.publish_event("news", {"n": 1}, MessagePriority.HIGH)
        await a.share_context(b.identity, {"n": 2}, "kind")
        await a.send_message([b.identity], MessageType.ERROR, {"n": 3}, urgent, ttl_seconds=7)
        await a.send_broadcast({"n": 4})
        await until(lambda: len(b.got) == 4 and len(a.got) == 1)
        by_type = {message.message_type: message for message in b.got}
        event, error = by_type[MessageType.EVENT], by_type[MessageType.ERROR]
        assert event.payload == {"topic": "news", "data": {"n": 1}}
        assert event.metadata.priority is MessagePriority.HIGH
        shared = {"context_type": "kind", "context_data": {"n": 2}}
        assert by_type[MessageType.CONTEXT_SHARE].payload == shared
        assert (error.metadata.priority, error.metadata.ttl_seconds) == (urgent, 7)
        assert a.got[0].message_type is MessageType.BROADCAST
        a.cleanup()
        assert not a.is_registered()


async def test_an_agent_answers_later_by_itself() -> None:
    async with running(one_by_one()) as broker:
        a, b = Agent(broker, "a"), Agent(broker, "b")

        async def later(message: AgentMessage) -> None:
            assert await b.send_response(message, {"later": True})

        b.register_message_handler(MessageType.REQUEST, later)
        assert await a.send_request(b.identity, {}) == {"later": True}


async def test_what_a_handler_of_an_agent_raises_is_told_to_who_asks() -> None:
    async with running(one_by_one(retry_backoff_ms=1)) as broker:
        a, fails = Agent(broker, "a"), Agent(broker, "fails")
        fails.register_message_handler(MessageType.REQUEST, fails.answer)
        answer = await a.send_request(fails.identity, {})
        assert answer == {"error": "broken", "status": "failed"}
        fails.register_message_handler(MessageType.EVENT, fails.answer)
        fails.subscribe("news")
        await a.publish_event("news", {})
        await until(lambda: bool(broker.get_dead_letters()))
        assert broker.get_stats()["messages_retried"] == 3


async def test_a_supervisor_gathers_what_there_is() -> None:
    async with running(one_by_one(num_workers=4)) as broker:
        agents = {name: Agent(broker, name) for name in ("a", "b", "fails", "hangs")}
        for agent in agents.values():
            agent.register_message_handler(MessageType.REQUEST, agent.answer)
        chosen = [agent.identity for agent in agents.values()]
        supervisor = AgentSupervisor(broker, ME)
        gathering = await supervisor.scatter(
            [*chosen, who("nobody")], {"word": "q"}, timeout=0.5, priority=MessagePriority.HIGH
        )
        assert gathering.completed == {name: {"by": name, "asked": "q"} for name in ("a", "b")}
        assert gathering.timed_out == ["hangs"]
        assert gathering.failed["fails"] == "broken"
        assert "'nobody' is not registered" in gathering.failed["nobody"]
        assert not gathering.complete
        assert (await supervisor.scatter(chosen[:2], {})).complete
        assert await supervisor.share_context(chosen[:1], {"k": 1}, "kind") == ["a"]
        assert await supervisor.share_results(gathering) == ["a", "b"]
        await until(lambda: len(agents["a"].got) == 2 and len(agents["b"].got) == 1)
        (shared,) = agents["b"].got
        assert shared.message_type is MessageType.CONTEXT_SHARE
        others = {"a": {"by": "a", "asked": "q"}}
        assert shared.payload == {"context_type": "partial_results", "context_data": others}
        await broker.stop(timeout=0)


async def test_a_supervisor_within_a_handler_needs_no_worker_while_it_waits() -> None:
    async with running(one_by_one()) as broker:
        a, chief = Agent(broker, "a"), Agent(broker, "chief")
        a.register_message_handler(MessageType.REQUEST, a.answer)
        supervisor = AgentSupervisor(broker, chief.identity)

        async def lead(message: AgentMessage) -> dict[str, Any]:
            return (await supervisor.scatter([a.identity], message.payload)).completed

        chief.register_message_handler(MessageType.REQUEST, lead)
        answer = await a.send_request(chief.identity, {"word": "w"})
        assert answer == {"a": {"by": "a", "asked": "w"}}
