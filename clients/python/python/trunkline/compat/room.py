"""Who waits for room in the queue in front of the workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._native import Mailbox

_PATIENCE = 1.0
"""How many seconds a sender waits for room in a full queue."""


class Room:
    """The room of a bounded queue."""

    __slots__ = ("_mailbox", "_most", "_step", "waits")

    def __init__(self, mailbox: Mailbox, most: int) -> None:
        """Room for so many."""
        self._mailbox = mailbox
        self._most = most
        # How much room there has to be until those who wait for it go on: woken for each message,
        # senders would send one by one.
        self._step = max(1, most // 8)
        self.waits: list[asyncio.Future[None]] = []

    def is_there_for(self, number: int) -> bool:
        """Whether so many find room now."""
        return self._mailbox.waiting + number <= self._most

    async def wait_for(self, number: int) -> bool:
        """Waits until so many find room, and tells whether they do in time."""
        if number > self._most:
            return False
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        while not self.is_there_for(number):
            room: asyncio.Future[None] = loop.create_future()
            self.waits.append(room)
            await asyncio.wait({room}, timeout=max(end - loop.time(), 0))
            if not room.done():
                room.cancel()
                return self.is_there_for(number)
        return True

    def changed(self) -> None:
        """There may be room now."""
        if self.waits and self._most - self._mailbox.waiting >= self._step:
            waits, self.waits = self.waits, []
            for room in waits:
                if not room.done():
                    room.set_result(None)
