"""What the broker says, as Python sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._listed import AttemptNote, History, to_history
from ._payload import Payload

if TYPE_CHECKING:
    from .errors import Refused, Unanswered

TaskState: TypeAlias = Literal[
    "submitted",
    "working",
    "input-required",
    "auth-required",
    "completed",
    "failed",
    "canceled",
    "rejected",
]
"""Where a task is in its life."""


@dataclass(slots=True)
class Reply(Payload):
    """The answer to a request or the result of a task; empty if the agent gave none."""

    id: str = ""
    """The id of the request."""
    agent: str | None = None
    """The agent that answered, if the broker said which."""


@dataclass(slots=True)
class Acceptance:
    """What the broker said when it accepted something."""

    id: str
    """The id of the message, and of the task if it is one: the first one's if this was a repeat."""
    duplicate: bool
    """Whether this was a repeat under an idempotency key."""
    targets: int
    """How many inboxes and subscriptions it went to."""
    dropped: int
    """How many were over their bound, so that it was dropped for them."""
    parked: int
    """How many of the inboxes nobody serves at the moment, so that it waits there."""


@dataclass(slots=True)
class BatchOutcome:
    """What the broker said of many things that were sent at once."""

    accepted: int
    """How many it accepted."""
    duplicates: int
    """How many of those were repeats."""
    dropped: int
    """How many recipients were over their bound, so that something was dropped for them."""
    refused: list[tuple[int, Refused]]
    """What it refused: the place among what was sent, from 0, and why."""


@dataclass(slots=True)
class Gathered:
    """What came of a request to several agents."""

    id: str
    """The id of the request."""
    complete: bool
    """Whether as many answers came as were wanted."""
    answers: dict[str, Payload]
    """The answers by the ids of the agents, in their order; empty if an agent gave none."""
    missing: dict[str, Unanswered]
    """Why the other agents that were asked did not answer."""


@dataclass(slots=True)
class Event(Payload):
    """An event as its subscriber sees it."""

    id: str = ""
    """The id of the event."""
    topic: str | None = None
    """Where it was published; `None` if it was sent to its subscribers in another way."""
    source: str | None = None
    """The agent that published it; `None` for a client that is no agent."""
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """The free fields of its sender, in their order."""
    missed: int = 0
    """How many events were dropped right before this one because this side was too slow, or
    because they had come to the end of their time to live."""


@dataclass(slots=True)
class TaskInfo:
    """A task as it stands."""

    id: str
    """Its id."""
    to: str
    """Where it was sent."""
    state: TaskState
    """Where it is in its life."""
    reason: str | None
    """Why it is in that state, where there is a reason."""
    agent: str | None
    """The agent that holds it or held it last."""
    source: str | None
    """The agent that sent it; `None` for a client that is no agent."""
    context: str | None
    """The conversation that it belongs to."""
    causation: str | None
    """What was being handled when it was made."""
    root: str | None
    """The first ancestor in the chain of tasks that made it."""
    attempts: int
    """How many attempts were begun."""
    notes: list[AttemptNote]
    """What became of the attempts that did not succeed, latest last; at most the last 16."""
    progress: tuple[int, str] | None
    """How far it is, from 0 to 100, and a text for people."""
    result: Payload | None
    """The answer, once it is completed."""
    last_event: int
    """The number of its latest event, after which a watch can go on."""
    created_at: float
    """When it was accepted, in seconds since the Unix epoch."""
    updated_at: float
    """When its state changed last, in seconds since the Unix epoch."""
    history: History
    """Its latest messages, as far as they were asked for."""

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ("completed", "failed", "canceled", "rejected")


@dataclass(slots=True)
class AgentInfo:
    """An agent of the directory."""

    id: str
    """Its id."""
    name: str
    """A name for people; empty for none but the id."""
    description: str
    """What it does."""
    types: list[str]
    """What kinds of agent it is."""
    skills: list[str]
    """The skills that it offers."""
    schemas: dict[str, SkillSchemas]
    """What the work of those skills has to fit that declare it, and what comes of it."""
    capabilities: list[str]
    """What it can do besides."""
    labels: dict[str, str]
    """Free pairs for lookup."""
    region: str
    """Where it runs."""
    version: str
    """The version of its code."""
    presence: Literal["starting", "ready", "busy", "draining", "offline"]
    """How present it is."""
    sessions: int
    """How many sessions it has."""
    in_flight: int
    """How many deliveries its sessions hold."""
    waiting: int
    """How many messages wait in its own inbox."""
    owner: str
    """The principal that registered it."""
    credit: int
    """How many deliveries its sessions are willing to hold."""
    registered_at: float
    """When it registered first, in seconds since the Unix epoch."""
    weight: int
    """Its share where routing is `weighted`."""
    draining: bool
    """Whether it was told to take no new work."""
    healthy: bool
    """Whether it is fit for work, as far as was said by `set_agent`."""
    breakers: list[BreakerInfo]
    """Its circuit breakers that are not closed or have counted failures."""


