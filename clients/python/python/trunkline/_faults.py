"""Faults by a seed: what happens to handlers in a test."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._ends import Retry
from .errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from ._task import Task
    from ._work import Handler

_AWAITS = 8
"""Before which of the awaits of a handler its agent dies at the latest."""

_Loss: TypeAlias = 'Literal["crash", "redelivery", "lost"]'
"""What has the work come again."""

_TURNS = 20
"""For how many turns of the event loop a delivery is held back at most."""


@dataclass(slots=True)
class Fault:
    """What happened to a delivery."""

    what: Literal["crash", "redelivery", "lost", "delay"]
    """Its kind, see `Faults`."""
    handler: str
    """The handler's kind and name, such as `skill review`."""
    attempt: int
    """At which attempt, from 1."""
    payload: bytes
    """What was delivered."""


@dataclass
class Faults:
    """What happens to the handlers of agents, and how likely each is.

    What happens to one delivery of a batch happens to all of it. The same seed makes the same
    faults for the same payloads, in whatever order these come. What cannot be told beforehand is
    the order in which an event loop runs handlers that run at once, at which real time, and what
    comes in one batch.

    Raises:
        InvalidError: A likelihood is none, which is from 0 to 1, or `most` is no count.
    """

    seed: int = 0
    """Decides all of them."""
    crash: float = 0.0
    """The agent dies at one of the awaits of the handler, which goes no further: not even
    `except` runs, and nothing is awaited any longer. A plain function has no such place, and dies
    at its end."""
    redelivery: float = 0.0
    """The handler ends, and what it came to is lost on its way, so that the work comes again."""
    lost: float = 0.0
    """The session is lost as the handler begins: the work comes again at once, while the handler
    goes on and does not know, and what it comes to counts no longer. Other than with
    `TestBroker.lose`, what else the agent holds is left alone, the reason of the attempt says that
    it was a fault, circuit breakers and the agent's figures count it as a retry, and its session
    still takes what the handler sends."""
    delay: float = 0.0
    """The handler begins late, so that others overtake it. Not for plain functions."""
    most: int = 2
    """How many crashes, redeliveries and lost sessions a message meets at most; by default a task
    with the usual three attempts does not end by faults alone."""
    injected: list[Fault] = field(default_factory=list[Fault], repr=False)
    """What has happened so far."""
    _adrift: set[asyncio.Future[Any]] = field(
        default_factory=set["asyncio.Future[Any]"], init=False, repr=False
    )
    """Handlers that go on after their session was lost."""
    _met: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)
    _same: dict[tuple[str, bytes], list[str]] = field(
        default_factory=dict[tuple[str, bytes], "list[str]"], init=False, repr=False
    )

    def __post_init__(self) -> None:
        for what in ("crash", "redelivery", "lost", "delay"):
            share: object = getattr(self, what)
            if type(share) not in (int, float) or not 0 <= share <= 1:  # pyright: ignore[reportOperatorIssue]
                raise InvalidError(f"{what} is {share!r:.50}, it is a share from 0 to 1")
        if type(self.most) is not int or self.most < 0:
            raise InvalidError(f"most is {self.most!r:.50}, it is a whole number from 0 on")

    def into(self, handler: Handler) -> Handler:
        """A handler to which faults happen; one in processes is left alone."""
        if handler.on == "loop":
            return replace(handler, call=self._on_loop(handler))
        if handler.on == "threads":
            return replace(handler, call=self._on_thread(handler))
        return handler

    def _on_loop(self, handler: Handler) -> Callable[[Any], Any]:
        async def call(given: Any) -> Any:
            tasks = _all(given)
            draws = [self._draw(handler, task) for task in tasks]
            late = [draw for draw in draws if draw.random() < self.delay]
            if late:
                self._note("delay", handler, tasks[draws.index(late[0])])
                for _ in range(late[0].randint(1, _TURNS)):
                    await asyncio.sleep(0)
            if self._happens("lost", handler, tasks, draws):
                adrift = asyncio.ensure_future(handler.call(given))
                self._adrift.add(adrift)
                adrift.add_done_callback(self._came_to)
                # It begins before its work comes again.
                await asyncio.sleep(0)
                raise _lost("the session was lost")
            if self._happens("crash", handler, tasks, draws):
                await _Dying(handler.call(given), draws[0].randrange(_AWAITS))
                raise _lost("the agent died while it handled this")
            result = await handler.call(given)
            if self._happens("redelivery", handler, tasks, draws):
                raise _lost("what the handler came to was lost")
            return result

        return call

    def _on_thread(self, handler: Handler) -> Callable[[Any], Any]:
        def call(given: Any) -> Any:
            tasks = _all(given)
            draws = [self._draw(handler, task) for task in tasks]
            if self._happens("lost", handler, tasks, draws):
                run = partial(contextvars.copy_context().run, _unasked, handler, given)
                threading.Thread(target=run, name="trunkline-adrift", daemon=True).start()
                raise _lost("the session was lost")
            result = handler.call(given)
            for what in ("crash", "redelivery"):
                if self._happens(what, handler, tasks, draws):
                    raise _lost("what the handler came to was lost")
            return result

        return call

    def _came_to(self, adrift: asyncio.Future[Any]) -> None:
        """Nobody asks what such a handler came to."""
        self._adrift.discard(adrift)
        if not adrift.cancelled():
            adrift.exception()

    def end(self) -> None:
        """Cancels the handlers that still go on after their session was lost."""
        for adrift in self._adrift:
            adrift.cancel()

    def _draw(self, handler: Handler, task: Task) -> Random:
        """What decides about a delivery: the seed, and what is the same in every run."""
        name, digest = _name(handler), hashlib.sha256(task.data).digest()
        same = self._same.setdefault((name, digest), [])
        if task.id not in same:
            same.append(task.id)
        nth = same.index(task.id)
        return Random(f"{self.seed}/{name}/{digest.hex()}/{nth}/{task.attempt}")

    def _happens(
        self,
        what: _Loss,
        handler: Handler,
        tasks: list[Task],
        draws: list[Random],
    ) -> bool:
        """Whether this happens to a delivery, or to one of a batch and so to all of it."""
        share: float = getattr(self, what)
        hit = [task for task, draw in zip(tasks, draws, strict=True) if draw.random() < share]
        if not hit or any(self._met.get(task.id, 0) >= self.most for task in tasks):
            return False
        for task in tasks:
            self._met[task.id] = self._met.get(task.id, 0) + 1
        self._note(what, handler, hit[0])
        return True

    def _note(self, what: _Loss | Literal["delay"], handler: Handler, task: Task) -> None:
        self.injected.append(Fault(what, _name(handler), task.attempt, task.data))


class _Dying:
    """Awaits a coroutine up to one of its awaits, and lets it go there."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaits: int) -> None:
        self._coroutine = coroutine
        self._awaits = awaits

    def __await__(self) -> Generator[Any, Any, None]:
        left, error = self._awaits, None
        while True:
            try:
                if error is None:
                    awaited = self._coroutine.send(None)
                else:
                    awaited = self._coroutine.throw(error)
            except StopIteration:
                return
            if left == 0:
                self._coroutine.close()
                return
            left, error = left - 1, None
            try:
                yield awaited
            except BaseException as thrown:
                error = thrown


def _unasked(handler: Handler, given: Any) -> None:
    """Runs a handler of which nobody asks what it came to."""
    with suppress(Exception):
        handler.call(given)


def _all(given: Any) -> list[Task]:
    """The deliveries that a handler was given: one, or those of a batch."""
    return list(given) if isinstance(given, list) else [given]  # pyright: ignore[reportUnknownArgumentType]


def _name(handler: Handler) -> str:
    return f"{handler.kind} {handler.name}".strip()


def _lost(why: str) -> Retry:
    return Retry(f"a fault of the test: {why}", after=0)
