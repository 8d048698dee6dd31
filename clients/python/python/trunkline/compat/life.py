"""How a drop-in broker starts and stops."""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import get_running_loop
from datetime import datetime

from ..errors import UsageError
from .belonging import STOPPED
from .config import BrokerConfiguration
from .outcomes import Outcomes
from .place import at_work
from .pool import Pool
from .said import check_timeout

log = logging.getLogger("trunkline.compat")


class Life(Outcomes):
    """The beginning and the end of a broker, as often as its user wants."""

    async def start(self) -> None:
        """Starts the workers. Starting one that runs does no harm; one that stops is waited for.

        Raises:
            InvalidError: Its settings were changed, and one is out of its range.
            LoopError: It has messages of another event loop.
            UsageError: One of its own handlers calls it while it stops, and would wait for itself.
        """
        self._see_to_its_loop()
        while self._over is not None:
            await self._until_stopped()
        self._here()
        if self._state == "running":
            log.warning("the broker runs already")
            return
        BrokerConfiguration.__post_init__(self.config)
        self._loop = get_running_loop()
        self._pool = Pool(self.config, self._mailbox, self._agents, self._counters, self)
        self._state = "running"
        self._since, self._start_time = time.monotonic(), datetime.now()
        self._pool.watched = bool(self._room.waits)
        self._pool.turn()

    async def stop(self, timeout: float | None = 30.0) -> None:
        """Takes nothing new, sees everything that was accepted handled, and ends the workers.

        One that stops already is waited for, as long as the first call said.

        Args:
            timeout: After so many seconds, handlers that are still at work are cancelled, and what
                was not handled becomes dead letters; never, if it is `None`.

        Raises:
            InvalidError: The timeout is no number of seconds.
            LoopError: It runs on another event loop.
            UsageError: One of its own handlers calls it, and would wait for itself.
        """
        check_timeout(timeout)
        self._see_to_its_loop()
        if self._over is not None:
            await self._until_stopped()
            return
        pool = self._pool
        if self._state != "running" or pool is None:
            log.warning("the broker does not run")
            return
        self._not_for_itself()
        self._state = "stopping"
        self._over = asyncio.get_running_loop().create_future()
        pool.hurry()
        try:
            if self._mailbox.open and not pool.is_spent():
                self._drained = asyncio.get_running_loop().create_future()
                pool.watched = True
                await asyncio.wait({self._drained}, timeout=timeout)
        finally:
            await self._end(pool)

    async def _end(self, pool: Pool) -> None:
        self._state = "closing"
        self._drained = None
        self._uptime = time.monotonic() - (self._since or time.monotonic())
        self._since = None
        self._sleep()
        try:
            await pool.close()
        finally:
            self._ended(pool)

    async def _until_stopped(self) -> None:
        """Waits for a call of `stop` that has begun."""
        self._not_for_itself()
        if self._over is not None:
            await asyncio.wait({self._over})

    def _not_for_itself(self) -> None:
        self._here()
        here = at_work.get()
        if here is not None and here[1].is_at_work_for(self._pool):
            raise UsageError(
                "a handler that waits for its own broker to stop would wait for itself; begin it "
                "elsewhere: `asyncio.create_task(broker.stop())`"
            )

    def _ended(self, pool: Pool) -> None:
        """The workers have ended, or are waited for no longer."""
        self._state = "stopped"
        over, self._over = self._over, None
        if over is not None:
            over.set_result(None)
        self._give_up(pool)
        self._requests.close(STOPPED)
