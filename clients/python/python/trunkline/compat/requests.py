"""Who waits for an answer, by the correlation ids of the requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidError
from .messages import AgentMessage

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Answer:
    """What came of a request: a response, or why there is none."""

    response: AgentMessage | None
    reason: str = ""
    timed_out: bool = False


class Asked:
    """Somebody who waits for an answer."""

    __slots__ = ("_answer", "_loop", "open")

    def __init__(self) -> None:
        """Waits on the loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Answer] = self._loop.create_future()
        self.open = 0
        """From how many it may still come."""

    def tell(self, answer: Answer) -> None:
        """This is it."""
        if not self._answer.done():
            self._answer.set_result(answer)

    def failed(self, reason: str) -> None:
        """One of those that were asked will not answer."""
        self.open -= 1
        if self.open == 0:
            self.tell(Answer(None, reason))

    async def within(self, timeout: float | None) -> Answer:
        """The answer, or that there is none within so many seconds."""
        if timeout is None or self._answer.done():
            return await self._answer
        timer = self._loop.call_later(timeout, self._late, timeout)
        try:
            return await self._answer
        finally:
            timer.cancel()

    def _late(self, timeout: float) -> None:
        self.tell(Answer(None, f"no answer within {timeout:g} s", timed_out=True))


class Requests:
    """The requests that wait for an answer."""

    __slots__ = ("_waiting", "of")

    def __init__(self) -> None:
        """There are none yet."""
        self._waiting: dict[str, Asked] = {}
        self.of = self._waiting.get
        """Who waits under a correlation id."""

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, request: AgentMessage) -> Asked:
        """Has a request wait.

        Raises:
            InvalidError: It is none, or one with its correlation id waits already.
        """
        if not isinstance(request, AgentMessage) or not request.is_request():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"{request} is no request; only a request is answered")
        correlation = request.metadata.correlation_id
        if correlation in self._waiting:
            raise InvalidError(f"a request with the correlation id '{correlation}' waits already")
        asked = self._waiting[correlation] = Asked()
        return asked

    def end(self, request: AgentMessage) -> None:
        """Nobody waits for its answer any longer."""
        del self._waiting[request.metadata.correlation_id]

    def all(self) -> Iterable[Asked]:
        """Everybody who waits."""
        return list(self._waiting.values())
