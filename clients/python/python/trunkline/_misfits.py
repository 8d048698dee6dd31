"""What the runtime cannot take, by name: it says only of which type something is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WHOLE = frozenset(("after", "attempts", "history", "limit", "percent", "wanted", "weight"))
_SWITCHES = frozenset(
    ("append", "by_change", "descendants", "draining", "drop_oldest", "healthy", "last", "reset")
)
_MOMENTS = frozenset(("changed_since", "since", "until"))
_NOT_SAID = frozenset(("bridge", "number"))
"""What this package gives itself."""

_LONGEST = 80
"""Most characters that are shown of a value."""


def misfit(error: Exception, start: Callable[..., Any], arguments: tuple[Any, ...]) -> InvalidError:
    """What a call of the runtime refused, with its name, what it is, and what to give instead."""
    said = list(_said(start, arguments))
    noted = _noted(error)
    known = [one for one in said if one[0] == noted and not isinstance(one[1], dict)]
    for name, value in known or said:
        wanted = _wanted(name, value, error)
        if wanted is not None:
            shown = repr(value)
            if len(shown) > _LONGEST:
                shown = f"{shown[:_LONGEST]}…"
            return InvalidError(f"{name} is {shown}; give {wanted}")
    return InvalidError(f"{noted}: {error}" if noted else str(error))


def _noted(error: Exception) -> str | None:
    """The argument that the runtime was at; Python 3.10 has no notes."""
    for note in getattr(error, "__notes__", ()):
        found = re.fullmatch(r"while processing '(\w+)'", str(note))
        if found:
            return found[1]
    return None


def _said(start: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """What was said by its name, in the order in which the runtime looks at it."""
    signature: str = getattr(start, "__text_signature__", None) or ""
    names = [name for name in re.findall(r"\$?\w+", signature) if name != "$self"]
    later: list[dict[Any, Any]] = []
    for name, value in zip(names, arguments, strict=False):
        if isinstance(value, dict):
            later.append(value)  # pyright: ignore[reportUnknownArgumentType]
        elif name not in _NOT_SAID:
            yield name, value
    for options in later:
        yield from _within(options)


def _within(options: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if not isinstance(name, str):
            yield "the name of a setting", name
        elif isinstance(value, dict):
            yield from _within(value)  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield name, value


def _wanted(name: str, value: Any, error: Exception) -> str | None:
    """What to give for this name instead, if it is this at which the runtime stopped."""
    if value is None:
        return "a str" if str(error).startswith("'None'") else None
    if name in _SWITCHES:
        return None if isinstance(value, bool) else "True or False"
    if name in _WHOLE:
        if not isinstance(value, int):
            return "a whole number"
        # How large it may be is the runtime's to know.
        over = isinstance(error, OverflowError)
        return f"a whole number {'from 0' if value < 0 else 'that is less'}" if over else None
    if name in _MOMENTS:
        timely = isinstance(value, (int, float))
        return None if timely else "a datetime, or seconds since the Unix epoch"
    if name == "headers":
        return _of_headers(value)
    if isinstance(value, str):
        return None if _is_text(value) else "a text without surrogates"
    # Lists and the like are made here, unless the runtime says that it wanted none.
    made = not isinstance(value, (int, float, complex))
    named = str(error).startswith(f"'{type(value).__name__}' ") and "instance of 'str'" in str(
        error
    )
    return None if made and not named else "a str"


def _of_headers(pairs: Any) -> str | None:
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:  # pyright: ignore[reportUnknownArgumentType]
            return "a dict of texts, or a list of pairs of them"
        if not all(isinstance(text, str) for text in pair):  # pyright: ignore[reportUnknownVariableType]
            return "a dict of texts, or a list of pairs of them"
        if not all(_is_text(text) for text in pair):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            return "texts without surrogates"
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
