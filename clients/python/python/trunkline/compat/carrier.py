"""The way of messages through the broker of this process.

The messages themselves stay in Python, so that a payload may be anything. What the broker carries
are bundles of them: what is sent at about the same time, with the same priority and the same time
to live, goes as one request, which is done when the last message of the bundle is.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

from .. import _native
from .._agent import next_number
from .._client import Broker
from .._loop import begun, current
from .._work import Described
from ..errors import ExpiredError, TrunklineError

if TYPE_CHECKING:
    from .messages import AgentMessage, MessagePriority

_POOL = "agent-message-broker"
_IN_FLIGHT = 4096
"""Most bundles that the broker has at a time, which is as much as one of its agents takes."""
_LARGEST = 128
"""Most messages of one bundle."""
_ALIKE = 0.01
"""How many seconds the ends of the times to live within one bundle may lie apart."""
_PATIENCE = 0.005
"""How many seconds a message waits at most for others to go with."""
_LONGEST = 365 * 86_400.0
"""The longest time to live that the broker knows, in seconds."""
_SHORTEST = 0.001

_WORDS = ("low", "normal", "high", "urgent")


class Asked:
    """Somebody who waits for an answer."""

    __slots__ = ("answer", "open")

    def __init__(self, answer: asyncio.Future[Answer]) -> None:
        self.answer = answer
        self.open = 0
        """From how many it may still come."""

    def tell(self, answer: Answer) -> None:
        """This is it."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def failed(self, reason: str) -> None:
        """One of those that were asked will not answer."""
        self.open -= 1
        if self.open == 0:
            self.tell(Answer(None, reason))


@dataclass(slots=True)
class Answer:
    """What came of a request: a response, or why there is none."""

    response: AgentMessage | None
    reason: str = ""
    timed_out: bool = False


class Parcel:
    """A message on its way to one recipient."""

    __slots__ = ("answers", "begun", "bundle", "ended", "message", "order", "ready", "to")

    def __init__(self, message: AgentMessage, to: str, answers: Asked | None, order: int) -> None:
        self.message = message
        self.to = to
        self.answers = answers
        """The request of this broker's own that it belongs to, if somebody waits."""
        self.order = order
        self.ready = False
        """Whether it waits for a worker."""
        self.begun = False
        self.ended = False
        self.bundle: Bundle | None = None


class Receiver(Protocol):
    """Who gets what is carried."""

    def arrived(self, parcels: list[Parcel]) -> None:
        """These are to be handled."""
        ...

    def is_busy(self) -> bool:
        """Whether there is enough to be handled for now."""
        ...

    def lost(self, parcel: Parcel, reason: str, expired: bool) -> None:
        """This one was not begun, and will not come."""
        ...


class Bundle:
    """Messages that go together. It is told what came of its request, as a future is."""

    __slots__ = ("_carrier", "deadline", "delivery", "left", "number", "parcels", "priority")

    def __init__(self, carrier: Carrier, priority: int, deadline: float) -> None:
        self._carrier = carrier
        self.priority = priority
        self.deadline = deadline
        self.parcels: list[Parcel] = []
        self.left = 0
        self.number = 0
        self.delivery: _native.Delivery | None = None

    def add(self, parcel: Parcel) -> None:
        """One more message."""
        self.parcels.append(parcel)
        self.left += 1
        parcel.bundle = self

    def done(self) -> bool:
        """Never: there is always something to be told."""
        return False

    def set_result(self, _result: Any) -> None:
        """Every message of it has ended."""
        self._carrier.came_back(self)

    def set_exception(self, error: BaseException) -> None:
        """It came to nothing, which is so for what had not begun."""
        self._carrier.came_back(self)
        self._carrier.lose(self, error)


