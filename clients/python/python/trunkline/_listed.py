"""What is listed and looked up besides tasks and agents: letters, schedules, messages, talks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ._payload import Payload

if TYPE_CHECKING:
    from .errors import Refused


@dataclass(slots=True)
class AttemptNote:
    """What became of an attempt that did not succeed."""

    attempt: int
    """Which attempt, from 1."""
    agent: str | None
    """The agent that held it."""
    at: float
    """When it ended, in seconds since the Unix epoch."""
    reason: str
    """Why it did not succeed."""


@dataclass(slots=True)
class HistoryMessage:
    """One message of a task: what made it, what was said later on either side, the answer."""

    task: str
    """The task that it belongs to."""
    role: Literal["caller", "agent"]
    """Which side said it."""
    source: str | None
    """Which agent said it; `None` for a caller that is no agent."""
    at: float
    """When the broker took it in, in seconds since the Unix epoch."""
    payload: Payload
    """What was said."""


@dataclass(slots=True)
class History:
    """The latest messages of a task or a conversation."""

    messages: list[HistoryMessage]
    """Oldest first; as many as were asked for, and about 4 MiB of them."""
    more: bool
    """Whether there are earlier ones."""


@dataclass(slots=True)
class ContextInfo:
    """A conversation as it stands: the tasks of one `context`."""

    id: str
    """Its id."""
    tasks: int
    """How many of its tasks are kept."""
    tasks_open: int
    """How many of them have not ended."""
    history: History
    """What was said in its tasks, in order of time; its newest 1,000 tasks are looked at."""


@dataclass(slots=True)
class CopyInfo:
    """One copy of a message."""

    inbox: str | None
    """In which inbox; `None` for an event that waits for its time or for a first subscriber."""
    state: Literal[
        "staged",
        "delayed",
        "waiting",
        "parked",
        "paused",
        "leased",
        "completed",
        "failed",
        "rejected",
        "expired",
        "canceled",
        "dead-lettered",
        "dropped",
    ]
    """Where it is, or how it ended."""
    attempts: int
    """How many attempts count."""
    agent: str | None
    """The agent that holds it."""


@dataclass(slots=True)
class MessageInfo:
    """A message of any kind as it stands."""

    id: str
    """Its id."""
    kind: str | None
    """What it is, if that is remembered."""
    to: str | None
    """Where it was sent; `None` if it has ended and only that is remembered."""
    accepted_at: float | None
    """When it was accepted, in seconds since the Unix epoch."""
    copies: list[CopyInfo]
    """One for each inbox that it went to."""


@dataclass(slots=True)
class DeadLetterInfo:
    """What ran out of attempts, or was dead-lettered by its handler."""

    id: str
    """The id of what was sent."""
    inbox: str
    """The inbox in which it died."""
    reason: str
    """Why."""
    at: float
    """When it died, in seconds since the Unix epoch."""
    accepted_at: float
    """When it was accepted, likewise."""
    attempts: list[AttemptNote]
    """What became of every attempt."""
    to: str
    """Where it was sent."""
    source: str | None
    """The agent that sent it; `None` for a client that is no agent."""
    redriven_from: str | None
    """The dead letter that it was made from, if it was."""
    headers: list[tuple[str, str]]
    """The free fields of its sender, in their order."""
    payload: Payload
    """What was sent."""


@dataclass(slots=True)
class ScheduleInfo:
    """A schedule as it stands."""

    name: str
    """Its name."""
    cron: str
    """When it is due."""
    zone: str
    """The time zone in which that is read; `UTC` when empty."""
    to: str
    """Where it sends."""
    payload: Payload
    """What it sends."""
    next: float | None
    """When it is due next, in seconds since the Unix epoch; `None` if never again."""
    fired: int
    """How many messages it has made."""
    last: tuple[str, float] | None
    """The latest message that it made, and when that was due."""
    refused: Refused | None
    """Why the message that is due could not be published yet; it is tried again."""


def to_history(said: tuple[list[tuple[Any, ...]], bool]) -> History:
    """What was said from what the runtime said."""
    messages, more = said
    return History(
        [
            HistoryMessage(task, role, source, at, Payload(*payload))
            for task, role, source, at, payload in messages
        ],
        more,
    )


def to_context(said: dict[str, Any]) -> ContextInfo:
    """A conversation from what the runtime said."""
    said["history"] = to_history(said["history"])
    return ContextInfo(**said)


def to_message(said: dict[str, Any]) -> MessageInfo:
    """A message from what the runtime said."""
    said["copies"] = [CopyInfo(*copy) for copy in said["copies"]]
    return MessageInfo(**said)


def to_letter(said: dict[str, Any]) -> DeadLetterInfo:
    """A dead letter from what the runtime said."""
    said["attempts"] = [AttemptNote(*note) for note in said["attempts"]]
    said["payload"] = Payload(*said["payload"])
    return DeadLetterInfo(**said)


def to_schedule(said: dict[str, Any]) -> ScheduleInfo:
    """A schedule from what the runtime said."""
    said["payload"] = Payload(*said["payload"])
    return ScheduleInfo(**said)
