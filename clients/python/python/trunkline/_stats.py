"""Figures of a broker and of its inboxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

WhenFull: TypeAlias = Literal["reject", "wait", "drop-oldest"]
"""What happens to what comes to an inbox that is full."""

Routing: TypeAlias = Literal["least-loaded", "round-robin", "weighted", "consistent-hash", "random"]
"""Which of the agents that offer a skill gets its work."""


@dataclass(slots=True)
class Counters:
    """What happened to entries of inboxes; one message may be several entries."""

    accepted: int
    """Entries taken in."""
    settled: int
    """Entries that an agent completed, failed or rejected, acknowledged events, and events that
    waited and were routed."""
    dead_lettered: int
    """Entries that became dead letters."""
    expired: int
    """Entries whose time to live ended."""
    canceled: int
    """Entries that were cancelled."""
    dropped: int
    """Entries dropped by rule: for a subscriber that left, was over its bound or has a filter that
    was not evaluated because there was too much work with the event, for a newer event, or because
    nobody was there when their time came."""
    lost: int
    """Ephemeral entries that a stop of the broker took."""
    redeliveries: int
    """Deliveries beyond the first of an entry. Not part of the conservation sum."""


@dataclass(slots=True)
class Gauges:
    """Where entries of inboxes are now."""

    staged: int
    """Accepted, not yet as durable as promised."""
    delayed: int
    """Waiting for a not-before time or for the delay of a retry."""
    waiting: int
    """Waiting for a session with credit."""
    parked: int
    """Waiting while nobody serves the inbox."""
    paused: int
    """Waiting for their caller."""
    leased: int
    """Held by a session."""


@dataclass(slots=True)
class InboxStats:
    """One inbox's figures."""

    address: str | None
    """Whose inbox; `None` for the sum of what has no address: events of subscriptions, and events
    that wait for their time or for a first subscriber."""
    counters: Counters
    """What happened."""
    gauges: Gauges
    """What is there."""


@dataclass(slots=True)
class LogStats:
    """The log's figures."""

    records: int
    """Records written since the start."""
    bytes: int
    """Bytes written since the start."""
    flushes: int
    """Flushes to disk since the start."""
    recovered: int
    """Records found at the start."""
    disk_full: bool
    """Whether new durable work is refused for want of disk space."""
    carried_bytes: int
    """Those of the bytes written since the start that cleaning wrote to say again what older
    records had told."""
    segments: int
    """Segments whose records are needed, the one being written to included."""
    disk_bytes: int
    """Bytes of all files of the log, prepared ones and those that wait to be used again
    included."""
    live_bytes: int
    """About how many bytes of records all that is durable needs, as counted at the start or when
    the log was cleaned last."""
    removed_segments: int
    """Segments given up since the start."""
    payload_memory_bytes: int
    """Bytes of payloads in memory, of logged work for one agent or skill that has not ended."""
    payload_disk_bytes: int
    """Bytes of such payloads that are on disk only, until they are about to be delivered."""
    payloads_on_disk: int
    """How many payloads are on disk only."""
    payload_loads: int
    """How many were read back since the start."""
    payload_load_batches: int
    """In how many batches they were asked for ahead of their delivery."""
    damaged_places: int
    """Damaged places that were found at the start. What was there is lost to the broker, and a
    copy of it is in `quarantine/`."""
    records_left_out: int
    """Whole records that were left out at the start, because what they speak of was in a damaged
    place."""
    index_rows_damaged: int
    """Rows of the index, ended tasks and dead letters, that were found damaged since the start and
    are lost unless the log tells of them at the next start: a copy of each is in `quarantine/`.
    They count as forgotten."""


@dataclass(slots=True)
class Stats:
    """A broker's figures for one tenant."""

    counters: Counters
    """Sums over all inboxes."""
    gauges: Gauges
    """Sums over all inboxes."""
    messages_accepted: int
    """Publishes accepted (each once, however many recipients)."""
    messages_refused: int
    """Publishes refused."""
    messages_unrouted: int
    """Publishes on a topic that had no subscriber."""
    duplicates: int
    """Publishes that were repeats and accepted only once."""
    replies_dropped: int
    """Replies whose requester was gone."""
    tasks_completed: int
    """Tasks that ended completed."""
    tasks_failed: int
    """Tasks that ended failed, expired and dead-lettered ones included."""
    tasks_canceled: int
    """Tasks that ended cancelled or rejected."""
    tasks_open: int
    """Tasks that have not ended."""
    tasks_forgotten: int
    """Ended tasks forgotten because their time was over, or because there were more, or more bytes
    of them, than may be."""
    task_events_forgotten: int
    """Events of tasks forgotten since the broker started because a task had more of them, or more
    bytes, than are kept; who watches from before is told of a gap."""
    tasks_indexed: int
    """Ended tasks that can be read although they are no longer in memory: the index has them."""
    history_since: float
    """From when on the history is complete, in seconds since the Unix epoch: every logged task
    that ended at this time or later is known."""
    records_unindexed: int
    """Records that the index has not taken in yet; 0 if there is no index."""
    dead_letters: int
    """Dead letters held now."""
    dead_letters_indexed: int
    """Those of them that are no longer in memory: the index has them."""
    dead_letters_forgotten: int
    """Dead letters forgotten because their time was over, or because there were more, or more
    bytes of them, than may be."""
    redriven: int
    """Dead letters that were sent again."""
    purged: int
    """Dead letters that were deleted on request."""
    scheduled: int
    """Messages made by schedules."""
    keys: int
    """Idempotency keys remembered now."""
    keys_indexed: int
    """Those of them that are no longer in memory: the index has them."""
    waiting_outside: int
    """Publishes that wait outside a full inbox now."""
    breakers_opened: int
    """How often a circuit breaker opened."""
    overran: int
    """Handlers ended because they ran longer than they may."""
    turns: int
    """Turns of the whole broker in which something was brought to its engine."""
    operations: int
    """Operations of sessions that these took in."""
    hand_overs: int
    """How often a session was handed all that there was for it."""
    items: int
    """Items that were handed over in these."""
    agents: int
    """Registered agents."""
    sessions: int
    """Connected sessions."""
    inboxes: list[InboxStats]
    """Per inbox, busiest first, at most 1,000."""
    inboxes_total: int
    """How many inboxes took something in, those that are not listed included."""
    log: LogStats | None
    """The log, if there is one."""
    epoch: int
    """The broker's epoch."""
    uptime: float
    """Seconds since the broker started."""


