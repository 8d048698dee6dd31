"""Where a handler is at work, and what it lends while it waits for an answer."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._native import Letter
    from .pool import Pool, Worker

at_work: ContextVar[tuple[Letter, Runner] | None] = ContextVar("trunkline_compat", default=None)
"""What is handled here, and by whom. A task that a handler begins may outlive that."""


class Runner:
    """Who handles messages, one after the other."""

    __slots__ = ("_pool", "_task", "letter", "place", "worker")

    def __init__(self, pool: Pool, worker: Worker) -> None:
        """Works for this worker, once it has begun."""
        self._pool = pool
        self._task: asyncio.Task[Any] | None = None
        self.worker = worker
        self.letter: Letter | None = None
        """What it handles."""
        self.place: Place | None = None
        """The place of the handler, once it was asked for."""

    def begin(self) -> None:
        """Works in the task that runs, from now on."""
        self._task = asyncio.current_task()

    def has_begun(self) -> bool:
        """Whether it works in a task by now."""
        return self._task is not None

    def is_of(self, pool: Pool | None) -> bool:
        """Whether it is one of this pool."""
        return self._pool is pool

    def is_at_work_for(self, pool: Pool | None) -> bool:
        """Whether this is its task, not one that a handler has begun, and of this pool."""
        return self._pool is pool and asyncio.current_task() is self._task

    def is_running(self) -> bool:
        """Whether its task takes a step, rather than being thrown away."""
        try:
            return asyncio.current_task() is self._task
        except RuntimeError:
            return False

    def lends(self) -> Place:
        """The place of the handler that is at work."""
        if self.place is None:
            self.place = Place(self._pool, self.worker)
        return self.place

    def ended(self) -> bool:
        """The handler has ended. Returns whether it still had its place."""
        place, self.place = self.place, None
        if place is None:
            return True
        place.ended = True
        return place.held


class Place:
    """The place of one handler, which is lent between `lend` and `regain`."""

    __slots__ = ("_coming", "_pool", "_requests", "_worker", "ended", "held")

    def __init__(self, pool: Pool, worker: Worker) -> None:
        """It is this worker's."""
        self._pool = pool
        self._worker = worker
        self._requests = 0
        self._coming: asyncio.Future[None] | None = None
        """Done when it has one again, while somebody waits for that."""
        self.held = True
        self.ended = False

    def lend(self) -> None:
        """Somebody else may have it."""
        self._requests += 1
        if self.held:
            self.held = False
            self._pool.left(self._worker)

    async def regain(self, until: float | None) -> None:
        """Waits until the handler has it again, or does by this time of the loop anyway."""
        self._requests -= 1
        # Who asks several at once has its place back with the last answer.
        if self._requests or self.ended:
            return
        if self._coming is None:
            self._coming = self._pool.back(self._worker)
        # One place is enough for all that wait in it: another would be missed when it ends.
        coming = self._coming
        try:
            if coming is not None:
                within = None if until is None else until - asyncio.get_running_loop().time()
                if within is None or within > 0:
                    await asyncio.wait({coming}, timeout=within)
        finally:
            if self._coming is coming:
                self._has_come()

    def _has_come(self) -> None:
        """The handler has a place, maybe beyond those that there are.

        The next one that is free makes up for that, as it stays promised.
        """
        self._coming = None
        if self.ended or self._requests:
            # The handler has not waited for what it began, or waits for something else by now.
            self._pool.left(self._worker)
        else:
            self.held = True