class Carrier:
    """Carries messages through a broker of its own, in memory, on one event loop."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = current()
        self._asyncio = asyncio.get_running_loop()
        self._broker = Broker()
        self._host = self._broker._speaks()
        self._gathering: dict[int, Bundle] = {}
        self._outside: list[tuple[int, int, Bundle]] = []
        """What waits for the broker to have fewer bundles, most urgent first."""
        self._on_the_way: dict[int, Bundle] = {}
        self._numbers = itertools.count(1)
        self._timer: asyncio.Handle | None = None
        self._agent: _native.Agent | None = None
        self._number = next_number()

    def is_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it belongs to this event loop."""
        return loop is self._asyncio

    async def start(self) -> None:
        """Takes up what was sent by now, and what will be."""
        self._loop.agents[self._number] = self
        handlers = [Described("message", "", _IN_FLIGHT)]
        start = _native.Agent.start
        self._agent = await self._loop.call(start, self._host, self._number, _POOL, {}, handlers)

    async def close(self) -> None:
        """Ends the broker with what is still on its way."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.agents.pop(self._number, None)
        if self._agent is not None:
            self._agent.kill()
        await self._broker.close(0)

    def send(self, parcel: Parcel, remaining: float) -> None:
        """Sends a message with this many seconds to live.

        The first one of a turn of the loop goes at once, what follows in it goes together; and
        while there is enough to be handled, what is sent within a few milliseconds does.
        """
        priority: MessagePriority = parcel.message.metadata.priority
        place: int = priority.value
        deadline = time.monotonic() + remaining
        if self._timer is None and not self._receiver.is_busy():
            # Nobody has to wait for what comes in the same turn.
            self._timer = self._asyncio.call_soon(self._flush)
            bundle = Bundle(self, place, deadline)
            bundle.add(parcel)
            self._dispatch(bundle)
            return
        bundle = self._gathering.get(place)
        if (
            bundle is None
            or len(bundle.parcels) >= _LARGEST
            or abs(bundle.deadline - deadline) > _ALIKE
        ):
            if bundle is not None:
                self._dispatch(bundle)
            bundle = self._gathering[place] = Bundle(self, place, deadline)
        bundle.add(parcel)
        if self._timer is None:
            self._timer = self._asyncio.call_later(_PATIENCE, self._flush)

    def hurry(self) -> None:
        """There is little left to be handled: what was gathered goes now."""
        if self._gathering:
            self._flush()

    def send_later(self, parcel: Parcel, remaining: float, delay: float) -> None:
        """Sends a message by itself, to arrive after so many seconds."""
        place: int = parcel.message.metadata.priority.value
        bundle = Bundle(self, place, time.monotonic() + remaining)
        bundle.add(parcel)
        self._speak(bundle, delay)

    def end(self, parcel: Parcel) -> None:
        """A message that had arrived has ended."""
        bundle = parcel.bundle
        if bundle is None:
            return
        bundle.left -= 1
        if bundle.left == 0 and bundle.delivery is not None:
            self._loop.told(bundle.delivery.complete(self._loop.native, None, ""))

    def came_back(self, bundle: Bundle) -> None:
        """The broker is done with a bundle."""
        self._on_the_way.pop(bundle.number, None)
        while self._outside and len(self._on_the_way) < _IN_FLIGHT:
            self._speak(heappop(self._outside)[2])

    def lose(self, bundle: Bundle, error: BaseException) -> None:
        """What has not begun of a bundle will not."""
        expired = isinstance(error, ExpiredError)
        for parcel in bundle.parcels:
            if not parcel.begun and not parcel.ended:
                self._receiver.lost(parcel, "expired" if expired else str(error), expired)

    def begin(self, place: int, job: int, delivery: _native.Delivery) -> None:
        """A bundle has come to where it is handled."""
        bundle = self._on_the_way.get(int(delivery.payload[0]))
        if bundle is None:
            self._loop.told(delivery.complete(self._loop.native, None, ""))
            return
        bundle.delivery = delivery
        if bundle.left == 0:
            self._loop.told(delivery.complete(self._loop.native, None, ""))
        else:
            self._receiver.arrived(bundle.parcels)

    def call_off(self, job: int) -> None:
        """Its time to live has ended, of which its request tells; what was begun goes on."""

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        bundles, self._gathering = self._gathering, {}
        for bundle in bundles.values():
            self._dispatch(bundle)

    def _dispatch(self, bundle: Bundle) -> None:
        if len(self._on_the_way) < _IN_FLIGHT:
            self._speak(bundle)
        else:
            heappush(self._outside, (-bundle.priority, next(self._numbers), bundle))

    def _speak(self, bundle: Bundle, delay: float = 0.0) -> None:
        number = bundle.number = next(self._numbers)
        remaining = bundle.deadline - time.monotonic()
        told: dict[str, Any] = {
            "timeout": min(max(remaining, _SHORTEST), _LONGEST),
            "priority": _WORDS[bundle.priority],
            "durability": "ephemeral",
        }
        if delay:
            told["delay"] = delay
        self._on_the_way[number] = bundle
        to, data = f"agent:{_POOL}", str(number).encode()
        try:
            started = begun(self._host.speak, self._loop.native, "request", to, data, "", told)
        except TrunklineError as error:
            bundle.set_exception(error)
            return
        self._loop.tell(started, bundle)
