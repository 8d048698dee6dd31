"""What waits in a drop-in broker: the queue, who wants room in it, and dead letters."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from dataclasses import replace
from datetime import datetime
from typing import Literal

from .. import _native
from ..errors import InvalidError
from .config import BrokerConfiguration
from .directory import Directory
from .fork import known
from .messages import AgentMessage
from .pool import Pool
from .requests import Asked, Requests
from .room import Room
from .stats import Counters

log = logging.getLogger("trunkline.compat")

_LETTERS = 10_000
"""Most dead letters that are kept; the oldest go first."""


class Waiting(Directory):
    """The state of a broker, and what waits in it."""

    def __init__(
        self,
        config: BrokerConfiguration | None = None,
        max_queue_size: int | None = None,
        max_retry: int | None = None,
    ) -> None:
        """Makes a broker.

        Args:
            config: Its settings; `None` for the defaults.
            max_queue_size: Overrides that of the settings.
            max_retry: Overrides `retry_max_attempts` of the settings.

        Raises:
            InvalidError: A setting is out of its range.
        """
        super().__init__()
        if config is not None and not isinstance(config, BrokerConfiguration):  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = type(config).__name__
            raise InvalidError(f"config is a {kind}, it has to be a BrokerConfiguration")
        settings = replace(config or BrokerConfiguration())
        if max_queue_size is not None:
            settings = replace(settings, max_queue_size=max_queue_size)
        if max_retry is not None:
            settings = replace(settings, retry_max_attempts=max_retry)
        self.config = settings
        self._letters: deque[tuple[AgentMessage, str]] = deque(maxlen=_LETTERS)
        self._counters = Counters()
        self._state: Literal["new", "running", "stopping", "closing", "stopped"] = "new"
        self._over: asyncio.Future[None] | None = None
        """Who waits for the end of `stop`, while it is at it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mailbox = self._empty()
        self._room = Room(self._mailbox, settings.max_queue_size)
        self._looks = False
        """Whether what was sent is looked at when the turn of the loop is over."""
        self._alarm: asyncio.TimerHandle | None = None
        self._pool: Pool | None = None
        self._drained: asyncio.Future[None] | None = None
        self._requests = Requests()
        self._since: float | None = None
        self._start_time: datetime | None = None
        self._uptime = 0.0
        known.add(self)

    def changed(self) -> None:
        """A message was begun or has ended, and somebody waits for room or for the end of all."""
        self._room.changed()
        drained = self._drained
        if drained is not None:
            spent = not self._mailbox.open or (self._pool is not None and self._pool.is_spent())
            if spent and not drained.done():
                drained.set_result(None)
        elif not self._room.waits and self._pool is not None:
            self._pool.watched = False

    def _expired(self, letter: _native.Letter) -> None:
        self._dead(letter.message, letter.asked, "expired", expired=True)
        if self._pool is not None and self._pool.watched:
            self.changed()

    def _empty(self) -> _native.Mailbox:
        most, share = self.config.max_queue_size, self.config.queue_warning_threshold
        return _native.Mailbox(max(1, math.ceil(share * most)), self._expired)

    def _look(self) -> None:
        """Sees to what was sent in this turn of the loop."""
        self._looks = False
        self._mailbox.ready()

    def _noted(self, told: int) -> None:
        if told & _native.Mailbox.EARLIER:
            self._tick()
        if told & _native.Mailbox.WARN:
            most = self.config.max_queue_size
            log.warning("%d messages wait, of %d that may", self._mailbox.waiting, most)

    def _sleep(self) -> None:
        """Sees to nothing more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _tick(self) -> None:
        """Sees to what has expired and to what is due, and comes again for the next."""
        self._sleep()
        after = self._mailbox.tick()
        if after is not None and self._loop is not None:
            self._alarm = self._loop.call_later(after, self._tick)
        if self._pool is not None:
            self._pool.turn()

    def _refuse(self, message: AgentMessage, reason: str) -> bool:
        self._counters.messages_failed += 1
        self._letters.append((message, reason))
        return False

    def _dead(
        self, message: AgentMessage, asked: Asked | None, reason: str, *, expired: bool = False
    ) -> None:
        """It becomes a dead letter."""
        if expired:
            self._counters.messages_expired += 1
        else:
            self._counters.messages_failed += 1
        self._letters.append((message, reason))
        if asked is not None:
            asked.failed(reason)
