"""OpenTelemetry, where its API is installed: handlers run within the span of who sent to them."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_PARENT = "traceparent"
_STATE = "tracestate"

_LONGEST = 512
"""The characters of a `tracestate` that W3C has everybody carry at least. More are not."""


_MOST_HEADERS = 64
"""How many headers a broker takes with a message unless `limits.headers` says another number."""


class Sent(Protocol):
    """What was sent, within some span or none."""

    @property
    def traceparent(self) -> str | None:
        """The W3C `traceparent` of the sender."""
        ...

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The free fields of the sender, of which `tracestate` is one."""
        ...


def enter(sent: Sent) -> None:
    """Makes the span that something was sent within the current one, to the end of this context.

    Without the API, or for what is no `traceparent`, nothing happens.
    """
    traceparent = sent.traceparent
    api = None if traceparent is None else _api()
    if api is not None:
        context, propagator = api
        context.attach(propagator.extract(_carrier(sent)))


def leave() -> None:
    """Ends the current span for this context."""
    api = _api() if is_imported() else None
    if api is not None:
        trace = importlib.import_module("opentelemetry.trace")
        api[0].attach(trace.set_span_in_context(trace.INVALID_SPAN))


@contextmanager
def within(sent: Sent) -> Generator[None, None, None]:
    """Makes the span that something was sent within the current one for a while, as `enter`."""
    api = None if sent.traceparent is None else _api()
    if api is None:
        yield
        return
    context, propagator = api
    token = context.attach(propagator.extract(_carrier(sent)))
    try:
        yield
    finally:
        context.detach(token)


def is_imported() -> bool:
    """Whether there may be a current span: who has not imported the API has none."""
    return "opentelemetry.trace" in sys.modules


def traced(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """The options of what is sent with the current span, unless they say another."""
    if not is_imported() or (told is not None and _PARENT in told):
        return told
    api = _api()
    carrier: dict[str, str] = {}
    if api is not None:
        api[1].inject(carrier)
    if _PARENT not in carrier:
        return told
    told = {**(told or {}), _PARENT: carrier[_PARENT]}
    state, headers = _shortened(carrier.get(_STATE, "")), told.get("headers", ())
    # A trace may do without its state, which is not to have a message refused.
    if state and len(headers) < _MOST_HEADERS and not _names(headers, _STATE):
        told["headers"] = [*headers, (_STATE, state)]
    return told


def _carrier(sent: Sent) -> dict[str, str | None]:
    states = [value for name, value in sent.headers if name.lower() == _STATE]
    return {_PARENT: sent.traceparent, **({_STATE: ",".join(states)} if states else {})}


def _shortened(state: str) -> str:
    """As much of a `tracestate` as is carried: its last members, the oldest, go first."""
    while len(state) > _LONGEST:
        state = state.rpartition(",")[0]
    return state


def _names(headers: Sequence[Any], name: str) -> bool:
    """Whether there is a header of this name among what the sender gave for headers."""
    pairs: list[Sequence[Any]] = [pair for pair in headers if isinstance(pair, (tuple, list))]
    return any(str(pair[0]).lower() == name for pair in pairs if pair)


@cache
def _api() -> tuple[Any, Any] | None:
    try:
        context = importlib.import_module("opentelemetry.context")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    except ImportError:
        return None
    # What the broker carries is W3C's, whatever the program has set for other ways.
    return context, propagation.TraceContextTextMapPropagator()