@dataclass(slots=True)
class InboxEffective:
    """How an inbox is run: what is set about it, else what its broker says."""

    when_full: WhenFull
    """What happens when it is full."""
    wait: float
    """How many seconds something waits outside while it is full."""
    ephemeral: int
    """Most ephemeral messages in it."""
    logged: int
    """Most durable messages in it."""
    routing: Routing | None
    """Who gets what; `None` for the inbox of one agent."""


@dataclass(slots=True)
class InboxInfo:
    """An inbox as it stands. What is `None` is not set about it."""

    inbox: str
    """Which inbox: `skill:NAME` or `agent:ID`."""
    when_full: WhenFull | None
    """What happens when it is full."""
    wait: float | None
    """How many seconds something waits outside while it is full."""
    limit: int | None
    """Most messages in it, ephemeral and durable ones each."""
    ttl: float | None
    """For how many seconds what is sent to it alone is of use."""
    routing: Routing | None
    """Who gets what."""
    bindings: dict[str, tuple[str, str]]
    """Which priorities go only to agents with a label: key and value by priority."""
    effective: InboxEffective
    """How it is run."""
    counters: Counters
    """What happened."""
    gauges: Gauges
    """What is there."""
    waiting_outside: int
    """How many messages wait outside for room."""
    servers: int
    """How many sessions take work from it."""


@dataclass(slots=True)
class WorkerStats:
    """What one of an agent's places for handlers has done; each runs one at a time."""

    number: int
    """Counts the agent's workers from 1 in the order in which they came."""
    messages: int
    """Deliveries whose handler has ended."""
    batches: int
    """Batches that were given to handlers which take them."""
    errors: int
    """Deliveries that failed, were rejected, dead-lettered or are to be tried again."""
    restarts: int
    """How often it failed and began anew."""
    busy: float
    """For how many seconds it had something to do, the time in which its handlers awaited
    included."""
    age: float
    """How many seconds it has been there."""


@dataclass(slots=True)
class AgentStats:
    """What an agent has done since it was started, and is doing."""

    handled: int
    """Deliveries whose handler has ended, whatever came of it."""
    completed: int
    """Of those, completed."""
    failed: int
    """Of those, failed for good or rejected."""
    retried: int
    """Of those, to be tried again."""
    dead_lettered: int
    """Of those, dead-lettered by the handler."""
    released: int
    """Of those, given back or paused."""
    batches: int
    """Batches that were given to handlers which take them."""
    blocked: int
    """How often a handler kept the event loop for 100 ms or longer without awaiting anything, and
    so held up whatever else runs there."""
    restarts: int
    """Workers that failed and began anew."""
    queued: int
    """Deliveries that wait here for a worker."""
    workers: list[WorkerStats]
    """The workers that there are now, idle ones included."""
    idle: int
    """Workers that are idle."""
    lent: int
    """Handlers whose place is lent while they await a reply."""
    credit: int
    """How many deliveries the agent is willing to hold."""
    handler_time: float
    """A moving mean of how many seconds a handler takes for a delivery."""


def to_stats(said: dict[str, Any]) -> Stats:
    """Figures from what the runtime said."""
    _told(said)
    said["inboxes"] = [
        InboxStats(address, Counters(**counters), Gauges(**gauges))
        for address, counters, gauges in said["inboxes"]
    ]
    if said["log"] is not None:
        said["log"] = LogStats(**said["log"])
    return Stats(**said)


def to_inbox(said: dict[str, Any]) -> InboxInfo:
    """An inbox from what the runtime said."""
    _told(said)
    said["effective"] = InboxEffective(**said["effective"])
    return InboxInfo(**said)


def _told(said: dict[str, Any]) -> None:
    said["counters"] = Counters(**said["counters"])
    said["gauges"] = Gauges(**said["gauges"])


def to_agent_stats(said: dict[str, Any], blocked: int) -> AgentStats:
    """An agent's figures from what the runtime said."""
    said["workers"] = [WorkerStats(**worker) for worker in said["workers"]]
    return AgentStats(**said, blocked=blocked)
