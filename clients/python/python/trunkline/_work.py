"""A running agent: its handlers at work, and how what they come to is told."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ._ends import AuthRequired, DeadLetter, Fail, InputRequired, Reject, Retry
from ._payload import to_payload
from ._task import Task, at_work
from .errors import DeadlockError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import _native

log = logging.getLogger("trunkline")


@dataclass(slots=True)
class Handler:
    """A handler of an agent."""

    call: Callable[[Task], Any]
    is_async: bool
    kind: str
    name: str
    concurrency: int
    timeout: float | None = None
    filter: str | None = None
    group: str | None = None
    drop_oldest: bool = False

    def described(self) -> tuple[Any, ...]:
        """What the runtime has to know of it."""
        return (
            self.kind,
            self.name,
            self.concurrency,
            self.timeout,
            self.filter,
            self.group,
            self.drop_oldest,
        )


class Work:
    """The deliveries of a running agent that are being handled."""

    __slots__ = ("_context", "_handlers", "_jobs", "_loop", "_threads", "id")

    def __init__(self, id: str, handlers: list[Handler]) -> None:  # noqa: A002
        """Takes up work on the loop that runs."""
        self.id = id
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        # Every handler starts from what was set where the agent was started.
        self._context = copy_context()
        self._jobs: dict[int, asyncio.Task[None]] = {}
        plain = sum(handler.concurrency for handler in handlers if not handler.is_async)
        self._threads = ThreadPoolExecutor(plain, f"trunkline-{id}") if plain else None

    def begin(self, place: int, job: int, delivery: _native.Delivery) -> None:
        """A delivery has come for the handler at `place`."""
        work = self._handle(self._handlers[place], job, delivery)
        running = self._context.run(self._loop.create_task, work)
        # A loop whose tasks begin at once may be done with it already.
        if not running.done():
            self._jobs[job] = running

    def is_handler(self, running: asyncio.Task[Any] | None) -> bool:
        """Whether a handler runs as this task of the event loop."""
        return running is not None and running in self._jobs.values()

    def call_off(self, job: int) -> None:
        """A delivery is no longer to be handled."""
        running = self._jobs.get(job)
        if running is not None:
            # One that has not begun yet will not take itself out.
            running.add_done_callback(lambda _: self._jobs.pop(job, None))
            running.cancel()

    def close(self) -> None:
        """No more deliveries come. Threads end when their handlers do."""
        for job in list(self._jobs):
            self.call_off(job)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _handle(self, handler: Handler, job: int, delivery: _native.Delivery) -> None:
        task = Task(delivery, self._loop, self)
        at_work.set(task)
        try:
            if handler.is_async:
                result = await handler.call(task)
            else:
                context, call = copy_context(), partial(handler.call, task)
                result = await self._loop.run_in_executor(self._threads, lambda: context.run(call))
            if result is None:
                delivery.complete(None, "")
            else:
                delivery.complete(*to_payload(result))
        except asyncio.CancelledError:
            # Called off, the delivery has ended already, and this says nothing.
            delivery.give_up("retry", "the handler was cancelled", None)
            raise
        except Exception as error:
            try:
                self._settle(handler, task, delivery, error)
            except Exception as unsaid:
                # Unsettled, it would come back at once, again and again.
                delivery.give_up("retry", "how the handler ended cannot be told", None)
                log.warning("agent %s: %s of %s", self.id, unsaid, task.id, exc_info=error)
        except BaseException as error:
            delivery.give_up("retry", _reason(error), None)
            raise
        finally:
            self._jobs.pop(job, None)

    def _settle(
        self, handler: Handler, task: Task, delivery: _native.Delivery, error: Exception
    ) -> None:
        if isinstance(error, Retry):
            delivery.give_up("retry", _sayable(error.reason), error.after)
        elif isinstance(error, Reject):
            delivery.give_up("reject", _sayable(error.reason), None)
        elif isinstance(error, Fail):
            delivery.give_up("fail", _sayable(error.reason), None)
        elif isinstance(error, DeadLetter):
            delivery.give_up("dead-letter", _sayable(error.reason), None)
        elif isinstance(error, InputRequired):
            delivery.pause(isinstance(error, AuthRequired), *error.question)
        else:
            # The same would be said, or refused, again and again.
            hopeless = isinstance(error, (PayloadError, DeadlockError))
            delivery.give_up("fail" if hopeless else "retry", _reason(error), None)
            log.warning(
                "agent %s: the handler of %s %s raised at attempt %d of %s",
                self.id,
                handler.kind,
                handler.name,
                task.attempt,
                task.id,
                exc_info=error,
            )


def _reason(error: BaseException) -> str:
    text = str(error)
    return _sayable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _sayable(text: object) -> str:
    """A text without what is no character."""
    return str(text).encode(errors="replace").decode()
