"""What operators do: dead letters, schedules, agents and inboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._listed import DeadLetterInfo, ScheduleInfo, to_schedule
from ._loop import current
from ._payload import to_payload
from ._spans import Span, maybe
from ._speak import SendOptions, said
from ._texts import pairs
from .errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from typing_extensions import Unpack

    from . import _native
    from ._stats import Routing, WhenFull


class Operates:
    """What can be done about the work of a broker, its agents and its inboxes."""

    __slots__ = ()

    def _speaks(self) -> _native.Host:
        raise NotImplementedError

    async def _operate(self, what: str, name: str, **told: Any) -> Any:
        told = {name: value for name, value in told.items() if value is not None}
        return await current().call(self._speaks().operate, what, name, told)

    async def redrive(
        self,
        letter: DeadLetterInfo | str,
        payload: Any = None,
        *,
        inbox: str | None = None,
        to: str | None = None,
        priority: Literal["low", "normal", "high", "urgent"] | None = None,
    ) -> str:
        """Sends a dead letter again, edited or not, as a new message.

        Args:
            letter: Which one; an id names it unless copies died in several inboxes.
            payload: Another payload than it has; `None` for its own.
            inbox: In which inbox it died, if `letter` is an id.
            to: Another agent or skill than the one in whose inbox it died.
            priority: Another priority than it has.

        Returns:
            The id of the new message.

        Raises:
            NotFoundError: It is gone.
        """
        given = None if payload is None else to_payload(payload)
        id_, inbox = _address(letter, inbox)
        return await self._operate(
            "redrive", id_, inbox=inbox, payload=given, to=to, priority=priority
        )

    async def purge(self, letter: DeadLetterInfo | str, *, inbox: str | None = None) -> None:
        """Deletes a dead letter for good.

        Args:
            letter: Which one; an id names it unless copies died in several inboxes.
            inbox: In which inbox it died, if `letter` is an id.

        Raises:
            NotFoundError: It is gone.
        """
        id_, inbox = _address(letter, inbox)
        await self._operate("purge", id_, inbox=inbox)

    async def set_schedule(
        self,
        name: str,
        cron: str,
        to: str,
        payload: Any = None,
        *,
        zone: str = "",
        **options: Unpack[SendOptions],
    ) -> ScheduleInfo:
        """Has something sent whenever a cron expression is due, across restarts.

        What goes to an agent or a skill is a task; to a topic or to several agents it is an event.

        Args:
            name: Its name; the same name again replaces it.
            cron: Minute, hour, day of month, month and day of week; a second may stand in front.
            to: `agent:ID`, `skill:NAME`, `agents:ID,ID`, `topic:A.B.C` or `all`.
            payload: What to say: bytes, str, a `Payload`, `None`, or something that JSON has.
            zone: The IANA time zone in which `cron` is read, such as `Europe/Berlin`.
            **options: See `SendOptions`.

        Raises:
            InvalidError: The expression, the zone or an option is malformed.
        """
        host, given = self._speaks(), to_payload(payload)
        await current().call(host.set_schedule, name, cron, zone, to, *given, said(options))
        (schedules, _) = await current().call(host.query, "schedules", {"name": name})
        return to_schedule(schedules[0])

    async def remove_schedule(self, name: str) -> None:
        """Has a schedule forgotten.

        Raises:
            NotFoundError: There is none of this name.
        """
        await self._operate("remove_schedule", name)

    async def set_agent(
        self,
        id: str,  # noqa: A002
        *,
        weight: int | None = None,
        draining: bool | None = None,
        healthy: bool | None = None,
    ) -> None:
        """Changes what is set about an agent; what is `None` stays as it is.

        Args:
            id: Which agent.
            weight: Its share where routing is `weighted`, 0 to 1,000.
            draining: Lets it finish what it holds and leave, or take work again.
            healthy: Whether it is fit for work; if not, it gets none.

        Raises:
            NotFoundError: There is none of this id.
        """
        await self._operate("set_agent", id, weight=weight, draining=draining, healthy=healthy)

    async def unregister(self, id: str) -> None:  # noqa: A002
        """Takes an agent out of the directory; what waits in its own inbox is parked.

        Raises:
            NotFoundError: There is none of this id.
        """
        await self._operate("unregister", id)

    async def set_inbox(
        self,
        address: str,
        *,
        when_full: WhenFull | None = None,
        wait: Span | None = None,
        limit: int | None = None,
        ttl: Span | None = None,
        routing: Routing | None = None,
        bindings: Mapping[str, tuple[str, str]] | None = None,
        reset: bool = False,
    ) -> None:
        """Changes how an inbox is run; what is `None` stays as it is.

        Args:
            address: Which inbox: `skill:NAME` or `agent:ID`.
            when_full: What happens to what comes when it is full.
            wait: How long something waits outside then.
            limit: Most messages in it, ephemeral and durable ones each; 0 for the broker's bounds.
            ttl: How long what is sent to it alone is of use; 0 for as long as the sender says.
            routing: Which of the agents that offer a skill gets what.
            bindings: Which priorities go only to agents with a label: key and value by priority.
            reset: Goes back to the broker's settings first.

        Raises:
            InvalidError: A setting is malformed.
            TooLargeError: One is out of range.
        """
        bound = (
            None
            if bindings is None
            else [(name, *_label(name, it)) for name, it in pairs("bindings", bindings)]
        )
        await self._operate(
            "set_inbox",
            address,
            when_full=when_full,
            wait=maybe(wait),
            limit=limit,
            ttl=maybe(ttl),
            routing=routing,
            bindings=bound,
            reset=reset,
        )


def _address(letter: DeadLetterInfo | str, inbox: str | None) -> tuple[str, str | None]:
    if isinstance(letter, str):
        return letter, inbox
    if not isinstance(letter, DeadLetterInfo):
        raise InvalidError(f"a letter is a DeadLetterInfo or its id, not {letter!r}")
    return letter.id, letter.inbox


def _label(name: str, given: Any) -> tuple[str, str]:
    """The label to which a priority is bound."""
    match given:
        case (str(key), str(value)):
            return key, value
        case _:
            raise InvalidError(
                f"bindings has {given!r:.100} for '{name}'; give key and value of a label, such as "
                "('tier', 'gold')"
            )
