"""The agents of a broker, and the topics that they are subscribed to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .._declared import yields
from ..errors import InvalidError
from .messages import AgentIdentity, check_key, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .messages import AgentMessage

log = logging.getLogger("trunkline.compat")


class Directory:
    """What the broker knows of its agents."""

    def __init__(self) -> None:
        self._agents: dict[str, tuple[AgentIdentity, Callable[[AgentMessage], Any]]] = {}
        self._topics: dict[str, set[str]] = {}

    def register_agent(
        self, identity: AgentIdentity, handler: Callable[[AgentMessage], Any]
    ) -> None:
        """Registers an agent, in the place of one of the same id.

        Args:
            identity: Who it is.
            handler: What is called with each of its messages, on the event loop: a function or a
                coroutine function. The dictionary that it returns for a request is the answer.

        Raises:
            InvalidError: One of these is something else.
        """
        if not isinstance(identity, AgentIdentity):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"an identity is an AgentIdentity, not a {type(identity).__name__}")
        if not callable(handler):
            raise InvalidError(f"the handler of '{identity.agent_id}' cannot be called")
        if yields(handler):
            raise InvalidError(
                f"the handler of '{identity.agent_id}' yields, so that calling it runs nothing of "
                "it; return the answer instead"
            )
        if identity.agent_id in self._agents:
            log.warning("agent '%s' is registered anew", identity.agent_id)
        self._agents[identity.agent_id] = (identity, handler)

    def unregister_agent(self, agent_id: str) -> None:
        """Forgets an agent and its subscriptions. What waits for it becomes dead letters."""
        check_key("an agent_id", agent_id)
        if self._agents.pop(agent_id, None) is None:
            log.warning("agent '%s' is not registered", agent_id)
        for topic in list(self._topics):
            self.unsubscribe(agent_id, topic)

    def get_agent(self, agent_id: str) -> AgentIdentity | None:
        """The agent of this id, if it is registered."""
        check_key("an agent_id", agent_id)
        known = self._agents.get(agent_id)
        return None if known is None else known[0]

    def get_agents_by_type(self, agent_type: str) -> list[AgentIdentity]:
        """The registered agents of this type."""
        return [agent for agent, _ in self._agents.values() if agent.agent_type == agent_type]

    def get_agents_by_capability(self, capability: str) -> list[AgentIdentity]:
        """The registered agents that can do this."""
        return [agent for agent, _ in self._agents.values() if capability in agent.capabilities]

    def subscribe(self, agent_id: str, topic: str) -> None:
        """Has an agent get the events of a topic.

        Raises:
            InvalidError: There is no such agent, or the topic is no text. It is a `ValueError` as
                well.
        """
        check_key("an agent_id", agent_id)
        if agent_id not in self._agents:
            raise InvalidError(f"agent '{agent_id}' is not registered; register it first")
        self._topics.setdefault(text_of("a topic", topic), set()).add(agent_id)

    def unsubscribe(self, agent_id: str, topic: str) -> None:
        """Has an agent get the events of a topic no longer."""
        check_key("an agent_id", agent_id)
        topic = text_of("a topic", topic)
        subscribers = self._topics.get(topic, set())
        subscribers.discard(agent_id)
        if not subscribers:
            self._topics.pop(topic, None)

    def get_subscribers(self, topic: str) -> set[str]:
        """The ids of the agents that get the events of a topic."""
        return set(self._topics.get(text_of("a topic", topic), ()))

    def _subscribed(self, topic: str) -> list[AgentIdentity]:
        """The agents that get the events of a topic, in the order of their ids."""
        # Not every id can be compared with every other.
        return [self._agents[one][0] for one in sorted(self.get_subscribers(topic), key=str)]
