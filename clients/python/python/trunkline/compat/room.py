"""The queue in front of the workers: how much waits there, and who waits for room in it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import BrokerConfiguration

log = logging.getLogger("trunkline.compat")

_PATIENCE = 1.0
"""How many seconds a sender waits for room in a full queue."""
_STEP = 128
"""How much room there has to be in a large queue until those who wait for it go on."""


class Room:
    """The room of a bounded queue."""

    __slots__ = ("_most", "_step", "_threshold", "_waits", "_warned", "waiting")

    def __init__(self, config: BrokerConfiguration) -> None:
        """Makes an empty one of the size that is set."""
        self._most = config.max_queue_size
        self._threshold = config.queue_warning_threshold
        self._step = max(1, min(_STEP, self._most // 8))
        self._warned = False
        self._waits: list[asyncio.Future[None]] = []
        self.waiting = 0
        """How much waits."""

    def is_there_for(self, number: int) -> bool:
        """Whether so many find room now."""
        return self.waiting + number <= self._most

    async def wait_for(self, number: int) -> bool:
        """Waits until so many find room, and tells whether they do in time."""
        if number > self._most:
            return False
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        while not self.is_there_for(number):
            room: asyncio.Future[None] = loop.create_future()
            self._waits.append(room)
            await asyncio.wait({room}, timeout=max(end - loop.time(), 0))
            if not room.done():
                room.cancel()
                return self.is_there_for(number)
        return True

    def take(self) -> None:
        """One more waits."""
        self.waiting += 1
        if self.waiting / self._most >= self._threshold and not self._warned:
            self._warned = True
            log.warning("%d messages wait, of %d that may", self.waiting, self._most)

    def leave(self) -> None:
        """One waits no longer."""
        self.waiting -= 1
        if self._warned and self.waiting < self._threshold * self._most:
            self._warned = False
        # Woken for each, senders would send one by one, each as a bundle of its own.
        if self._waits and self._most - self.waiting >= self._step:
            waits, self._waits = self._waits, []
            for room in waits:
                if not room.done():
                    room.set_result(None)
