"""The workers of a broker, which all its agents share."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from .carrier import Parcel
    from .config import BrokerConfiguration

log = logging.getLogger("trunkline.compat")

_ENOUGH = 16
"""From how many messages that are ready there is enough to do for now."""


@dataclass(slots=True, eq=False)
class Worker:
    """One worker: what it holds, and its figures."""

    id: int
    pending: deque[Parcel] = field(default_factory=deque["Parcel"])
    """What it has taken and not begun."""
    returning: deque[asyncio.Future[None]] = field(default_factory=deque["asyncio.Future[None]"])
    """Handlers that lent their place and want it back."""
    active: int = 0
    """How many handlers are at work."""
    idle: bool = True
    running: bool = True
    healthy: bool = True
    messages: int = 0
    batches: int = 0
    errors: int = 0
    restarts: int = 0
    seen: int | None = None
    """How many messages it had handled when it was last seen busy."""

    def figures(self) -> dict[str, Any]:
        """Its figures under the names that its users know."""
        return {
            "worker_id": self.id,
            "messages_processed": self.messages,
            "batches_processed": self.batches,
            "errors": self.errors,
            "restarts": self.restarts,
            "active": self.active,
            "is_healthy": self.healthy,
            "is_running": self.running,
        }


class Place:
    """Where a handler is at work, which it lends while it waits for an answer."""

    __slots__ = ("_pool", "_requests", "ended", "held", "worker")

    def __init__(self, pool: Pool, worker: Worker) -> None:
        self._pool = pool
        self.worker = worker
        self._requests = 0
        self.held = True
        self.ended = False

    def is_of(self, pool: Pool) -> bool:
        """Whether it is a place of this pool, and its handler still at work."""
        return self._pool is pool and not self.ended

    async def __aenter__(self) -> None:
        self._requests += 1
        if self.held:
            self.held = False
            self._pool.left(self.worker)

    async def __aexit__(self, *_: object) -> None:
        self._requests -= 1
        # Who asks several at once has its place back with the last answer.
        if self._requests == 0 and not self.ended:
            await self._pool.back(self)
            if self.ended and self.held:
                # The handler has not waited for what it began.
                self.held = False
                self._pool.left(self.worker)


at_work: ContextVar[Place | None] = ContextVar("trunkline_compat_place", default=None)
"""The place of the handler that runs here."""


class Pool:
    """Gives what arrives to workers, the most urgent first."""

    def __init__(
        self,
        config: BrokerConfiguration,
        deliver: Callable[[Parcel], Coroutine[Any, Any, bool]],
        failed: Callable[[Parcel, BaseException], None],
        short: Callable[[], None],
    ) -> None:
        self._config = config
        self._deliver = deliver
        self._failed = failed
        self._short = short
        """Called when little is left to be handled."""
        self._loop = asyncio.get_running_loop()
        self._ready: list[tuple[int, int, int, Parcel]] = []
        self._count = itertools.count()
        self._live = 0
        self.batched = 0
        """How many messages were taken in batches."""
        self._linger: asyncio.TimerHandle | None = None
        self._due = not config.enable_batching
        self._hurrying = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.workers = [Worker(number) for number in range(config.num_workers)]
        self._idle = deque(self.workers)
        self._health = self._loop.create_task(self._watch())

    def arrived(self, parcels: Iterable[Parcel]) -> None:
        """These are to be handled."""
        for parcel in parcels:
            if not parcel.ended:
                self._push(parcel)
        self._turn()

    def forget(self, parcel: Parcel) -> None:
        """This one, which was not begun, has ended."""
        if parcel.ready:
            parcel.ready = False
            self._live -= 1

    def hurry(self) -> None:
        """From now on nobody waits for a batch to become full."""
        self._hurrying = True
        self._turn()

    def is_busy(self) -> bool:
        """Whether it has enough to do for now."""
        return self._live >= _ENOUGH

    def can_work(self) -> bool:
        """Whether a worker is left."""
        return any(worker.running for worker in self.workers)

    async def close(self) -> None:
        """Cancels what is at work."""
        self._closed = True
        if self._linger is not None:
            self._linger.cancel()
        for task in (self._health, *self._tasks):
            task.cancel()
        await asyncio.wait({self._health, *self._tasks}, timeout=1.0)

    def left(self, worker: Worker) -> None:
        """A handler no longer takes up its worker."""
        worker.active -= 1
        self._fill(worker)

    async def back(self, place: Place) -> None:
        """A handler that lent its place waits until its worker has one for it again."""
        worker = place.worker
        if self._closed:
            return
        if worker.active < self._config.at_once:
            self._take_up(worker)
        else:
            free: asyncio.Future[None] = self._loop.create_future()
            worker.returning.append(free)
            try:
                await free
            except asyncio.CancelledError:
                if free.done() and not free.cancelled():
                    # It was given the place in the same moment.
                    self.left(worker)
                raise
        place.held = True

    def _push(self, parcel: Parcel) -> None:
        urgency = -parcel.message.metadata.priority.value
        heappush(self._ready, (urgency, parcel.order, next(self._count), parcel))
        parcel.ready = True
        self._live += 1

    def _turn(self) -> None:
        """Gives what is ready to who is idle, if it is enough or has waited long enough."""
        while self._live and self._idle:
            size = self._config.batch
            if self._live < size and not (self._due or self._hurrying):
                if self._linger is None:
                    span = self._config.batch_timeout_ms / 1000
                    self._linger = self._loop.call_later(span, self._lapsed)
                return
            if self._config.enable_batching:
                self._due = False
                if self._linger is not None:
                    self._linger.cancel()
                    self._linger = None
            worker = self._idle.popleft()
            worker.idle = False
            while self._ready and len(worker.pending) < size:
                parcel = heappop(self._ready)[3]
                if parcel.ready:
                    parcel.ready = False
                    self._live -= 1
                    worker.pending.append(parcel)
            if self._config.enable_batching:
                worker.batches += 1
                self.batched += len(worker.pending)
            if self._live < _ENOUGH:
                self._short()
            self._fill(worker)

    def _lapsed(self) -> None:
        self._linger = None
        self._due = True
        self._turn()

    def _fill(self, worker: Worker) -> None:
        """Begins as much as the worker has places for."""
        while worker.active < self._config.at_once and not self._closed:
            if worker.returning:
                free = worker.returning.popleft()
                if not free.done():
                    worker.active += 1
                    free.set_result(None)
            elif worker.pending:
                parcel = worker.pending.popleft()
                if not parcel.ended:
                    worker.active += 1
                    task = self._loop.create_task(self._work(worker, parcel))
                    self._tasks.add(task)
            else:
                break
        if worker.active == 0 and not worker.pending and worker.running and not worker.idle:
            worker.idle = True
            self._idle.append(worker)
            self._turn()

    def _take_up(self, worker: Worker) -> None:
        worker.active += 1
        if worker.idle:
            worker.idle = False
            self._idle.remove(worker)

    async def _work(self, worker: Worker, parcel: Parcel) -> None:
        place = Place(self, worker)
        at_work.set(place)
        try:
            if not await self._deliver(parcel):
                worker.errors += 1
        except BaseException as error:
            if not self._closed:
                worker.errors += 1
                self._fell(worker, error)
            self._failed(parcel, error)
            if not isinstance(error, asyncio.CancelledError):
                raise
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)
            place.ended = True
            worker.messages += 1
            if place.held:
                self.left(worker)

    def _fell(self, worker: Worker, error: BaseException) -> None:
        """A handler ended in a way that takes its worker along."""
        kind = type(error).__name__
        if self._config.worker_restart_on_failure:
            worker.restarts += 1
            log.warning("worker %d failed (%s) and goes on", worker.id, kind)
            return
        log.error("worker %d failed (%s) and takes no more work", worker.id, kind)
        worker.running = worker.healthy = False
        pending, worker.pending = worker.pending, deque()
        self.arrived(pending)

    async def _watch(self) -> None:
        """Looks at the workers now and then."""
        while True:
            await asyncio.sleep(self._config.worker_health_check_interval_sec)
            for worker in self.workers:
                if not worker.running:
                    continue
                stuck = worker.active > 0 and worker.seen == worker.messages
                worker.seen = worker.messages if worker.active else None
                if stuck and worker.healthy:
                    log.warning(
                        "worker %d has finished nothing for %g s",
                        worker.id,
                        self._config.worker_health_check_interval_sec,
                    )
                worker.healthy = not stuck
