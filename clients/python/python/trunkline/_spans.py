"""Spans of time: seconds, a `timedelta`, or a text such as `1h30m`. Moments."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TypeAlias

from .errors import InvalidError

Span: TypeAlias = "float | timedelta | str"

Moment: TypeAlias = "float | datetime"
"""Seconds since the Unix epoch, or a `datetime`: one without a zone is of the local one."""

_MOST = 1e11
"""The most seconds of a span, about 3,000 years."""

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|ms|m|us|s)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def seconds(span: Span) -> float:
    """The seconds of a span.

    Raises:
        InvalidError: It is none, or negative.
    """
    if span.__class__ is float and 0 <= span <= _MOST:  # pyright: ignore[reportOperatorIssue]
        return span  # pyright: ignore[reportReturnType]
    if isinstance(span, timedelta):
        span = span.total_seconds()
    if not isinstance(span, (int, float, str)):
        raise InvalidError(
            f"a span of time is seconds, a timedelta or a text such as '10m', not {span!r}"
        )
    if isinstance(span, str):
        if _WHOLE.fullmatch(span) is None:
            raise InvalidError(f"'{span}' is no span of time; one looks like 10m, 1h30m or 250ms")
        span = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(span))
    if not 0 <= span <= _MOST:
        raise InvalidError(f"a span of {span!r} s is out of range, which is 0 to {_MOST:.0e} s")
    return float(span)


def maybe(span: Span | None) -> float | None:
    """The seconds of a span that may be left out."""
    return None if span is None else seconds(span)


def moment(at: Moment | None) -> float | None:
    """The seconds since the Unix epoch of a moment that may be left out."""
    return at.timestamp() if isinstance(at, datetime) else at
