"""A broker, in this process or elsewhere, as its callers see it."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING, Any, Literal

from . import _native
from ._asking import Asks
from ._loop import begun, current
from ._operating import Operates
from ._payload import to_payload
from ._settings import BrokerSettings, LimitSettings, LogSettings, plain
from ._spans import Span, seconds
from ._speak import Sender
from ._streams import Subscription, Watch
from ._values import Reply
from .errors import InvalidError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._work import Handler


class Client(Asks, Operates, Sender):
    """A way to a broker, made by `connect`; a `Broker` is one as well.

    It may be used by any number of coroutines and event loops. Nothing is dialled before the first
    call. A lost connection is made anew by itself, and what is on its way then is sent again and
    accepted once.
    """

    __slots__ = ("__weakref__", "_host")

    def __init__(self, host: _native.Host) -> None:
        """Called by `connect`."""
        self._host = host

    def _speaks(self) -> _native.Host:
        return self._host

    def _faulty(self, handlers: list[Handler]) -> list[Handler]:
        """The handlers of an agent that is started here, as `trunkline.testing` has them run."""
        return handlers

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._host.closed

    async def close(self) -> None:
        """Ends the connection; calls that still wait are told so. Closing twice does no harm."""
        await current().call(self._host.close, 0.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def subscribe(
        self,
        pattern: str,
        *,
        filter: str | None = None,  # noqa: A002
        group: str | None = None,
        drop_oldest: bool = False,
    ) -> Subscription:
        """Subscribes to topics for as long as the subscription is open.

        It is an async iterator, to be used as `async with client.subscribe(...) as events`, or as
        `events = await client.subscribe(...)`; both return when the broker has confirmed it.

        Args:
            pattern: Topics; `*` stands for one token, `>` for the rest.
            filter: Only the events that this CEL expression wants.
            group: Share the events with the other members of this group.
            drop_oldest: Drop the oldest event that waits rather than the new one when there are
                too many.
        """
        return Subscription(self._host, pattern, filter, group, drop_oldest)

    async def wait(self, id: str) -> Reply:  # noqa: A002
        """Waits for the result of a task that was sent earlier, by whomever.

        Raises:
            NotFoundError: There is none of this id.
            Unanswered: The task ended without an answer.
        """
        return Reply(*await current().call(self._host.wait, id))

    def watch(self, id: str, after: int = 0) -> Watch:  # noqa: A002
        """Follows a task from the event after number `after` to its end, as an async iterator."""
        return Watch(self._host, id, after)

    async def cancel(
        self,
        id: str,  # noqa: A002
        reason: str = "",
        *,
        descendants: bool = False,
    ) -> int:
        """Calls a message off, and with `descendants` every task that was made while handling it.

        Returns:
            How many messages were called off.

        Raises:
            NotFoundError: There is none of this id.
            WrongStateError: It has ended.
        """
        (messages,) = await current().call(self._host.cancel, id, reason, descendants)
        return messages

    async def continue_task(self, id: str, payload: Any = None) -> None:  # noqa: A002
        """Answers what a paused task waits for.

        Raises:
            WrongStateError: It waits for nothing.
        """
        await current().call(self._host.continue_task, id, *to_payload(payload))


class Broker(Client):
    """The whole broker in this process: no server, no socket.

    It is opened when it is made. In memory it forgets everything with the process; with `data` it
    keeps accepted work in that directory, which is made if it is not there and which one broker at
    a time may have. What was not closed when the process ends is closed then.
    """

    __slots__ = ()

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        limits: LimitSettings | None = None,
        log: LogSettings | None = None,
        **settings: Unpack[BrokerSettings],
    ) -> None:
        """Opens the broker.

        Its settings have the names, the ranges and the meaning of the configuration file, so that
        one that `tomllib` has read goes in as `Broker(**file["broker"], limits=file["limits"])`.

        Recovering what a large directory holds takes a while; within an event loop
        `await asyncio.to_thread(Broker, data)` does it elsewhere.

        Args:
            data: The data directory; `None` for a broker in memory.
            limits: The section `limits`: bounds on what may be sent.
            log: The section `log`.
            **settings: The section `broker`, such as `lease="1m"` or `breaker_failures=0`.

        Raises:
            InvalidError: There is no such setting, or it is out of its range.
            OpenError: The directory is in use, damaged, or of a newer version.
        """
        for name, section in (("limits", limits), ("log", log)):
            if section is not None and not isinstance(section, dict):
                raise InvalidError(f"{name} is {section!r}; give a dict of settings")
        if data is not None and not isinstance(data, (str, os.PathLike)):
            raise InvalidError(f"data is {data!r}; give the path of a directory")
        sections = {
            "broker": plain(settings),
            "limits": plain(limits or {}),
            "log": plain(log or {}),
        }
        place = None if data is None else os.fspath(data)
        super().__init__(begun(_native.Host.broker, place, sections))
        _open.add(self)

    async def close(self, grace: Span = 10.0) -> None:
        """Takes nothing new, has every agent finish what it holds, and closes the log.

        Args:
            grace: How long agents may take; what is not finished then is delivered again by the
                next broker, or lost if it was ephemeral.
        """
        await current().call(self._host.close, seconds(grace))

    def _close_now(self) -> None:
        self._host.close_now(0.0)


_open: weakref.WeakSet[Broker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for broker in list(_open):
        broker._close_now()


def connect(
    address: str = "localhost:7420",
    *,
    principal: str | None = None,
    tenant: str | None = None,
    transport: Literal["auto", "framed", "grpc"] = "auto",
) -> Client:
    """Makes a way to a broker elsewhere. Nothing is dialled before the first call.

    Args:
        address: Where it listens: `host:port` or `http://host:port`.
        principal: Who to say is speaking, for a broker that takes a caller's word.
        tenant: For which tenant it acts.
        transport: What carries the messages: `framed` is a plain stream, `grpc` passes through
            proxies, `auto` takes the first of these that the broker speaks.

    Raises:
        InvalidError: The address or a setting is malformed.
    """
    if not isinstance(address, str):
        raise InvalidError(f"an address is a text such as 'localhost:7420', not {address!r}")
    url = address if "://" in address else f"http://{address}"
    return Client(begun(_native.Host.client, url, principal, tenant, transport))
