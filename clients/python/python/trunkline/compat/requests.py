"""Who waits for an answer, by the correlation ids of the requests."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import InvalidError
from .carrier import Answer, Asked
from .messages import AgentMessage

if TYPE_CHECKING:
    from collections.abc import Generator


class Requests:
    """The requests that wait for an answer."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        """There are none yet."""
        self._waiting: dict[str, Asked] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def asked(self, request: AgentMessage) -> Generator[Asked]:
        """Has a request wait.

        Raises:
            InvalidError: It is none, or one with its correlation id waits already.
        """
        if not isinstance(request, AgentMessage) or not request.is_request():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"{request} is no request; only a request is answered")
        correlation = request.metadata.correlation_id
        if correlation in self._waiting:
            raise InvalidError(f"a request with the correlation id '{correlation}' waits already")
        asked = self._waiting[correlation] = Asked(asyncio.get_running_loop().create_future())
        try:
            yield asked
        finally:
            del self._waiting[correlation]

    def of(self, correlation: str) -> Asked | None:
        """Who waits under a correlation id."""
        return self._waiting.get(correlation)

    def answered_by(self, message: AgentMessage) -> Asked | None:
        """Who waits for this message, if it is an answer."""
        return self.of(message.metadata.correlation_id) if message.is_response() else None

    def end(self, reason: str) -> None:
        """None of them will be answered any longer."""
        for asked in self._waiting.values():
            asked.tell(Answer(None, reason))


async def answer_within(asked: Asked, timeout: float | None) -> Answer:
    """Waits for an answer, at most so many seconds."""
    if timeout is None:
        return await asked.answer
    late = Answer(None, f"no answer within {timeout:g} s", timed_out=True)
    timer = asyncio.get_running_loop().call_later(timeout, asked.tell, late)
    try:
        return await asked.answer
    finally:
        timer.cancel()
