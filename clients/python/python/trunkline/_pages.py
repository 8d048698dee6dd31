"""Long lists, which come page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

from ._reading import Reader
from .errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import _native

T = TypeVar("T")

_PAGE = 100
"""How many things are asked for at once."""


class Pages(AsyncIterator[T]):
    """What a broker lists, one by one. Unlike a generator it goes on after a cancelled read."""

    __slots__ = ("_host", "_left", "_over", "_reader", "_ready", "_to", "_wanted", "_what")

    def __init__(
        self,
        host: _native.Host,
        what: str,
        wanted: dict[str, Any],
        limit: int | None,
        to: Callable[[dict[str, Any]], T],
    ) -> None:
        if limit is not None and (not isinstance(limit, int) or limit < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"limit is {limit!r}, the least is 1")
        self._host = host
        self._what = what
        self._wanted = wanted
        self._left = limit
        self._to = to
        self._reader = Reader()
        self._ready: list[dict[str, Any]] = []
        self._over = False

    async def __anext__(self) -> T:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            self._wanted["limit"] = _PAGE if self._left is None else min(self._left, _PAGE)
            page, following = await self._reader.read(self._host.query, self._what, self._wanted)
            if self._left is not None:
                self._left -= len(page)
            self._over = following is None or self._left == 0
            self._wanted.update(following or {})
            self._ready = page[::-1]
        return self._to(self._ready.pop())
