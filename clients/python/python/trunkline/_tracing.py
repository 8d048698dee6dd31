"""OpenTelemetry, where its API is installed: handlers run within the span of who sent to them."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

_FIELD = "traceparent"


def enter(traceparent: str | None) -> None:
    """Makes the span that a `traceparent` names the current one, to the end of this context.

    Without the API, or for what is no `traceparent`, nothing happens.
    """
    api = None if traceparent is None else _api()
    if api is not None:
        context, propagator = api
        context.attach(propagator.extract({_FIELD: traceparent}))


@contextmanager
def within(traceparent: str | None) -> Generator[None, None, None]:
    """Makes the span that a `traceparent` names the current one for a while, as `enter` does."""
    api = None if traceparent is None else _api()
    if api is None:
        yield
        return
    context, propagator = api
    token = context.attach(propagator.extract({_FIELD: traceparent}))
    try:
        yield
    finally:
        context.detach(token)


def is_imported() -> bool:
    """Whether there may be a current span: who has not imported the API has none."""
    return "opentelemetry.trace" in sys.modules


def current() -> str | None:
    """The `traceparent` of the current span; `None` if there is none."""
    if not is_imported():
        return None
    api = _api()
    if api is None:
        return None
    carrier: dict[str, str] = {}
    api[1].inject(carrier)
    return carrier.get(_FIELD)


@cache
def _api() -> tuple[Any, Any] | None:
    try:
        context = importlib.import_module("opentelemetry.context")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    except ImportError:
        return None
    # What the broker carries is W3C's, whatever the program has set for other ways.
    return context, propagation.TraceContextTextMapPropagator()
