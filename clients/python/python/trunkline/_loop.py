"""An event loop and the runtime: what one has for the other, handed over in batches."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from . import _native
from ._misfits import misfit
from .errors import LoopError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("trunkline")

_AT_ONCE = sys.version_info >= (3, 12)
"""Whether tasks of asyncio can begin at once; if not, deliveries are taken in batches."""

os.register_at_fork(after_in_child=_native.forked)


class Works(Protocol):
    """Who handles the deliveries of an agent."""

    def begin(self, place: int, job: int, given: Any, /) -> None:
        """A delivery has come for the handler at `place`, or a batch."""
        ...

    def call_off(self, job: int) -> None:
        """A delivery is no longer to be handled."""
        ...


class Ends(Protocol):
    """Who is told what a call came to: a future, or something like one."""

    def done(self) -> bool:
        """Whether it need not be told."""
        ...

    def set_result(self, result: Any, /) -> None:
        """It came to this."""
        ...

    def set_exception(self, exception: Any, /) -> None:
        """It was refused, or came to nothing."""
        ...


class Loop:
    """The bridge between one event loop and the runtime."""

    __slots__ = ("__weakref__", "_of", "_waiting", "agents", "native")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop holds this, not the other way round, so that both can go.
        self._of = weakref.ref(loop, self._gone)
        self._waiting: dict[int, Ends] = {}
        self.agents: dict[int, Works] = {}
        self.native = _native.Bridge()
        try:
            loop.add_reader(self.native.fileno(), self.drain, True)
        except NotImplementedError:
            raise LoopError(
                f"a {type(loop).__name__} watches no file descriptors; use asyncio's selector "
                "event loop or uvloop"
            ) from None

    def _gone(self, _loop: object) -> None:
        for key in [key for key, loop in _loops.items() if loop is self]:
            del _loops[key]

    def is_closed(self) -> bool:
        """Whether it runs no more."""
        loop = self._of()
        return loop is None or loop.is_closed()

    def drain(self, woken: bool = False) -> None:
        """Takes what the runtime has. Called on the loop; `woken` if that was woken for it."""
        done, jobs, off, due = self.native.drain(self._begin if _AT_ONCE else None, woken)
        if due:
            asyncio.get_running_loop().call_soon(self.drain)
        for number, good, value in done:
            future = self._waiting.pop(number, None)
            if future is not None and not future.done():
                try:
                    if good:
                        future.set_result(value)
                    else:
                        future.set_exception(value)
                except Exception:
                    log.exception("what a call came to could not be told")
        for job in jobs:
            self._begin(*job)
        for agent, job in off:
            works = self.agents.get(agent)
            if works is not None:
                works.call_off(job)

    def _begin(self, agent: int, place: int, job: int, given: Any) -> None:
        works = self.agents.get(agent)
        # What nobody takes goes back.
        if works is not None:
            try:
                works.begin(place, job, given)
            except Exception:
                log.exception("a delivery could not be begun and goes back")
            except BaseException as error:
                # It ends the loop, but not before everything else that is ready was told.
                asyncio.get_running_loop().call_soon(_raise, error)

    async def wait(self, started: Any) -> Any:
        """What a call comes to that was started: known by now, or told later by its number."""
        if started.__class__ is not int:
            return started
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if started & 1:
            loop.call_soon(self.drain)
            started ^= 1
        self._waiting[started] = future
        try:
            return await future
        finally:
            self.forget(started)

    def tell(self, started: Any, ends: Ends) -> None:
        """Tells `ends` what a call comes to that was started, at once if it is known by now."""
        if started.__class__ is int:
            self.told(started & 1)
            self._waiting[started & ~1] = ends
        else:
            ends.set_result(started)

    def forget(self, started: int) -> None:
        """Nobody waits any longer for a call that was started; one that is over does not mind."""
        if self._waiting.pop(started & ~1, None) is not None:
            self.native.forget(started & ~1)

    def told(self, due: int) -> None:
        """The runtime was told something, and said whether there is something for this loop."""
        if due:
            asyncio.get_running_loop().call_soon(self.drain)

    async def call(self, start: Callable[..., Any], *arguments: Any) -> Any:
        """Starts a call of the runtime on this loop and waits for what it comes to."""
        return await self.wait(begun(start, self.native, *arguments))


def _raise(error: BaseException) -> None:
    raise error


def begun(start: Callable[..., Any], *arguments: Any) -> Any:
    """Starts a call of the runtime; what it cannot take is told as our own exception."""
    try:
        return start(*arguments)
    except (TypeError, OverflowError, UnicodeError) as error:
        raise misfit(error, start, arguments) from error


_loops: dict[int, Loop] = {}


def current() -> Loop:
    """The bridge of the loop that runs in this thread, made if there is none.

    Raises:
        LoopError: No loop runs.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise LoopError(
            "no event loop runs here; call this from a coroutine, or from a plain handler through "
            "`task.wait(...)`"
        ) from None
    known = _loops.get(id(loop))
    if known is None or known._of() is not loop:
        known = _loops[id(loop)] = Loop(loop)
    return known
