"""Who is told when the process is to end, on each event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """SIGTERM and SIGINT of one event loop, told to everybody who runs an agent on it."""

    __slots__ = ("_before", "_told")

    def __init__(self) -> None:
        self._told: list[Callable[[], None]] = []
        self._before: dict[signal.Signals, Any] = {}

    def add(self, told: Callable[[], None]) -> None:
        """Tells this one as well. Off the main thread there are no signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._told:
            loop = asyncio.get_running_loop()
            for number in _NUMBERS:
                self._before[number] = signal.getsignal(number)
                loop.add_signal_handler(number, self._tell)
        self._told.append(told)

    def remove(self, told: Callable[[], None]) -> None:
        """Tells this one no more. After the last one signals do what they did before."""
        if told not in self._told:
            return
        self._told.remove(told)
        if not self._told:
            loop = asyncio.get_running_loop()
            for number, before in self._before.items():
                loop.remove_signal_handler(number)
                # What was not set from Python cannot be set again by it.
                if before is not None:
                    signal.signal(number, before)

    def _tell(self) -> None:
        for told in list(self._told):
            told()


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, Signals] = WeakKeyDictionary()


def signals() -> Signals:
    """Those of the event loop that runs."""
    return _known.setdefault(asyncio.get_running_loop(), Signals())
