"""Event loops that do not come round, watched from a thread of their own.

A loop is looked at only while it has deliveries to handle. One that does not come round is asked
for what it runs: if that is the same for too long, it is told as it blocks, not only afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from . import _work
from ._task import Task

if TYPE_CHECKING:
    from types import FrameType

    from ._work import Handler, Work

log = logging.getLogger("trunkline")

BLOCKED = 0.1
"""From how many seconds on a step of a handler is told, as in the runtime in Rust."""

_PERIOD = 0.05
"""How often a loop with work is asked to come round, in seconds."""

_SAMPLE = 0.02
"""How often it is asked for what it runs while it does not, in seconds."""

_TURN = asyncio.BaseEventLoop._run_once.__code__  # pyright: ignore
"""A turn of a loop of asyncio, which asks for what is ready and then runs it."""

_AGAIN = 60.0
"""The most seconds between two reports of the same; until then ten times longer each."""


class Watched:
    """An agent whose loop is watched."""

    def __init__(self, work: Work) -> None:
        """Watches on behalf of the handlers of `work`, on the loop that runs."""
        self.blocked = 0
        """How many times a handler kept the loop."""
        self.work = work
        self._watcher = _watcher(asyncio.get_running_loop())
        self._watcher.add(self)

    def close(self) -> None:
        """No longer. Closing twice does no harm."""
        self._watcher.remove(self)


class _Watcher:
    """The thread that watches one loop, there for as long as one of its agents is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._runs_on = threading.get_ident()
        self._agents: list[Watched] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trunkline-watcher", daemon=True)

    def add(self, agent: Watched) -> None:
        self._agents = [*self._agents, agent]
        if len(self._agents) == 1:
            self._thread.start()

    def remove(self, agent: Watched) -> None:
        self._agents = [other for other in self._agents if other is not agent]
        if not self._agents:
            self._over.set()
            _watchers.pop(self._loop, None)

    def _run(self) -> None:
        while not self._over.wait(_PERIOD):
            if any(agent.work.is_busy() for agent in self._agents):
                self._look()

    def _look(self) -> None:
        """Asks the loop to come round, and sees what keeps it until it does."""
        came_round = threading.Event()
        try:
            self._loop.call_soon_threadsafe(came_round.set)
        except RuntimeError:
            # It was closed without its agents being stopped.
            return
        running: asyncio.Task[object] | None = None
        since, due = time.monotonic(), BLOCKED
        while not came_round.wait(_SAMPLE) and not self._over.is_set():
            now, runs = time.monotonic(), asyncio.current_task(self._loop)
            if runs is not running:
                # A loop with much to do comes round late as well; that is no single step.
                running, since, due = runs, now, BLOCKED
            elif now - since >= due:
                frame = sys._current_frames().get(self._runs_on)
                if _waits(frame):
                    # It has nothing to do, and was not let run since it was asked.
                    since, due = now, BLOCKED
                    continue
                self._tell(frame, now - since, first=due == BLOCKED)
                due = min(due * 10, due + _AGAIN)

    def _tell(self, frame: FrameType | None, lasted: float, first: bool) -> None:
        where = "" if frame is None else _place(frame)
        found = _handled(frame)
        if found is None:
            agents = ", ".join(agent.work.id for agent in self._agents)
            log.warning(
                "the event loop of agent %s has not come round for %.1f s, nothing is handled "
                "meanwhile: something else than a handler keeps it%s",
                agents,
                lasted,
                where,
            )
            return
        work, handler, task = found
        if first:
            for agent in self._agents:
                if agent.work is work:
                    agent.blocked += 1
        log.warning(
            "agent %s: the handler of %s %s has blocked the event loop for %.1f s at %s%s; await "
            "what takes long, or make it a plain function, which has a thread",
            work.id,
            handler.kind,
            handler.name,
            lasted,
            task.id,
            where,
        )


def _waits(frame: FrameType | None) -> bool:
    """Whether a thread is where a loop of asyncio waits for something to do."""
    if frame is None or frame.f_back is None or frame.f_code.co_name != "select":
        return False
    return frame.f_back.f_code is _TURN


def _place(frame: FrameType) -> str:
    return f", in {frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _handled(frame: FrameType | None) -> tuple[Work, Handler, Task] | None:
    """What is being handled where a thread is at."""
    while frame is not None:
        if frame.f_code.co_filename == _work.__file__:
            names = frame.f_locals
            work, handler, task = names.get("self"), names.get("handler"), names.get("task")
            if task is None and names.get("tasks"):
                # Of a batch the first one is told.
                task = names["tasks"][0]
            if isinstance(work, _work.Work) and handler is not None and isinstance(task, Task):
                return work, handler, task
        frame = frame.f_back
    return None


_watchers: dict[asyncio.AbstractEventLoop, _Watcher] = {}


def _watcher(loop: asyncio.AbstractEventLoop) -> _Watcher:
    known = _watchers.get(loop)
    if known is None:
        known = _watchers[loop] = _Watcher(loop)
    return known
