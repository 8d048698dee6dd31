"""Settings of a broker in process, by the names and the meaning of its configuration file."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from ._spans import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._stats import Routing, WhenFull

Size: TypeAlias = "int | str"
"""A number of bytes, or a text such as `64MiB`."""


class BrokerSettings(TypedDict, total=False):
    """The section `broker`. What is left out is as the reference says."""

    lease: Span
    """How long a lease lasts unless a heartbeat renews it."""
    resume_grace: Span
    """How long a lost session may take to come back and keep its deliveries."""
    backoff_base: Span
    """First backoff of a retry; it doubles with each attempt."""
    backoff_cap: Span
    """Longest backoff of a retry."""
    losses: int
    """How often a delivery may be lost before its handler began, until that counts as an
    attempt."""
    absence_tolerance: Span
    """How late its own timer may be until the broker extends all leases by that time."""
    max_run: Span | Literal["none"]
    """How long a handler may run if its sender says nothing, however often it heartbeats."""
    priority_weights: str | tuple[int, int, int, int]
    """Deliveries of each priority in a round while all have work: low, normal, high, urgent."""
    routing: Routing
    """Who gets what from the inbox of a skill that has no routing of its own."""
    breaker_failures: int
    """Failures in a row within the window that open the circuit breaker between an agent and an
    inbox; 0 for none."""
    breaker_window: Span
    """How far back failures count."""
    breaker_open: Span
    """How long a circuit breaker stays open before it lets probes through."""
    breaker_probes: int
    """Probes that must succeed, and may be under way, before it closes."""
    inbox_ephemeral: int
    """Most ephemeral envelopes in one inbox."""
    inbox_ephemeral_bytes: Size
    """Most bytes of ephemeral payloads in one inbox."""
    inbox_logged: int
    """Most logged envelopes in one inbox."""
    when_full: WhenFull
    """What happens when an inbox is full that has no policy of its own."""
    wait: Span
    """How long a publish waits outside a full inbox that has no wait of its own."""
    waiting_outside: int
    """Most publishes that wait outside one full inbox."""
    waiting_outside_bytes: Size
    """Most bytes of the payloads that wait outside one full inbox."""
    session_bytes: Size
    """Most bytes that one session may hold, of deliveries and of unacknowledged events each."""
    full_hint: Span
    """When a sender that is refused is told to come back, because an inbox is full or the log is
    behind."""
    warning: int
    """Percentage of its bound from which an inbox puts pressure on its senders."""
    pressure_pace: Span
    """Pace that senders are told when an inbox is all but full."""
    inboxes: int
    """Most inboxes in all."""
    pending_events: int
    """Most events of one tenant that wait for their time or for a first subscriber."""
    pending_event_bytes: Size
    """Most bytes of those of them that are logged."""
    key_window: Span
    """How long an idempotency key is remembered."""
    keys: int
    """Most idempotency keys of one tenant."""
    schedules: int
    """Most schedules of one tenant."""
    schedule_bytes: Size
    """Most bytes of the schedules of one tenant."""
    gather_agents: int
    """Most agents that one request gathers answers from."""
    gather_bytes: Size
    """Most bytes of answers that the requests of one tenant hold which wait for more."""
    logged_copies: int
    """Most inboxes that one logged envelope goes to."""
    watched_agents: int
    """Most agents that one session may follow in the directory."""
    payload_memory: Size
    """Most bytes of payloads of waiting logged work that stay in memory; more is on disk only."""
    ended_tasks: int
    """Most ended tasks in memory; without a data directory the oldest are forgotten then."""
    recent_tasks: int
    """How many of the latest ended tasks stay in memory although they are on disk."""
    ended_task_bytes: Size
    """Most bytes of ended tasks in memory; without a data directory the oldest are forgotten
    then."""
    ended_task_disk_bytes: Size
    """About how many bytes of ended tasks are kept on disk; the oldest are forgotten."""
    ended_task_keep: Span
    """How long an ended task stays readable, if no bound on ended tasks is reached before."""
    ended_messages: int
    """Most ended messages, tasks apart, whose end is remembered."""
    task_events: int
    """Most events kept of one task."""
    task_event_bytes: Size
    """Most bytes of events kept of one task."""
    task_messages: int
    """Most messages that the caller of a paused task may send to it."""
    task_message_bytes: Size
    """Most bytes of those messages."""
    dead_letters: int
    """Most dead letters in memory; without a data directory the oldest are forgotten then."""
    dead_letter_bytes: Size
    """Most bytes of dead letters in memory, logged and ephemeral ones each, likewise."""
    dead_letter_disk_bytes: Size
    """About how many bytes of dead letters are kept on disk; the oldest are forgotten."""
    dead_letter_keep: Span
    """How long a dead letter is kept, if no bound on dead letters is reached before."""
    sessions: int
    """Most sessions, lost ones included."""
    session_memory: Span
    """How long the operations of a lost session are remembered."""
    remembered_sessions: int
    """Most sessions remembered after they were lost."""


class LimitSettings(TypedDict, total=False):
    """The section `limits`: bounds on what may be sent."""

    payload_bytes: Size
    """Largest payload of one envelope."""
    headers: int
    """Most headers of one envelope."""
    header_bytes: Size
    """Largest header, name and value together."""
    destinations: int
    """Most agents named in one destination."""
    operations_per_frame: int
    """Most operations in one frame."""
    subscriptions: int
    """Most subscriptions of one agent or session."""
    card_entries: int
    """Most skills, types, capabilities or labels of one agent, each."""
    schema_bytes: Size
    """Largest JSON Schema that an agent declares; with 0 none is taken."""
    card_schema_bytes: Size
    """Most bytes of all schemas that one agent declares."""
    credit: int
    """Most deliveries that one session may hold."""
    longest_span: Span
    """Longest time to live, delay or run that may be asked for."""
    attempts: int
    """Most attempts that may be asked for."""
    reason_bytes: Size
    """Longest reason or progress text."""


class LogSettings(TypedDict, total=False):
    """The section `log`, of effect with a data directory."""

    segment_bytes: Size
    """Length of a new segment file."""
    max_body_bytes: Size
    """Longest record."""
    free_segments: int
    """Dead segment files that wait to be used again; more are deleted."""
    reserve_segments: int
    """Prepared segments that new work may not use, so that a full disk can be cleaned."""
    clean_min_bytes: Size
    """The log is not cleaned while it has no more bytes than this."""
    clean_percent: int
    """The log is cleaned when it has more bytes than so many percent of what is live."""
    flush_within: Span
    """After how long at most a buffered record is flushed."""
    pending_bytes: Size
    """Bytes not yet written from which on new durable work waits."""
    retry_space_after: Span
    """How often a full disk is tried again."""


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the runtime takes them: texts and numbers."""
    return {name: _plain(value) for name, value in settings.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple):
        return ":".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return value
