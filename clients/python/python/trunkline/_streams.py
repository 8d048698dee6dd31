"""What comes one by one: events, what happens to a task, and who comes and goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ._reading import Reader
from ._values import AgentNews, Event, Update, to_agent, to_update

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from . import _native


class Subscription:
    """The events of a subscription, in order, as an async iterator; see `Client.subscribe`.

    Taking an event acknowledges it. Who is cancelled while waiting for one, as by
    `asyncio.wait_for`, has taken none: whoever asks next gets it. This side holds at most 1,024
    events that were not taken; what comes beyond is dropped by the broker, and the next event says
    how many were (`Event.missed`).
    """

    __slots__ = ("_closed", "_events", "_host", "_reader", "_ready", "_wanted")

    def __init__(self, host: _native.Host, *wanted: Any) -> None:
        """Called by `Client.subscribe`."""
        self._host = host
        self._wanted = wanted
        self._events: _native.Events | None = None
        self._reader = Reader()
        self._ready: list[Any] = []
        self._closed = False

    async def _open(self) -> Self:
        if self._events is None and not self._closed:
            events = await self._reader.read(self._host.subscribe, *self._wanted)
            if self._closed:
                events.close()
            else:
                self._events = events
        return self

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        try:
            return await self._open()
        except asyncio.CancelledError:
            # Nobody will leave what was not entered.
            self._reader.forget()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._ready:
            await self._open()
            if self._events is None:
                raise StopAsyncIteration
            events = await self._reader.read(self._events.next)
            if events is None:
                raise StopAsyncIteration
            events.reverse()
            self._ready = events
        return Event(*self._ready.pop())

    def close(self) -> None:
        """Ends the subscription; who iterates comes to an end. Closing twice does no harm."""
        self._closed = True
        self._ready = []
        if not self._reader.is_awaited:
            self._reader.forget()
        events, self._events = self._events, None
        if events is not None:
            events.close()


class Watch:
    """What happens to a task, in order, to its end, as an async iterator; see `Client.watch`.

    Who is cancelled while waiting for an update has taken none.
    """

    __slots__ = ("_after", "_host", "_id", "_reader", "_updates")

    def __init__(self, host: _native.Host, id: str, after: int) -> None:  # noqa: A002
        """Called by `Client.watch`."""
        self._host = host
        self._id = id
        self._after = after
        self._reader = Reader()
        self._updates: _native.Updates | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        updates = self._updates
        if updates is None:
            updates = await self._reader.read(self._host.watch, self._id, self._after)
            self._updates = updates
        assert updates is not None
        update = await self._reader.read(updates.next)
        if update is None:
            raise StopAsyncIteration
        return to_update(update)


class AgentWatch:
    """Who is there, and then what changes, as an async iterator; see `Client.watch_agents`.

    One that falls more than 1,024 news behind gets only the latest of each agent. Who is cancelled
    while waiting for news has taken none.
    """

    __slots__ = ("_host", "_news", "_reader", "_wanted")

    def __init__(self, host: _native.Host, wanted: dict[str, Any]) -> None:
        """Called by `Client.watch_agents`."""
        self._host = host
        self._wanted = wanted
        self._reader = Reader()
        self._news: _native.News | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AgentNews:
        news = self._news
        if news is None:
            news = await self._reader.read(self._host.watch_agents, self._wanted)
            self._news = news
        assert news is not None
        told = await self._reader.read(news.next)
        if told is None:
            raise StopAsyncIteration
        event, snapshot, agent = told
        return AgentNews(event, snapshot, to_agent(agent))
