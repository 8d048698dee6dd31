"""What is sent and what is known of it: unique payloads, checked where they are handled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PAYLOAD = 256
"""Bytes of each payload."""

_NUMBER = 16


class Load:
    """The payloads of one play, and what became of each.

    Each payload that is handled is taken out of the set of those that are still to come: one that
    is not there was damaged, came twice, or came from nowhere. They are made before the play, so
    that what is measured has only that check of them.
    """

    def __init__(self, run: int, count: int, window: int) -> None:
        """Makes the payloads.

        Args:
            run: A number that no other play of the same broker has; it is in every payload.
            count: How many there are.
            window: How many may be sent and not handled at once.
        """
        filling = bytes(33 + n % 94 for n in range(run, run + PAYLOAD - _NUMBER))
        self.payloads = [b"%04x%012x" % (run % 2**16, n) + filling for n in range(count)]
        self.window = window
        self.sent = self.accepted = self.handled = self.answered = self.wrong = 0
        self._to_come = set(self.payloads)
        self._waiting: list[asyncio.Future[None]] = []
        self._most_open = 0
        """How many may be open for the first of those who wait to go on."""

    def see(self, payload: bytes) -> None:
        """A handler has a payload."""
        try:
            self._to_come.remove(payload)
            self.handled += 1
        except KeyError:
            self.wrong += 1
        if self._waiting:
            self._came()

    def see_all(self, payloads: Iterable[bytes]) -> None:
        """A handler has several payloads."""
        these, before = list(payloads), len(self._to_come)
        self._to_come.difference_update(these)
        good = before - len(self._to_come)
        self.handled += good
        self.wrong += len(these) - good
        if self._waiting:
            self._came()

    def answer(self, asked: bytes, answer: bytes) -> None:
        """A caller has an answer, which must be what was asked."""
        if asked == answer:
            self.answered += 1
        else:
            self.wrong += 1

    @property
    def open(self) -> int:
        """How many are sent and did not come to a handler, be it in good order or not."""
        return self.sent - self.handled - self.wrong

    @property
    def full(self) -> bool:
        """Whether no more may be sent for now."""
        return self.open >= self.window

    async def room(self) -> None:
        """Waits until half of the window is free."""
        await self._until(self.window // 2)

    async def all_handled(self) -> None:
        """Waits until everything that was sent came to a handler."""
        await self._until(0)

    async def _until(self, most: int) -> None:
        while self.open > most:
            self._most_open = max(self._most_open, most) if self._waiting else most
            going_on = asyncio.get_running_loop().create_future()
            self._waiting.append(going_on)
            await going_on

    def _came(self) -> None:
        if self.open <= self._most_open:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)
