"""Who waits for an answer, by the correlation ids of the requests."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from ..errors import InvalidError
from .messages import AgentMessage, check_message

_SPARE = 1024
"""How many times of requests that were answered are kept at least."""


@dataclass(slots=True)
class Answer:
    """What came of a request: a response, or why there is none."""

    response: AgentMessage | None
    reason: str = ""
    timed_out: bool = False


class Asked:
    """Somebody who waits for an answer."""

    __slots__ = ("answer", "correlation", "id", "number", "open")

    def __init__(
        self,
        answer: asyncio.Future[AgentMessage | Answer],
        correlation: str,
        id: str,  # noqa: A002
    ) -> None:
        """Waits in this future, for a response or for why there is none."""
        self.answer = answer
        self.id = id
        """That of the message that asks."""
        self.correlation = correlation
        """The id under which it waits, whatever becomes of that in the message."""
        self.number = 0
        """Which of the requests that wait for a limited time it is."""
        self.open = 1
        """From how many it may still come."""

    def tell(self, answer: AgentMessage | Answer) -> None:
        """This is it."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def failed(self, reason: str) -> None:
        """One of those that were asked will not answer."""
        self.open -= 1
        if self.open == 0:
            self.tell(Answer(None, reason))


class Requests:
    """The requests that wait for an answer, and the times at which they wait no longer.

    One timer of the loop serves all of them: most are answered long before their time is over, and
    a timer for each costs more than all else about waiting.
    """

    __slots__ = ("_by_id", "_count", "_timer", "_times", "_waiting", "_wakes_at", "of", "of_id")

    def __init__(self) -> None:
        """There are none yet."""
        self._waiting: dict[str, Asked] = {}
        self._by_id: dict[str, Asked] = {}
        self._times: list[tuple[float, int, str, float]] = []
        self._count = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        """When the timer is due, which a handle of uvloop for at once does not tell."""
        self.of = self._waiting.get
        """Who waits under a correlation id."""
        self.of_id = self._by_id.get
        """Who waits for the answer to the message of an id."""

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, request: AgentMessage) -> Asked:
        """Has a request wait.

        Raises:
            InvalidError: It is none, or one with its correlation id waits already.
        """
        if not isinstance(request, AgentMessage) or not request.is_request():  # pyright: ignore[reportUnnecessaryIsInstance]
            check_message(request)
            raise InvalidError(f"{request} is no request; only a request is answered")
        try:
            correlation, id_ = request.metadata.correlation_id, request.message_id
            if correlation not in self._waiting:
                future = asyncio.get_running_loop().create_future()
                asked = self._by_id[id_] = Asked(future, correlation, id_)
                self._waiting[correlation] = asked
                return asked
        except (AttributeError, TypeError):
            check_message(request)
            raise
        raise InvalidError(f"a request with the correlation id '{correlation}' waits already")

    def limit(self, asked: Asked, timeout: float) -> None:
        """Has it wait for so many seconds from now at most."""
        loop = asyncio.get_running_loop()
        times = self._times
        if len(times) > _SPARE + 2 * len(self._waiting):
            times[:] = [one for one in times if self._still(one[2], one[1]) is not None]
            heapify(times)
        at = loop.time() + timeout
        number = asked.number = next(self._count)
        heappush(times, (at, number, asked.correlation, timeout))
        if self._timer is None or at < self._wakes_at:
            self._wake(loop, at)

    def _still(self, correlation: str, number: int) -> Asked | None:
        """Who waits under the id, if it is the one of this number."""
        asked = self._waiting.get(correlation)
        return asked if asked is not None and asked.number == number else None

    def end(self, asked: Asked) -> None:
        """Nobody waits for its answer any longer."""
        self._waiting.pop(asked.correlation, None)
        other = self._by_id.pop(asked.id, asked)
        if other is not asked:
            # Another message of this id waits.
            self._by_id[asked.id] = other

    def close(self, reason: str) -> None:
        """None of them will be answered any longer."""
        for asked in self._waiting.values():
            asked.tell(Answer(None, reason))
        self._times.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes_at = loop.call_at(at, self._look, loop), at

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tells those whose time is over, and comes again for the next."""
        self._timer = None
        now, times = loop.time(), self._times
        while times:
            at, number, correlation, timeout = times[0]
            asked = self._still(correlation, number)
            if asked is not None:
                if at > now:
                    break
                asked.tell(Answer(None, f"no answer within {timeout:g} s", timed_out=True))
            heappop(times)
        if times:
            self._wake(loop, times[0][0])
