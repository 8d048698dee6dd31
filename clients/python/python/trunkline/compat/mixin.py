"""What an agent class inherits to speak with others."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from ..errors import InvalidError
from .messages import (
    AgentIdentity,
    AgentMessage,
    MessageMetadata,
    MessagePriority,
    MessageType,
    check_message,
    create_broadcast_message,
    create_context_share_message,
    create_request_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .broker import AgentMessageBroker

log = logging.getLogger("trunkline.compat")


class AgentCommunicationMixin:
    """Registers its agent with a broker, and gives each type of message to a handler of its own.

    A request without a handler is answered by an acknowledgement; what else has none is ignored.
    If the handler of a request raises, the answer is `{"error": …, "status": "failed"}`; what else
    fails is tried again as the broker is set.
    """

    def __init__(self, broker: AgentMessageBroker, identity: AgentIdentity) -> None:
        """Registers the agent."""
        self.broker = broker
        self.identity = identity
        self._message_handlers: dict[MessageType, Callable[[AgentMessage], Any]] = {}
        broker.register_agent(identity, self._on_message)

    def register_message_handler(
        self, message_type: MessageType, handler: Callable[[AgentMessage], Any]
    ) -> None:
        """Gives a type of message to a handler, a function or a coroutine function.

        Raises:
            InvalidError: There is no such type, or the handler cannot be called.
        """
        # The text of a type counts as the type.
        try:
            kind = MessageType(message_type)
        except ValueError:
            kinds = ", ".join(one.value for one in MessageType)
            raise InvalidError(f"{message_type!r:.50} is no type of messages, of {kinds}") from None
        if not callable(handler):
            raise InvalidError(f"the handler of {kind.value} messages cannot be called")
        self._message_handlers[kind] = handler

    async def _on_message(self, message: AgentMessage) -> Any:
        handler = self._message_handlers.get(message.message_type)
        if handler is None:
            if not message.is_request():
                return None
            text = f"Request acknowledged by {self.identity.agent_name}"
            return {"status": "acknowledged", "message": text, "message_id": message.message_id}
        try:
            result = handler(message)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            if not message.is_request():
                raise
            log.warning("agent '%s' failed a request", self.identity.agent_id, exc_info=error)
            return {"error": str(error), "status": "failed"}
        return result

    async def send_message(
        self,
        recipients: list[AgentIdentity],
        message_type: MessageType,
        payload: dict[str, Any],
        priority: MessagePriority = MessagePriority.NORMAL,
        ttl_seconds: float = 300,
    ) -> bool:
        """Sends a message; see `AgentMessageBroker.send_message`."""
        metadata = MessageMetadata(priority=priority, ttl_seconds=ttl_seconds)
        return await self.broker.send_message(
            AgentMessage(self.identity, recipients, message_type, payload, metadata=metadata)
        )

    async def send_request(
        self,
        recipient: AgentIdentity,
        payload: dict[str, Any],
        timeout: float = 30.0,
        priority: MessagePriority = MessagePriority.NORMAL,
    ) -> dict[str, Any] | None:
        """The payload of the answer, which may be empty; `None` if there is no answer."""
        request = create_request_message(self.identity, recipient, payload, priority)
        response = await self.broker.send_request(request, timeout)
        return None if response is None else response.payload

    async def send_response(self, request_message: AgentMessage, payload: dict[str, Any]) -> bool:
        """Answers a request whose handler returns nothing.

        Raises:
            InvalidError: It is no request, or the payload no dict.
        """
        check_message(request_message)
        return await self.broker.send_message(
            request_message.create_response(self.identity, payload)
        )

    async def publish_event(
        self,
        topic: str,
        payload: dict[str, Any],
        priority: MessagePriority = MessagePriority.NORMAL,
    ) -> None:
        """Publishes an event; see `AgentMessageBroker.publish_event`."""
        await self.broker.publish_event(topic, self.identity, payload, priority)

    async def send_broadcast(
        self, payload: dict[str, Any], priority: MessagePriority = MessagePriority.HIGH
    ) -> bool:
        """Sends a message to every agent, this one too."""
        message = create_broadcast_message(self.identity, payload, priority)
        return await self.broker.send_message(message)

    async def share_context(
        self,
        recipient: AgentIdentity,
        context_data: dict[str, Any],
        context_type: str = "rag_context",
    ) -> bool:
        """Tells another agent what this one knows."""
        message = create_context_share_message(self.identity, recipient, context_data, context_type)
        return await self.broker.send_message(message)

    def subscribe(self, topic: str) -> None:
        """Gets the events of a topic from now on."""
        self.broker.subscribe(self.identity.agent_id, topic)

    def unsubscribe(self, topic: str) -> None:
        """Gets the events of a topic no longer."""
        self.broker.unsubscribe(self.identity.agent_id, topic)

    def get_identity(self) -> AgentIdentity:
        """Who the agent is."""
        return self.identity

    def is_registered(self) -> bool:
        """Whether the broker knows the agent."""
        return self.broker.get_agent(self.identity.agent_id) is not None

    def cleanup(self) -> None:
        """Leaves the broker."""
        self.broker.unregister_agent(self.identity.agent_id)
