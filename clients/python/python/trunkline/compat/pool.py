"""The workers of a broker, which all its agents share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from .messages import MessageType
from .place import Runner, at_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._native import Letter, Mailbox
    from .config import BrokerConfiguration
    from .messages import AgentIdentity, AgentMessage
    from .stats import Counters

log = logging.getLogger("trunkline.compat")

_REQUEST = MessageType.REQUEST
_COROUTINE: type[Any] = CoroutineType
_IN_A_ROW = 64
"""How many messages a runner handles until the rest of the loop has its turn."""


class Ends(Protocol):
    """What becomes of messages."""

    def answered(self, letter: Letter, agent: AgentIdentity, result: Any) -> AgentMessage | None:
        """The handler of a request returned this. Returns what is to be sent for that."""
        ...

    def failed(self, letter: Letter, error: BaseException) -> None:
        """The handler raised this."""
        ...

    def unknown(self, letter: Letter) -> None:
        """It is for nobody who is registered."""
        ...

    def changed(self) -> None:
        """A message was begun or has ended."""
        ...

    async def send_message(self, message: AgentMessage) -> bool:
        """Sends a message."""
        ...


@dataclass(slots=True, eq=False)
class Worker:
    """One worker: what it may do, and its figures."""

    id: int
    share: int = 0
    """How many messages of its batch are left, which it takes when it begins them."""
    returning: deque[asyncio.Future[None]] = field(default_factory=deque["asyncio.Future[None]"])
    """Handlers that lent their place and want it back."""
    active: int = 0
    """How many handlers are at work, or about to be."""
    waking: bool = False
    """Whether a runner was woken for it that has not begun."""
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


class Pool:
    """Gives what is ready to workers.

    A worker has a place for each message that it handles at once. Who is at work in a place is a
    runner, a task that handles one message after the other; runners that have no place wait for
    one.
    """

    def __init__(
        self,
        config: BrokerConfiguration,
        mailbox: Mailbox,
        agents: dict[str, tuple[AgentIdentity, Callable[[AgentMessage], Any]]],
        counters: Counters,
        ends: Ends,
    ) -> None:
        self._config = config
        self._batching, self._size = config.enable_batching, config.batch
        self._at_once = config.at_once
        self._mailbox = mailbox
        self._agents = agents
        self._counters = counters
        self._ends = ends
        self._loop = asyncio.get_running_loop()
        self.batched = 0
        """How many messages were taken in batches."""
        self.watched = False
        """Whether somebody wants to know of each message that is begun or ends."""
        self._runners: set[Runner] = set()
        self._shared: int = 0
        """How many messages are in the shares of workers."""
        self._linger: asyncio.TimerHandle | None = None
        self._due = not config.enable_batching
        self._hurrying = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._parked: list[asyncio.Future[Worker]] = []
        self.workers = [Worker(number) for number in range(config.num_workers)]
        self.idle = deque(self.workers)
        self._left = len(self.workers)
        """How many workers take more work."""
        self._health = self._loop.create_task(self._watch())

    def came(self) -> None:
        """One message came, and somebody is idle."""
        if not self._batching:
            worker = self.idle.popleft()
            worker.idle = False
            self._wake(worker)
        elif self._linger is None or self._mailbox.waiting >= self._size:
            self.turn()

    def turn(self) -> None:
        """Gives what is ready to who is idle, if it is enough or has waited long enough."""
        if not self._batching:
            for _ in range(min(self._mailbox.ready() if self.idle else 0, len(self.idle))):
                self.came()
            return
        while self.idle and not self._closed:
            number = self._mailbox.ready() - self._shared
            if number <= 0:
                return
            if number < self._size and not (self._due or self._hurrying):
                if self._linger is None:
                    span = self._config.batch_timeout_ms / 1000
                    self._linger = self._loop.call_later(span, self._lapsed)
                return
            worker = self.idle.popleft()
            worker.idle = False
            worker.share = min(number, self._size)
            self._shared += worker.share
            self._due = False
            if self._linger is not None:
                self._linger.cancel()
                self._linger = None
            worker.batches += 1
            self.batched += worker.share
            self._wake(worker)

    def hurry(self) -> None:
        """From now on nobody waits for a batch to become full."""
        self._hurrying = True
        self.turn()

    def is_spent(self) -> bool:
        """Whether no worker is left, and nothing is at work."""
        return self._left == 0 and not any(worker.active for worker in self.workers)

    async def close(self) -> None:
        """Cancels what is at work; nothing more is begun."""
        self._closed = True
        # So there is nobody whom `came` or `turn` could wake.
        self.idle.clear()
        for worker in self.workers:
            # A task that a handler has begun is not cancelled with it, and waits for nothing.
            worker.active += len(worker.returning)
            while worker.returning:
                worker.returning.popleft().set_result(None)
        if self._linger is not None:
            self._linger.cancel()
        for task in (self._health, *self._tasks):
            task.cancel()
        await asyncio.wait({self._health, *self._tasks}, timeout=1.0)

    def abandoned(self) -> list[Letter]:
        """What is still at work, to be waited for no longer."""
        self._closed = True
        for worker in self.workers:
            worker.returning.clear()
        letters: list[Letter] = []
        for runner in self._runners:
            if runner.letter is not None:
                letters.append(runner.letter)
                runner.letter = None
        return letters

    def left(self, worker: Worker) -> None:
        """A place of a worker is free."""
        if self._passed_on(worker):
            return
        worker.active -= 1
        if self._closed or not worker.running:
            return
        if worker.share:
            self._wake(worker)
        elif worker.active == 0 and not worker.idle:
            worker.idle = True
            self.idle.append(worker)
            self.turn()

    def back(self, worker: Worker) -> asyncio.Future[None] | None:
        """A handler that lent its place has one of its worker now, or when this is done."""
        if self._closed:
            worker.active += 1
            return None
        if worker.active < self._at_once:
            worker.active += 1
            if worker.idle:
                worker.idle = False
                self.idle.remove(worker)
            return None
        free: asyncio.Future[None] = self._loop.create_future()
        worker.returning.append(free)
        return free

    def _passed_on(self, worker: Worker) -> bool:
        """Whether somebody who wants a place back has it now."""
        if not worker.returning:
            return False
        worker.returning.popleft().set_result(None)
        return True

    def _lapsed(self) -> None:
        self._linger = None
        self._due = True
        self.turn()

    def _wake(self, worker: Worker) -> None:
        """Has a runner work in a place of the worker that is free."""
        worker.active += 1
        worker.waking = True
        while self._parked:
            parked = self._parked.pop()
            if not parked.done():
                parked.set_result(worker)
                return
        runner = Runner(self, worker)
        task = self._loop.create_task(self._run(runner))
        self._tasks.add(task)
        task.add_done_callback(partial(self._gone, runner))

    def _gone(self, runner: Runner, task: asyncio.Task[None]) -> None:
        """The task of a runner is done."""
        self._tasks.discard(task)
        if not runner.has_begun():
            # Cancelled before its first step, it could not leave the place that it was made for.
            runner.worker.waking = False
            self.left(runner.worker)

    async def _run(self, runner: Runner) -> None:
        """Has a runner work for as long as the pool is there."""
        runner.begin()
        self._runners.add(runner)
        try:
            while True:
                keeps = await self._work(runner, runner.worker)
                if self._closed:
                    # Its handler has ended in spite of being cancelled.
                    if keeps:
                        self.left(runner.worker)
                    return
                parked: asyncio.Future[Worker] = self._loop.create_future()
                self._parked.append(parked)
                if keeps:
                    self._rest(runner.worker)
                try:
                    runner.worker = await parked
                except asyncio.CancelledError:
                    if parked.done() and not parked.cancelled():
                        parked.result().waking = False
                        self.left(parked.result())
                    raise
        finally:
            self._runners.discard(runner)

    async def _work(self, runner: Runner, worker: Worker) -> bool:
        """Handles messages in one place after the other, and tells whether it still has it."""
        take, ends, agents, counters = self._mailbox.take, self._ends, self._agents, self._counters
        worker.waking = False
        if not worker.running:
            # It was woken before another of its handlers ended it; somebody else may go on.
            self.turn()
            return True
        letter: Letter | None = None
        in_a_row, batching = 0, self._batching
        while True:
            if self._closed or (batching and not self._may_take(worker)):
                self._ended(letter)
                return True
            letter = take(letter)
            if self.watched:
                ends.changed()
            if letter is None:
                if worker.share:
                    self._give_up_share(worker)
                return True
            message = letter.message
            runner.letter = letter
            at_work.set((letter, runner))
            try:
                known = agents.get(letter.to)
                if known is None:
                    worker.errors += 1
                    ends.unknown(letter)
                else:
                    result = known[1](message)
                    if isinstance(result, _COROUTINE) or isawaitable(result):
                        result = await result
                        if runner.letter is not letter:
                            # Nobody waited for it, and it is a dead letter.
                            return runner.ended()
                    if result is None or message.message_type is not _REQUEST:
                        counters.messages_delivered += 1
                    else:
                        answer = ends.answered(letter, known[0], result)
                        if answer is not None:
                            await ends.send_message(answer)
            except Exception as error:
                try:
                    self._raised(runner, worker, letter, error)
                except BaseException as other:
                    self._fell(runner, worker, letter, other)
                    raise
            except BaseException as error:
                if isinstance(error, GeneratorExit) and not runner.is_running():
                    # The loop is gone, and with it all that could be done.
                    raise
                self._fell(runner, worker, letter, error)
                raise
            runner.letter = None
            worker.messages += 1
            if (runner.place is not None or worker.returning or not worker.running) and (
                not runner.ended() or self._loses_place(worker)
            ):
                self._ended(letter)
                return False
            in_a_row += 1
            if in_a_row >= _IN_A_ROW:
                in_a_row = 0
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    self._ended(letter)
                    self.left(worker)
                    raise

    def _rest(self, worker: Worker) -> None:
        """A runner that found nothing to take leaves its place."""
        if self._batching or worker.returning or worker.active > 1 or not worker.running:
            self.left(worker)
        else:
            worker.active, worker.idle = 0, True
            self.idle.append(worker)

    def _may_take(self, worker: Worker) -> bool:
        """Whether the worker has messages of its batch left, of which one is to be taken now."""
        if not worker.share:
            return False
        worker.share -= 1
        self._shared -= 1
        # The next runner takes part if this one has to wait in a handler.
        if worker.share and worker.active < self._at_once and not worker.waking:
            self._wake(worker)
        return True

    def _raised(self, runner: Runner, worker: Worker, letter: Letter, error: Exception) -> None:
        if runner.letter is not letter:
            return
        worker.errors += 1
        runner.letter = None
        # A logger may have a filter that fails.
        with contextlib.suppress(Exception):
            log.warning("the handler of '%s' failed", letter.to, exc_info=error)
        self._ends.failed(letter, error)

    def _fell(self, runner: Runner, worker: Worker, letter: Letter, error: BaseException) -> None:
        """A handler ended in a way that takes its runner along, and maybe its worker."""
        worker.messages += 1
        held = runner.ended()
        try:
            if runner.letter is letter:
                runner.letter = None
                self._ends.failed(letter, error)
        finally:
            self._gives_up(worker, letter, error, held=held)

    def _gives_up(
        self, worker: Worker, letter: Letter, error: BaseException, *, held: bool
    ) -> None:
        """A runner is gone: its place is free, and its worker goes on or does not."""
        if not self._closed:
            worker.errors += 1
            kind = type(error).__name__
            if self._config.worker_restart_on_failure:
                worker.restarts += 1
                log.warning("worker %d failed (%s) and goes on", worker.id, kind)
            else:
                log.error("worker %d failed (%s) and takes no more work", worker.id, kind)
                self._left -= worker.running
                worker.running = worker.healthy = False
                self._give_up_share(worker)
        if held:
            self.left(worker)
        # Last, as it may be what the end of all waits for.
        self._ended(letter)

    def _loses_place(self, worker: Worker) -> bool:
        """Whether a place goes to somebody else or away when its handler has ended."""
        if worker.returning and self._passed_on(worker):
            return True
        if not worker.running:
            self.left(worker)
        return not worker.running

    def _ended(self, letter: Letter | None) -> None:
        """This was handled, and nothing else is taken at the same time."""
        if letter is not None:
            self._mailbox.end(letter)
            if self.watched:
                self._ends.changed()

    def _give_up_share(self, worker: Worker) -> None:
        self._shared -= worker.share
        worker.share = 0
        self.turn()

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
