"""A running agent: its handlers at work, and how what they come to is told."""

from __future__ import annotations

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import _native, _tracing
from ._ends import HandlerEnd, Said, reason_of, said_of
from ._loop import current
from ._payload import to_payload
from ._processes import Processes
from ._task import Task, at_work
from .errors import PayloadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ._declared import Declared

T = TypeVar("T")

log = logging.getLogger("trunkline")

_task: Any = asyncio.Task
"""With whatever this version of Python can be told of a task."""


@dataclass(slots=True)
class Described:
    """A handler as the runtime sees it, which reads these by their names."""

    kind: Literal["skill", "event", "message"]
    name: str
    """Of its skill or topics."""
    concurrency: int
    timeout: float | None = None
    filter: str | None = None
    group: str | None = None
    batch: int = 1
    """How many deliveries it gets at once; from 2 on as a list."""
    linger: float | None = None


@dataclass(slots=True, kw_only=True)
class Handler(Described):
    """A handler of an agent."""

    call: Callable[[Any], Any]
    on: Literal["loop", "threads", "processes"]
    """Where it runs."""
    declared: Declared
    """What it declares of its input and output."""

    @property
    def has_to_answer(self) -> bool:
        """Whether to return nothing is a mistake, as it is not of events and messages."""
        return self.declared.answers and self.kind == "skill"

    @property
    def answers_each(self) -> bool:
        """Whether that is so of each result in what a handler of batches returns."""
        return self.declared.answers_each and self.kind == "skill"