@dataclass(slots=True)
class SkillSchemas:
    """The JSON Schemas that an agent declares for one of its skills."""

    input: dict[str, Any] | None
    """What its work has to fit; `None` if nothing is declared."""
    output: dict[str, Any] | None
    """What its answers fit; `None` if nothing is declared."""


@dataclass(slots=True)
class BreakerInfo:
    """The circuit breaker between an agent and one of its inboxes."""

    inbox: str
    """Which inbox."""
    state: Literal["closed", "open", "half-open"]
    """Where it is."""
    failures: int
    """How many failures in a row it has counted within its window."""
    open_for: float
    """For how many seconds it stays open; 0 when it is not open."""


@dataclass(slots=True)
class AgentNews:
    """What happened to an agent of the directory."""

    event: Literal["present", "joined", "changed", "left", "gone"]
    """What happened; those who were there before come first, as `present`."""
    snapshot: int
    """1, and one more whenever the connection was lost and who is there was told anew. Who is not
    among those is no longer there, although nothing was said of it."""
    agent: AgentInfo
    """The agent after that."""


@dataclass(slots=True)
class StatusUpdate:
    """The state of a task changed."""

    number: int
    """Its number in the sequence of the task."""
    at: float
    """When it happened, in seconds since the Unix epoch."""
    state: TaskState
    """The new state."""
    reason: str | None
    """Why, where there is a reason."""


@dataclass(slots=True)
class ArtifactUpdate:
    """A piece of a result."""

    number: int
    """Its number in the sequence of the task."""
    at: float
    """When it was made, in seconds since the Unix epoch."""
    name: str
    """Which artifact of the task."""
    payload: Payload
    """The piece."""
    append: bool
    """Whether it continues the artifact; otherwise it begins it anew."""
    last: bool
    """Whether it completes the artifact."""


@dataclass(slots=True)
class MessageUpdate:
    """A message that belongs to the task: its caller's answer, or the agent's question."""

    number: int
    """Its number in the sequence of the task."""
    at: float
    """When it was said, in seconds since the Unix epoch."""
    source: str | None
    """The agent that said it; `None` for a caller that is no agent."""
    payload: Payload
    """What was said."""


@dataclass(slots=True)
class ProgressUpdate:
    """How far a task is. It has no number: only the latest counts."""

    percent: int
    """From 0 to 100."""
    text: str
    """What is being done, for people."""


@dataclass(slots=True)
class GapUpdate:
    """Events between two numbers are no longer kept."""

    first: int
    """The first missing number."""
    last: int
    """The last missing number."""


Update: TypeAlias = "StatusUpdate | ArtifactUpdate | MessageUpdate | ProgressUpdate | GapUpdate"
"""What a watcher of a task is told."""


def to_update(said: tuple[Any, ...]) -> Update:
    """An update from what the runtime said."""
    kind, *fields = said
    if kind == "status":
        return StatusUpdate(*fields)
    if kind == "artifact":
        number, at, name, payload, append, last = fields
        return ArtifactUpdate(number, at, name, Payload(*payload), append, last)
    if kind == "message":
        number, at, source, payload = fields
        return MessageUpdate(number, at, source, Payload(*payload))
    if kind == "progress":
        return ProgressUpdate(*fields)
    return GapUpdate(*fields)


def to_task(said: dict[str, Any]) -> TaskInfo:
    """A task from what the runtime said."""
    result = said["result"]
    if result is not None:
        said["result"] = Payload(*result)
    said["notes"] = [AttemptNote(*note) for note in said["notes"]]
    said["history"] = to_history(said["history"])
    return TaskInfo(**said)


def to_agent(said: dict[str, Any]) -> AgentInfo:
    """An agent from what the runtime said."""
    said["breakers"] = [BreakerInfo(*breaker) for breaker in said["breakers"]]
    said["schemas"] = {skill: _schemas(*texts) for skill, texts in said["schemas"].items()}
    return AgentInfo(**said)


def _schemas(takes: str | None, gives: str | None) -> SkillSchemas:
    return SkillSchemas(
        None if takes is None else json.loads(takes), None if gives is None else json.loads(gives)
    )
