"""A running agent: its handlers at work, and how what they come to is told."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from . import _tracing
from ._ends import HandlerEnd, Said, reason_of, said_of
from ._payload import to_payload
from ._processes import Processes
from ._task import Task, at_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import _native

log = logging.getLogger("trunkline")


@dataclass(slots=True)
class Handler:
    """A handler of an agent."""

    call: Callable[[Any], Any]
    on: Literal["loop", "threads", "processes"]
    """Where it runs."""
    kind: str
    name: str
    concurrency: int
    timeout: float | None = None
    filter: str | None = None
    group: str | None = None

    def described(self) -> tuple[Any, ...]:
        """What the runtime has to know of it."""
        return (
            self.kind,
            self.name,
            self.concurrency,
            self.timeout,
            self.filter,
            self.group,
            # What happens to events that are too many is a setting of the agent's inbox.
            False,
        )


class Work:
    """The deliveries of a running agent that are being handled."""

    __slots__ = ("_context", "_handlers", "_jobs", "_loop", "_processes", "_threads", "id")

    def __init__(self, id: str, handlers: list[Handler]) -> None:  # noqa: A002
        """Takes up work on the loop that runs."""
        self.id = id
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        # Every handler starts from what was set where the agent was started.
        self._context = copy_context()
        self._jobs: dict[int, asyncio.Task[None]] = {}
        # Who waits for a process has a thread as well.
        plain = sum(handler.concurrency for handler in handlers if handler.on != "loop")
        self._threads = ThreadPoolExecutor(max(plain, 1), f"trunkline-{id}")
        self._processes = {
            place: Processes(handler.call, self._threads)
            for place, handler in enumerate(handlers)
            if handler.on == "processes"
        }

    def begin(self, place: int, job: int, delivery: _native.Delivery) -> None:
        """A delivery has come for the handler at `place`."""
        running = self._context.run(self._loop.create_task, self._handle(place, job, delivery))
        # A loop whose tasks begin at once may be done with it already.
        if not running.done():
            self._jobs[job] = running

    def is_busy(self) -> bool:
        """Whether anything is being handled."""
        return bool(self._jobs)

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
        """No more deliveries come. Threads end when their handlers do, processes at once."""
        for job in list(self._jobs):
            self.call_off(job)
        for processes in self._processes.values():
            processes.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _handle(self, place: int, job: int, delivery: _native.Delivery) -> None:
        handler = self._handlers[place]
        task = Task(delivery, self._loop, self)
        at_work.set(task)
        _tracing.enter(delivery.traceparent)
        try:
            if handler.on == "loop":
                result = await handler.call(task)
            elif handler.on == "threads":
                context, call = copy_context(), partial(handler.call, task)
                result = await self._loop.run_in_executor(self._threads, lambda: context.run(call))
            else:
                self._tell(handler, task, await self._processes[place].run(task.message()), None)
                return
            if result is None:
                delivery.complete(None, "")
            else:
                delivery.complete(*to_payload(result))
        except asyncio.CancelledError:
            # Called off, the delivery has ended already, and this says nothing.
            delivery.give_up("retry", "the handler was cancelled", None)
            raise
        except Exception as error:
            self._tell(handler, task, said_of(error), error)
        except BaseException as error:
            delivery.give_up("retry", reason_of(error), None)
            raise
        finally:
            self._jobs.pop(job, None)

    def _tell(self, handler: Handler, task: Task, said: Said, error: Exception | None) -> None:
        """Tells the runtime how a delivery ends."""
        delivery = task._delivery
        if said[0] == "complete":
            delivery.complete(*(said[1] or (None, "")))
        elif said[0] == "pause":
            delivery.pause(said[1], *said[2])
        else:
            delivery.give_up(*said[1:])
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
