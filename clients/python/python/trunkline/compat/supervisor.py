"""A supervisor: one query for several agents, and what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InvalidError
from .messages import (
    AgentIdentity,
    MessagePriority,
    check_agents,
    create_context_share_message,
    create_request_message,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .broker import AgentMessageBroker


@dataclass(slots=True)
class Gathering:
    """What came of a query, by the ids of the agents; each is in one of the three."""

    completed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """The answers of those that gave one."""
    timed_out: list[str] = field(default_factory=list[str])
    """Those that gave none in time."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Those that gave none for another reason, and the reason."""

    @property
    def complete(self) -> bool:
        """Whether everybody answered."""
        return not self.timed_out and not self.failed


class AgentSupervisor:
    """Asks chosen agents at once, and shares between them what is known.

    It need not be registered. Within a handler, its place in the pool is lent while it waits.
    """

    def __init__(self, broker: AgentMessageBroker, identity: AgentIdentity) -> None:
        """Speaks through this broker as this agent."""
        self.broker = broker
        self.identity = identity

    async def scatter(
        self,
        agents: Sequence[AgentIdentity],
        query: dict[str, Any],
        timeout: float = 30.0,
        priority: MessagePriority = MessagePriority.NORMAL,
    ) -> Gathering:
        """Asks each of the agents, and waits until all have answered or the time is over.

        Args:
            agents: Whom to ask, each once.
            query: What to ask them.
            timeout: How many seconds to wait. What has come by then is what there is.
            priority: How urgent it is.

        Raises:
            InvalidError: The query is no dictionary, or these are no agents.
        """
        if not isinstance(query, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"a query is a dict, not a {type(query).__name__}")
        agents = check_agents(agents)
        requests = [
            create_request_message(self.identity, agent, query, priority) for agent in agents
        ]
        answers = await asyncio.gather(*(self.broker.ask(request, timeout) for request in requests))
        gathering = Gathering()
        for agent, answer in zip(agents, answers, strict=True):
            if answer.response is not None:
                payload: object = answer.response.payload
                if not isinstance(payload, dict):
                    kind = type(payload).__name__
                    gathering.failed[agent.agent_id] = f"it answered a {kind}, not a dict"
                elif payload.get("status") == "failed" and "error" in payload:
                    # So the agents of the mixin say that a handler raised.
                    gathering.failed[agent.agent_id] = str(payload["error"])
                else:
                    gathering.completed[agent.agent_id] = payload
            elif answer.timed_out:
                gathering.timed_out.append(agent.agent_id)
            else:
                gathering.failed[agent.agent_id] = answer.reason
        return gathering

    async def share_context(
        self,
        agents: Sequence[AgentIdentity],
        context_data: dict[str, Any],
        context_type: str = "rag_context",
    ) -> list[str]:
        """Tells each of the agents what is known.

        Returns:
            The ids of those for whom it was accepted.
        """
        accepted: list[str] = []
        for agent in check_agents(agents):
            message = create_context_share_message(self.identity, agent, context_data, context_type)
            if await self.broker.send_message(message):
                accepted.append(agent.agent_id)
        return accepted

    async def share_results(
        self, gathering: Gathering, context_type: str = "partial_results"
    ) -> list[str]:
        """Tells each agent that answered what the others did.

        Returns:
            The ids of those for whom it was accepted.
        """
        accepted: list[str] = []
        for agent_id in gathering.completed:
            agent = self.broker.get_agent(agent_id)
            others = {one: it for one, it in gathering.completed.items() if one != agent_id}
            if agent is not None and others:
                accepted += await self.share_context([agent], others, context_type)
        return accepted
