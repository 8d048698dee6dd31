"""What each who is compared has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..counts import Turn
    from ..load import Load
    from ..work import Work


class Side(Protocol):
    """One of those who are compared, in a turn of its own."""

    def play(self, work: Work, load: Load) -> Turn:
        """Does the work with all of the load.

        Raises:
            DisagreementError: Counts do not agree.
        """
        ...

    def close(self) -> None:
        """Ends it and the processes that it started."""
        ...


class AsyncSide:
    """A side that is driven by coroutines, which is all but one of them.

    `drive` calls what is here in the order in which it stands.
    """

    senders = 1
    """How many coroutines send one-way messages; several where each waits for an acceptance."""
    lists: int | None = None
    """How many one-way messages are handed over at once by `tell_all`; `None` for one by `tell`."""
    window: int | None = None
    """How many one-way messages may be open, where fewer are taken than the work allows."""

    def __init__(self) -> None:
        self.others: list[int] = []
        """The processes besides this one that work for it."""

    async def open(self) -> None:
        """Connects. Called once, before anything is played."""

    async def begin(self, work: Work, load: Load) -> None:
        """Puts a handler up that sees the payloads and answers requests with what they have."""
        raise NotImplementedError

    def messages(self, work: Work, load: Load) -> list[Any]:
        """The messages that have the payloads, made before the play."""
        return load.payloads

    async def tell(self, message: Any) -> None:
        """Sends a message one way; returns when this side has taken it."""
        raise NotImplementedError

    async def tell_all(self, messages: list[Any]) -> int:
        """Sends many messages one way; returns how many of them this side has taken."""
        raise NotImplementedError

    async def request(self, message: Any) -> bytes:
        """Sends a request and waits for its answer."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Waits until everything that was handled is acknowledged, as far as this side can."""

    async def end(self) -> tuple[int | None, int]:
        """Takes the handler down.

        Returns:
            How many the broker says are settled, if it counts them, and how many it still has.
        """
        return None, 0

    async def shut(self) -> None:
        """Ends the connections."""
