"""To which event loop a drop-in broker belongs."""

from __future__ import annotations

import time
from asyncio import get_running_loop

from ..errors import LoopError
from .pool import Pool
from .requests import Requests
from .room import Room
from .waiting import Waiting

STOPPED = "the broker was stopped"
"""Why what came too late, or has not ended by then, is a dead letter."""


class Belonging(Waiting):
    """It belongs to the loop on which it is used first, until it is stopped or the loop ends."""

    def _here(self) -> None:
        """From now on it belongs to the event loop that runs, if it belongs to none."""
        self._see_to_its_loop()
        try:
            loop = get_running_loop()
        except RuntimeError:
            raise LoopError("no event loop runs here; call this from a coroutine") from None
        if self._loop is None:
            # One that was stopped is free until it is started.
            self._loop = None if self._state == "stopped" else loop
        elif self._loop is not loop:
            raise LoopError("the broker is at work on another event loop; use it and stop it there")

    def _see_to_its_loop(self) -> None:
        """If its event loop has ended, it counts as stopped."""
        if self._loop is None or not self._loop.is_closed():
            return
        # On that loop nobody waits any longer, and futures cannot be told.
        self._requests = Requests()
        self._over = self._drained = None
        if self._state != "new":
            self._uptime = time.monotonic() - (self._since or time.monotonic())
            self._since, self._state = None, "stopped"
        self._give_up(self._pool, tell=False)

    def _give_up(self, pool: Pool | None, *, tell: bool = True) -> None:
        """Makes dead letters of all that has not ended, and belongs to no loop."""
        # What handlers said while they were cancelled may have set it again.
        self._sleep()
        self._looks = False
        mailbox, self._mailbox = self._mailbox, self._empty()
        self._room = Room(self._mailbox, self.config.max_queue_size)
        self._loop = None
        # A handler that does not end although it was cancelled is not waited for.
        at_work = [] if pool is None else pool.abandoned()
        for letter in [*at_work, *mailbox.clear()]:
            self._dead(letter.message, letter.asked if tell else None, STOPPED)
