"""Lists and pairs of texts, as users give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def texts(what: str, given: Iterable[str]) -> list[str]:
    """A list of texts.

    Raises:
        InvalidError: It is a single text, or no list.
    """
    if isinstance(given, str):
        raise InvalidError(f"{what} is the text '{given}'; give a list, such as [{given!r}]")
    try:
        return list(given)
    except TypeError:
        raise InvalidError(f"{what} is {given!r}; give a list of texts") from None


def pairs(what: str, given: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What is given by name.

    Raises:
        InvalidError: It is no dict.
    """
    try:
        return list(given.items())
    except AttributeError:
        raise InvalidError(f"{what} is {given!r}; give a dict of texts") from None
