"""One delivery in the hands of its handler."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from operator import index
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import _msgpack, _tracing
from ._loop import current
from ._payload import Payload, from_json, to_payload
from ._processes import Message
from ._speak import Sender
from .errors import InvalidError, LoopError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from . import _native

T = TypeVar("T")

at_work: ContextVar[Task | None] = ContextVar("trunkline_task", default=None)
"""The delivery that is being handled here."""


class Handles(Protocol):
    """The running agent that has a delivery."""

    async def waited(self, work: Coroutine[Any, Any, T], /) -> T:
        """Runs what one of its plain handlers waits for."""
        ...


class Task(Sender):
    """One delivery and everything that can be said about it: a task, a request or an event alike.

    What it sends is made known as caused by it. While it awaits a reply to its own request, another
    delivery may use its place, so that agents can ask each other in a circle.
    """

    __slots__ = ("_data", "_delivery", "_loop", "_of")

    def __init__(
        self, delivery: _native.Delivery, loop: asyncio.AbstractEventLoop, of: Handles
    ) -> None:
        """Called by the agent."""
        self._delivery = delivery
        self._loop = loop
        self._of = of
        self._data = delivery.data

    def _speaks(self) -> _native.Delivery:
        return self._delivery

    def is_of(self, work: object) -> bool:
        """Whether it is a delivery of this running agent."""
        return self._of is work

    @property
    def id(self) -> str:
        """The id of the message, and of the task if it is one."""
        return self._delivery.id

    @property
    def data(self) -> bytes:
        """What was said."""
        return self._data

    @property
    def content_type(self) -> str:
        """The media type of what was said; empty when nothing is said of it."""
        return self._delivery.content_type

    @property
    def text(self) -> str:
        """What was said, read as UTF-8, with a replacement character for what is not."""
        return self._data.decode(errors="replace")

    @property
    def json(self) -> Any:
        """What was said, read as JSON.

        Raises:
            PayloadError: It is no JSON. Left uncaught, it fails the task: another attempt would
                find the same.
        """
        return from_json(self._data)

    @property
    def msgpack(self) -> Any:
        """What was said, read as MessagePack, which needs the package `msgpack`.

        Raises:
            PayloadError: It is no MessagePack. Left uncaught, it fails the task.
            MissingPackageError: `msgpack` is not installed.
        """
        return _msgpack.unpacked(self._data)

    @property
    def kind(self) -> str:
        """What the message is for: `request`, `event`, `broadcast`, …."""
        return self._delivery.kind

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The free fields of the sender, in their order."""
        return self._delivery.headers

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for known, value in self._delivery.headers if known == name), None)

    @property
    def context(self) -> str | None:
        """The conversation that it belongs to."""
        return self._delivery.context

    @property
    def source(self) -> str | None:
        """The agent that sent it; `None` for a client that is no agent."""
        return self._delivery.source

    @property
    def skill(self) -> str | None:
        """The skill that is wanted, if it came by one."""
        return self._delivery.skill

    @property
    def topic(self) -> str | None:
        """Where it was published, if it is an event of a topic."""
        return self._delivery.topic

    @property
    def traceparent(self) -> str | None:
        """The W3C `traceparent` of the sender."""
        return self._delivery.traceparent

    @property
    def correlation(self) -> str | None:
        """The id of the message that it answers, if its sender said so."""
        return self._delivery.correlation

    @property
    def is_task(self) -> bool:
        """Whether it has a life of its own: states, progress, artifacts."""
        return self._delivery.is_task

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._delivery.attempt

    @property
    def remaining(self) -> float | None:
        """How many seconds of its time to live remain; the handler is cancelled then."""
        return self._delivery.remaining

    @property
    def messages(self) -> list[Payload]:
        """What its caller said since, if it was paused."""
        return [Payload(*payload) for payload in self._delivery.messages]

    @property
    def cancelled(self) -> bool:
        """Whether it was called off. A plain handler that takes long looks at it now and then."""
        return self._delivery.cancelled

    def message(self) -> Message:
        """What was sent, without a way to the broker: it can go to another process."""
        return Message(
            self._data,
            self.content_type,
            self.id,
            self.headers,
            self.context,
            self.source,
            self.skill,
            self.attempt,
            self.messages,
            self.traceparent,
        )

    def traced(self) -> AbstractContextManager[None]:
        """Has the span of the sender be OpenTelemetry's current one, for a handler of batches.

        A handler of one task runs within it anyway. Without OpenTelemetry's API, or a span to
        come from, it does nothing.
        """
        return _tracing.within(self)

    async def progress(self, percent: int, text: str = "") -> None:
        """Says how far the work is. Of a delivery that is no task it says nothing.

        It does not wait for the broker, whose refusal a later `progress` raises.

        Args:
            percent: From 0 to 100.
            text: What is being done, for people.

        Raises:
            Refused: The delivery is somebody else's by now, or the session has ended.
        """
        try:
            percent = index(percent)
        except TypeError:
            raise InvalidError(
                f"progress is {percent!r:.50}, a whole number from 0 to 100 is wanted"
            ) from None
        if not 0 <= percent <= 100:
            raise InvalidError(f"progress is {percent}, the range is 0 to 100")
        await current().call(self._delivery.progress, percent, text)

    async def artifact(
        self, name: str, chunk: Any, *, append: bool = True, last: bool = False
    ) -> None:
        """Adds a piece of a result, which whoever watches the task gets at once.

        Args:
            name: Which artifact.
            chunk: The piece: bytes, str, a `Payload`, or something that JSON has.
            append: Whether it continues the artifact; otherwise it begins it anew.
            last: Whether it completes the artifact.

        Raises:
            Refused: The piece is over the limit, this is no task, or the delivery is somebody
                else's by now.
        """
        data, content_type = to_payload(chunk)
        await current().call(self._delivery.artifact, name, data, content_type, append, last)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the agent's event loop from a plain handler, and waits for it.

        For example `task.wait(task.progress(50))`.

        Raises:
            LoopError: This is the event loop's own thread; use `await` there.
            UsageError: It would wait for its own agent to stop, and so for itself.
        """
        if not isinstance(work, Coroutine):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"`task.wait` takes a coroutine, such as `task.progress(50)`, not {work!r:.50}"
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(self._of.waited(work), self._loop).result()
        work.close()
        raise LoopError("an event loop runs in this thread; use `await` instead of `task.wait`")


def current_task() -> Task | None:
    """The delivery that is being handled here; `None` outside of a handler."""
    return at_work.get()
