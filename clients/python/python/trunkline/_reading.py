"""Reading one by one, so that a reader who is cancelled loses nothing of what comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ._loop import begun, current
from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._loop import Loop


class Reader:
    """One read at a time, which outlasts whoever waits for it.

    What has come cannot be given back to the runtime. So a read goes on when its reader is
    cancelled, and whoever reads next has what it comes to. It ends with this or by `forget`.
    """

    __slots__ = ("_read",)

    def __init__(self) -> None:
        self._read: _Read | None = None

    async def read(self, start: Callable[..., Any], *arguments: Any) -> Any:
        """What the read comes to that was left behind, or else this one, which is begun now.

        Raises:
            UsageError: Somebody waits already.
        """
        loop, read = current(), self._read
        if read is not None and not read.serves(loop):
            # Its own loop may never run again; what has not come yet comes here.
            self.forget()
            read = None
        if read is None:
            started = begun(start, loop.native, *arguments)
            if started.__class__ is not int:
                return started
            read = self._read = _Read(loop, started)
            loop.tell(started, read)
        await read.came()
        self._read = None
        return read.outcome()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for what it reads."""
        return self._read is not None and self._read.is_awaited

    def forget(self) -> None:
        """Ends a read that was left behind, with what it came to."""
        read, self._read = self._read, None
        if read is not None:
            read.forget()

    def __del__(self) -> None:
        # The runtime would go on with it, and keep what it reads from.
        self.forget()


class _Read:
    """A read and what it comes to; the bridge tells it like a future."""

    __slots__ = ("_error", "_known", "_loop", "_number", "_value", "_waiter")

    def __init__(self, loop: Loop, number: int) -> None:
        self._loop = loop
        self._number = number
        self._known = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_awaited(self) -> bool:
        return self._waiter is not None

    def serves(self, loop: Loop) -> bool:
        """Whether this loop can have what it comes to, or somebody waits elsewhere."""
        return self._known or self._loop is loop or self._waiter is not None

    async def came(self) -> None:
        """Waits until it is known what it comes to."""
        if self._waiter is not None:
            raise UsageError(
                "somebody already waits for the next of these; iterate in one place, or subscribe "
                "or watch once for each"
            )
        if not self._known:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def outcome(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def forget(self) -> None:
        if not self._known:
            self._loop.forget(self._number)

    def done(self) -> bool:
        """Whether it need not be told: never, because somebody may come for it."""
        return False

    def set_result(self, result: Any, /) -> None:
        self._value = result
        self._tell()

    def set_exception(self, exception: Any, /) -> None:
        self._error = exception
        self._tell()

    def _tell(self) -> None:
        self._known = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