class Work:
    """The deliveries of a running agent that are being handled."""

    __slots__ = (
        "_beginning",
        "_bridge",
        "_context",
        "_eager",
        "_handlers",
        "_jobs",
        "_loop",
        "_native",
        "_plain",
        "_processes",
        "_steps",
        "_threads",
        "_waited",
        "id",
    )

    def __init__(self, id: str, handlers: list[Handler]) -> None:  # noqa: A002
        """Takes up work on the loop that runs."""
        self.id = id
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._bridge = current()
        self._native = self._bridge.native
        # Every handler starts from what was set where the agent was started, but for the span:
        # what the sender said of none has begun in none.
        self._context = copy_context()
        self._context.run(_tracing.leave)
        self._jobs: dict[int, asyncio.Task[None]] = {}
        # What is in its first step, begun at once and not known by its task yet.
        self._beginning: Coroutine[Any, Any, None] | None = None
        # What plain handlers wait for, without which they do not end.
        self._waited: set[asyncio.Task[Any] | None] = set()
        # Begun at once, a handler that awaits nothing costs no turn of the loop.
        plain = self._loop.get_task_factory() is None
        self._eager = sys.version_info >= (3, 12) and plain
        self._plain = sys.version_info >= (3, 11) and plain
        self._steps = [self._step(handler) for handler in handlers]
        # Who waits for a process has a thread as well.
        threads = sum(handler.concurrency for handler in handlers if handler.on != "loop")
        self._threads = ThreadPoolExecutor(max(threads, 1), f"trunkline-{id}")
        self._processes = {
            place: Processes(handler.call, self._threads)
            for place, handler in enumerate(handlers)
            if handler.on == "processes"
        }

    def _step(self, handler: Handler) -> Callable[[int, int, Any], Coroutine[Any, Any, None]]:
        """What handles a delivery for a handler, or a batch."""
        if handler.batch > 1:
            return self._handle_batch
        return self._handle if handler.on == "loop" else self._handle_elsewhere

    def begin(self, place: int, job: int, given: _native.Delivery | _native.Batch) -> None:
        """A delivery has come for the handler at `place`, or a batch."""
        work = self._steps[place](place, job, given)
        if self._eager:
            self._beginning = work
            try:
                running = _task(
                    work, loop=self._loop, context=self._context.copy(), eager_start=True
                )
            finally:
                self._beginning = None
        elif self._plain:
            running = _task(work, loop=self._loop, context=self._context.copy())
        else:
            running = self._context.run(self._loop.create_task, work)
        # One that began at once may be done with it already.
        if not running.done():
            self._jobs[job] = running

    def is_busy(self) -> bool:
        """Whether anything is being handled."""
        return self._beginning is not None or bool(self._jobs)

    async def waited(self, work: Coroutine[Any, Any, T], /) -> T:
        """Runs what a plain handler waits for."""
        running = asyncio.current_task()
        self._waited.add(running)
        try:
            return await work
        finally:
            self._waited.discard(running)

    def is_handler(self, running: asyncio.Task[Any] | None) -> bool:
        """Whether a handler runs as this task of the event loop, or waits for it."""
        if running is None:
            return False
        return (
            running in self._jobs.values()
            or running in self._waited
            or (self._beginning is not None and running.get_coro() is self._beginning)
        )

    def call_off(self, job: int) -> None:
        """A delivery is no longer to be handled."""
        running = self._jobs.get(job)
        if running is not None:
            # One that has not begun yet will not take itself out.
            running.add_done_callback(lambda _: self._jobs.pop(job, None))
            running.cancel()

    def close(self) -> None:
        """No more deliveries come. Threads end when their handlers do, processes at once."""
        if self._loop.is_closed():
            # Nothing goes on there that could be cancelled.
            self._jobs.clear()
        for job in list(self._jobs):
            self.call_off(job)
        for processes in self._processes.values():
            processes.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _handle(self, place: int, job: int, delivery: _native.Delivery) -> None:
        handler = self._handlers[place]
        if handler.timeout is not None:
            delivery.begin()
        task = Task(delivery, self._loop, self)
        at_work.set(task)
        if delivery.traceparent is not None:
            _tracing.enter(delivery)
        try:
            result = await handler.call(task)
            if result is None:
                if handler.has_to_answer:
                    raise _nothing(handler)
                due = delivery.complete(self._native, None, "")
            else:
                due = delivery.complete(self._native, *to_payload(result))
            if due:
                self._bridge.told(due)
        except BaseException as error:
            self._raised(handler, task, error)
        finally:
            self._jobs.pop(job, None)

    async def _handle_elsewhere(self, place: int, job: int, delivery: _native.Delivery) -> None:
        handler = self._handlers[place]
        if handler.timeout is not None:
            delivery.begin()
        task = Task(delivery, self._loop, self)
        at_work.set(task)
        _tracing.enter(delivery)
        try:
            if handler.on == "threads":
                context, call = copy_context(), partial(_called, handler, task)
                result = await self._loop.run_in_executor(self._threads, lambda: context.run(call))
                said: Said = "complete", None if result is None else to_payload(result)
            else:
                said = await self._processes[place].run(task.message())
            if handler.has_to_answer and said == ("complete", None):
                raise _nothing(handler)
            self._tell(handler, task, said, None)
        except BaseException as error:
            self._raised(handler, task, error)
        finally:
            self._jobs.pop(job, None)

    def _raised(self, handler: Handler, task: Task, error: BaseException) -> None:
        """Ends a delivery by what its handler raised; raises what is not for us to catch."""
        if _ends_alone(handler, error):
            self._tell(handler, task, said_of(error), error)
            return
        # Called off, the delivery has ended already, and this says nothing.
        called_off = isinstance(error, asyncio.CancelledError)
        if called_off:
            task._delivery.call_off()
        reason = "the handler was cancelled" if called_off else reason_of(error)
        self._bridge.told(task._delivery.give_up(self._native, "retry", reason, None))
        raise error

    async def _handle_batch(self, place: int, job: int, batch: _native.Batch) -> None:
        handler = self._handlers[place]
        if handler.timeout is not None:
            batch.begin()
        native, told = self._native, self._bridge.told
        deliveries = batch.deliveries
        tasks = [Task(delivery, self._loop, self) for delivery in deliveries]
        first = deliveries[0].traceparent
        if first is not None and all(it.traceparent == first for it in deliveries):
            _tracing.enter(deliveries[0])
        try:
            if handler.on == "loop":
                results = await handler.call(tasks)
            else:
                context, call = copy_context(), partial(_called, handler, tasks)
                results = await self._loop.run_in_executor(self._threads, lambda: context.run(call))
            if results is None and handler.has_to_answer:
                raise _nothing(handler)
            if results is not None:
                for task, result in zip(tasks, _one_each(results, tasks), strict=True):
                    self._end(handler, task, result)
            else:
                told(batch.complete(native))
        except asyncio.CancelledError:
            for delivery in deliveries:
                delivery.call_off()
                told(delivery.give_up(native, "retry", "the handler was cancelled", None))
            raise
        except BaseException as error:
            if _ends_alone(handler, error):
                said = said_of(error)
                for task in tasks:
                    self._tell(handler, task, said, error if task is tasks[0] else None)
                return
            for delivery in deliveries:
                told(delivery.give_up(native, "retry", reason_of(error), None))
            raise
        finally:
            self._jobs.pop(job, None)

    def _end(self, handler: Handler, task: Task, result: Any) -> None:
        """Ends one delivery of a batch by what its handler said of it."""
        error = result if isinstance(result, Exception) else None
        if error is None:
            try:
                if result is None and handler.answers_each:
                    raise _nothing(handler)
                said: Said = "complete", None if result is None else to_payload(result)
            except Exception as unsendable:
                error, said = unsendable, said_of(unsendable)
        else:
            said = said_of(error)
        self._tell(handler, task, said, error)

    def _tell(self, handler: Handler, task: Task, said: Said, error: BaseException | None) -> None:
        """Tells the runtime how a delivery ends."""
        delivery, native, told = task._delivery, self._native, self._bridge.told
        if said[0] == "complete":
            told(delivery.complete(native, *(said[1] or (None, ""))))
        elif said[0] == "pause":
            told(delivery.pause(native, said[1], *said[2]))
        else:
            told(delivery.give_up(native, *said[1:]))
            if error is not None and not isinstance(error, HandlerEnd):
                log.warning(
                    "agent %s: the handler of %s %s raised at attempt %d of %s",
                    self.id,
                    handler.kind,
                    handler.name,
                    task.attempt,
                    task.id,
                    exc_info=error,
                )


