"""Messages between agents, and who the agents are."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InvalidError

if TYPE_CHECKING:
    from typing_extensions import Self


_MOST_RETRIES = 2**31
"""So often is nothing tried again, and a delay that doubles has no room for more."""

LARGE = 1e300
"""What is within this on both sides is a number of seconds without a closer look."""


class MessageType(Enum):
    """What a message is for."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"
    BROADCAST = "broadcast"
    CONTEXT_SHARE = "context_share"
    STATUS_UPDATE = "status_update"
    ERROR = "error"

    def __init__(self, text: str) -> None:
        # As an attribute, what is no type does not have it, which is found in passing.
        self.answers = text == "response"


class MessagePriority(Enum):
    """How urgent a message is; what is more urgent is handled first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    URGENT = 3


class AgentStatus(Enum):
    """How an agent is, for messages of the type `STATUS_UPDATE`."""

    IDLE = "idle"
    BUSY = "busy"
    ERROR = "error"
    OFFLINE = "offline"
    INITIALIZING = "initializing"


@dataclass(eq=False)
class AgentIdentity:
    """Who an agent is. Two are equal if their ids are.

    Raises:
        InvalidError: By its id nothing is found, or its capabilities are no list. It is a
            `ValueError` as well.
    """

    agent_id: str
    agent_type: str
    agent_name: str
    capabilities: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        check_key("agent_id", self.agent_id)
        if isinstance(self.capabilities, str) or not hasattr(self.capabilities, "__iter__"):
            kind = type(self.capabilities).__name__
            raise InvalidError(f"capabilities is a {kind}, it has to be a list of str")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgentIdentity) and self.agent_id == other.agent_id

    def __hash__(self) -> int:
        return hash(self.agent_id)

    def __str__(self) -> str:
        return f"{self.agent_name} ({self.agent_type})"

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary that JSON has."""
        return {
            "agent_id": self.agent_id,
            "agent_type": self.agent_type,
            "agent_name": self.agent_name,
            "capabilities": list(self.capabilities),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what `to_dict` made.

        Raises:
            InvalidError: It is none.
        """
        with _Reading("an agent identity"):
            return cls(
                data["agent_id"],
                data["agent_type"],
                data["agent_name"],
                list(data.get("capabilities", ())),
            )


@dataclass
class MessageMetadata:
    """What is said of a message besides its payload.

    Raises:
        InvalidError: A part of it is of the wrong type. It is a `ValueError` as well.
    """

    timestamp: datetime = field(default_factory=datetime.now)
    """When it was made; its time to live counts from then."""
    priority: MessagePriority = MessagePriority.NORMAL
    correlation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """What a request and its response have in common."""
    reply_to: str | None = None
    """The id of the request that it answers."""
    ttl_seconds: float = 300
    """How long it may wait to be handled."""
    retry_count: int = 0
    """How often it was tried again by now."""
    headers: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        _check("timestamp", self.timestamp, datetime)
        _check("priority", self.priority, MessagePriority)
        ttl = self.ttl_seconds
        if not isinstance(ttl, (int, float)) or not -LARGE < ttl < LARGE:  # pyright: ignore[reportUnnecessaryIsInstance]
            check_seconds("ttl_seconds", ttl)
        # A bool is an int to `isinstance`.
        if type(self.retry_count) is not int or not 0 <= self.retry_count <= _MOST_RETRIES:
            raise InvalidError(
                f"retry_count is {self.retry_count!r:.50}, it is a whole number from 0 to "
                f"{_MOST_RETRIES}"
            )
        if not isinstance(self.headers, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            _check("headers", self.headers, dict)
        if type(self.correlation_id) is not str:
            check_key("correlation_id", self.correlation_id)
        if self.reply_to is not None and type(self.reply_to) is not str:
            check_key("reply_to", self.reply_to)

    def remaining(self) -> float:
        """How many seconds of its time to live remain; none from 0 on."""
        age = datetime.now(self.timestamp.tzinfo) - self.timestamp
        return self.ttl_seconds - age.total_seconds()

    def is_expired(self) -> bool:
        """Whether its time to live has ended."""
        return self.remaining() <= 0

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary that JSON has."""
        return {
            "timestamp": self.timestamp.isoformat(),
            "priority": self.priority.value,
            "correlation_id": self.correlation_id,
            "reply_to": self.reply_to,
            "ttl_seconds": self.ttl_seconds,
            "retry_count": self.retry_count,
            "headers": self.headers,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what `to_dict` made.

        Raises:
            InvalidError: It is none.
        """
        with _Reading("the metadata of a message"):
            return cls(
                timestamp=datetime.fromisoformat(data["timestamp"]),
                priority=MessagePriority(data["priority"]),
                correlation_id=data["correlation_id"],
                reply_to=data.get("reply_to"),
                ttl_seconds=data.get("ttl_seconds", 300),
                retry_count=data.get("retry_count", 0),
                headers=dict(data.get("headers", {})),
            )


@dataclass
class AgentMessage:
    """A message from one agent to others.

    Raises:
        InvalidError: A part of it is of the wrong type. It is a `ValueError` as well.
    """

    sender: AgentIdentity
    recipients: list[AgentIdentity]
    """To whom it goes; nobody in particular stands for everybody."""
    message_type: MessageType
    payload: dict[str, Any]
    message_id: str = field(default_factory=lambda: f"msg-{uuid.uuid4()}")
    metadata: MessageMetadata = field(default_factory=MessageMetadata)
    seen_payload: ClassVar[dict[str, Any] | None] = None
    """The payload that was looked at, which a message has for itself once it was."""

    def __post_init__(self) -> None:
        if type(self.message_type) is not MessageType:
            _check("message_type", self.message_type, MessageType)
        if type(self.sender) is not AgentIdentity:
            _check("sender", self.sender, AgentIdentity)
        _check("recipients", self.recipients, list)
        for recipient in self.recipients:
            _check("a recipient", recipient, AgentIdentity)
        if type(self.payload) is not dict:
            _check("payload", self.payload, dict)
        if type(self.message_id) is not str:
            check_key("message_id", self.message_id)
        _check("metadata", self.metadata, MessageMetadata)
        self.seen_payload = self.payload  # pyright: ignore[reportAttributeAccessIssue]

    def __str__(self) -> str:
        whom = ", ".join(recipient.agent_id for recipient in self.recipients) or "everybody"
        return f"{self.message_type.value} {self.message_id} of {self.sender.agent_id} to {whom}"

    def is_broadcast(self) -> bool:
        """Whether it is for nobody in particular."""
        return not self.recipients

    def is_request(self) -> bool:
        """Whether it wants an answer."""
        return self.message_type is MessageType.REQUEST

    def is_response(self) -> bool:
        """Whether it is an answer."""
        return self.message_type is MessageType.RESPONSE

    def is_event(self) -> bool:
        """Whether it tells of something."""
        return self.message_type is MessageType.EVENT

    def create_response(self, sender: AgentIdentity, payload: dict[str, Any]) -> AgentMessage:
        """The answer to this request, which may be empty.

        Raises:
            InvalidError: This is no request.
        """
        if not self.is_request():
            raise InvalidError(f"{self} is no request, and cannot be answered")
        about = self.metadata
        metadata = MessageMetadata(
            priority=about.priority,
            correlation_id=about.correlation_id,
            reply_to=self.message_id,
            headers=dict(about.headers),
        )
        return AgentMessage(sender, [self.sender], MessageType.RESPONSE, payload, metadata=metadata)

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary, which JSON has if it has the payload and the headers."""
        return {
            "message_id": self.message_id,
            "sender": self.sender.to_dict(),
            "recipients": [recipient.to_dict() for recipient in self.recipients],
            "message_type": self.message_type.value,
            "payload": self.payload,
            "metadata": self.metadata.to_dict(),
        }

    def to_json(self) -> str:
        """As JSON.

        Raises:
            InvalidError: JSON does not have its payload or a header.
        """
        try:
            return json.dumps(self.to_dict(), ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidError(f"{self} cannot be written as JSON: {error}") from error

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what `to_dict` made.

        Raises:
            InvalidError: It is none.
        """
        with _Reading("a message"):
            return cls(
                sender=AgentIdentity.from_dict(data["sender"]),
                recipients=[AgentIdentity.from_dict(one) for one in data["recipients"]],
                message_type=MessageType(data["message_type"]),
                payload=data["payload"],
                message_id=data["message_id"],
                metadata=MessageMetadata.from_dict(data["metadata"]),
            )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From what `to_json` made.

        Raises:
            InvalidError: It is none.
        """
        with _Reading("a message"):
            return cls.from_dict(json.loads(text))


def create_request_message(
    sender: AgentIdentity,
    recipient: AgentIdentity,
    payload: dict[str, Any],
    priority: MessagePriority = MessagePriority.NORMAL,
    ttl_seconds: float = 300,
) -> AgentMessage:
    """A request to one agent."""
    metadata = MessageMetadata(priority=priority, ttl_seconds=ttl_seconds)
    return AgentMessage(sender, [recipient], MessageType.REQUEST, payload, metadata=metadata)


def create_event_message(
    sender: AgentIdentity,
    topic: str,
    event_data: dict[str, Any],
    priority: MessagePriority = MessagePriority.NORMAL,
) -> AgentMessage:
    """An event for the subscribers of a topic.

    Raises:
        InvalidError: The topic is no text, or the data no dict.
    """
    _check("the data of an event", event_data, dict)
    metadata = MessageMetadata(priority=priority)
    payload = {"topic": text_of("a topic", topic), "data": event_data}
    return AgentMessage(sender, [], MessageType.EVENT, payload, metadata=metadata)


def create_broadcast_message(
    sender: AgentIdentity,
    payload: dict[str, Any],
    priority: MessagePriority = MessagePriority.HIGH,
) -> AgentMessage:
    """A message to everybody."""
    metadata = MessageMetadata(priority=priority)
    return AgentMessage(sender, [], MessageType.BROADCAST, payload, metadata=metadata)


def create_context_share_message(
    sender: AgentIdentity,
    recipient: AgentIdentity,
    context_data: dict[str, Any],
    context_type: str = "rag_context",
) -> AgentMessage:
    """What one agent knows, for another."""
    payload = {"context_type": context_type, "context_data": context_data}
    return AgentMessage(sender, [recipient], MessageType.CONTEXT_SHARE, payload)


def check_message(message: object) -> None:
    """Looks at a message as it is now, which its user may have changed.

    Raises:
        InvalidError: It is none, or a part of it is of the wrong type.
    """
    _check("a message", message, AgentMessage)
    if isinstance(message, AgentMessage):
        AgentMessage.__post_init__(message)
        MessageMetadata.__post_init__(message.metadata)
        check_key("the agent_id of the sender", message.sender.agent_id)
        for one in message.recipients:
            check_key("the agent_id of a recipient", one.agent_id)


def text_of(what: str, value: object) -> str:
    """A text; one that is a member of an `Enum` as well counts as the text that it is.

    Raises:
        InvalidError: It is none.
    """
    if not isinstance(value, str):
        raise InvalidError(f"{what} is a {type(value).__name__}, it has to be a str")
    return str.__str__(value)


def check_seconds(what: str, value: object) -> None:
    """Sees that it is a number that the clock has room for.

    Raises:
        InvalidError: It is something else.
    """
    if not isinstance(value, (int, float)):
        raise InvalidError(f"{what} is a {type(value).__name__}, it has to be a float")
    # What is not equal to itself is no number.
    if value != value:
        raise InvalidError(f"{what} is {value!r}, it has to be a number of seconds")
    try:
        float(value)
    except OverflowError:
        raise InvalidError(f"{what} is too large for a number of seconds") from None


def check_key(what: str, value: object) -> None:
    """Sees that things can be found by this.

    Raises:
        InvalidError: It has no hash.
    """
    try:
        hash(value)
    except TypeError as error:
        kind = type(value).__name__
        raise InvalidError(f"{what} is a {kind}, by which nothing is found; use a str") from error


def check_agents(agents: object) -> list[AgentIdentity]:
    """The agents of a list, each once, as what they say is told by their ids.

    Raises:
        InvalidError: It is no list of agents.
    """
    if isinstance(agents, str) or not hasattr(agents, "__iter__"):
        raise InvalidError(f"agents is a {type(agents).__name__}, give a list of AgentIdentity")
    known = list[Any](agents)  # pyright: ignore[reportArgumentType]
    for agent in known:
        _check("an agent", agent, AgentIdentity)
        check_key("the agent_id of an agent", agent.agent_id)
    return list(dict.fromkeys(known))


def _check(what: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise InvalidError(f"{what} is a {type(value).__name__}, it has to be a {kind.__name__}")


class _Reading:
    """Tells what cannot be read, and why."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, InvalidError):
            return
        if isinstance(error, KeyError):
            raise InvalidError(f"{self._what} has no {error}") from error
        if isinstance(error, (TypeError, ValueError, AttributeError, RecursionError)):
            raise InvalidError(f"this is not {self._what}: {error}") from error
