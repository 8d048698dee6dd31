"""Who waits for room in the queue in front of the workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._native import Mailbox

_PATIENCE = 1.0
"""How many seconds a sender waits for room in a full queue."""


class Room:
    """The room of a bounded queue. Who came first has it first."""

    __slots__ = ("_mailbox", "_most", "_promised", "limit", "waits")

    def __init__(self, mailbox: Mailbox, most: int) -> None:
        """Room for so many."""
        self._mailbox = mailbox
        self._most = most
        self._promised = 0
        """For how many it is kept, of senders that were woken and have not gone on."""
        self.limit = most
        """How many may wait, as far as somebody is concerned who comes now: nobody overtakes."""
        self.waits: dict[asyncio.Future[None], int] = {}
        """Who waits for room, for how many."""

    async def wait_for(self, number: int) -> bool:
        """Waits until so many find room, and tells whether they do in time.

        It is kept for who has waited until the next await.
        """
        if number > self._most:
            return False
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waits[room] = number
        # There may be some by now, and others that are to have it first.
        self.changed()
        took = False
        try:
            if not room.done():
                await asyncio.wait({room}, timeout=_PATIENCE)
                self.changed()
            took = room.done()
        finally:
            if room.done():
                self._promised -= number
            else:
                del self.waits[room]
            if not took:
                # What it was in the way of, or did not use, may be enough for the next.
                self.changed()
            self._set_limit()
        return took

    def changed(self) -> None:
        """There may be room now, which each has in its turn."""
        while self.waits:
            room = next(iter(self.waits))
            number = self.waits[room]
            if self._mailbox.waiting + self._promised + number > self._most:
                break
            del self.waits[room]
            self._promised += number
            room.set_result(None)
        self._set_limit()

    def _set_limit(self) -> None:
        self.limit = -1 if self.waits or self._promised else self._most