def _called(handler: Handler, given: Any) -> Any:
    """What a plain handler returns. No future takes a `StopIteration`, nor does a coroutine."""
    try:
        return handler.call(given)
    except StopIteration as error:
        raise RuntimeError("the handler raised StopIteration") from error


def _ends_alone(handler: Handler, error: BaseException) -> bool:
    """Whether what a handler raised ends its delivery, and not the loop as well.

    A thread of Python's that exits ends nothing else either.
    """
    return isinstance(error, Exception) or (
        handler.on == "threads" and isinstance(error, SystemExit)
    )


def _nothing(handler: Handler) -> PayloadError:
    """What is said of a handler that returned nothing where an answer is expected."""
    return PayloadError(
        f"the handler of {handler.kind} {handler.name}".rstrip()
        + " returned nothing, and is declared to return an answer; return one, or declare "
        "`| None` if none is meant"
    )


def _one_each(results: Any, tasks: list[Task]) -> list[Any]:
    """The results of a batch, if there is one for each delivery."""
    if not isinstance(results, (list, tuple)):
        raise UsageError(
            f"the handler of a batch returned a {type(results).__name__}; it returns a list with a "
            "result for each delivery, or None"
        )
    known: list[Any] = list(results)  # pyright: ignore[reportUnknownArgumentType]
    if len(known) != len(tasks):
        raise UsageError(
            f"the handler returned {len(known)} results for a batch of {len(tasks)}; it returns "
            "one for each delivery, or None"
        )
    return known
