"""How messages are sent in a drop-in broker."""

from __future__ import annotations

from asyncio import get_running_loop
from datetime import datetime

from .belonging import STOPPED, Belonging
from .messages import AgentIdentity, AgentMessage, check_message
from .place import Place, at_work
from .requests import Answer, Asked
from .said import topic_of

now = datetime.now

_NEVER = 0
"""How often what is new was tried again; there is one zero in Python, so that `is` finds it."""
_FULL = "queue_full"


class Posting(Belonging):
    """Takes messages in, if they are some and there is room for them."""

    async def send_message(self, message: AgentMessage) -> bool:
        """Sends a message to its recipients, to the subscribers of its topic, or to everybody.

        An event without recipients goes to the subscribers of the topic that its payload names,
        anything else without recipients to every registered agent.

        Returns:
            Whether it was accepted. It is not if the broker was stopped, or if the queue is full
            and stays so for a second; then it is a dead letter.

        Raises:
            InvalidError: It is no `AgentMessage`.
            LoopError: The broker is at work on another event loop.
        """
        accepted = self._post(message, None)
        return await self._wait_and_post(message, None) if accepted is None else accepted

    def _place(self) -> Place | None:
        """The place of the handler of this broker that runs here."""
        here = at_work.get()
        if here is None:
            return None
        letter, runner = here
        return runner.lends() if runner.letter is letter and runner.is_of(self._pool) else None

    def _to(self, message: AgentMessage) -> list[AgentIdentity]:
        if message.recipients:
            return message.recipients
        if message.is_event():
            return self._subscribed(topic_of(message.payload))
        return [identity for identity, _ in self._agents.values()]

    def _post(
        self, message: AgentMessage, asked: Asked | None, *, has_room: bool = False
    ) -> bool | None:
        """Sends a message and tells whether it was accepted; `None` if there is no room."""
        if type(message) is not AgentMessage:
            check_message(message)
        try:
            about, waits = message.metadata, None
            # Its user may have changed it since it was made. To look at what a payload is would
            # cost each message that is well the time to fetch it.
            if (
                message.payload is not message.seen_payload
                or about.retry_count is not _NEVER
                or message.sender.agent_id is None  # pyright: ignore[reportUnnecessaryComparison]
            ):
                check_message(message)
            if message.message_type.answers:
                waits = self._requests.of(about.correlation_id)
                if waits is None and about.reply_to is not None:
                    waits = self._requests.of_id(about.reply_to)
            stamp, recipients = about.timestamp, message.recipients
            remaining = about.ttl_seconds - (now(stamp.tzinfo) - stamp).total_seconds()
            # On Python 3.11 the property `value` takes longer than the engine does.
            urgency = about.priority._value_
            if len(recipients) == 1:
                to = (recipients[0].agent_id,)
            else:
                if type(recipients) is not list:
                    check_message(message)
                to = [one.agent_id for one in self._to(message)]
            elsewhere = self._loop is not get_running_loop()
        except (AttributeError, TypeError, LookupError, OverflowError):
            # Looked at beforehand, it would cost each message that is well.
            check_message(message)
            raise
        except RuntimeError:
            # No loop runs.
            self._here()
            raise
        if elsewhere:
            self._here()
        if self._state != "running" and not self._may_speak(waits):
            return self._refuse(message, STOPPED)
        if waits is not None and remaining > 0:
            self._counters.messages_sent += 1
            self._counters.messages_delivered += 1
            waits.tell(message)
            return True
        mailbox = self._mailbox
        if mailbox.waiting + len(to) > self._room.limit and not has_room:
            return None
        self._counters.messages_sent += 1
        if asked is not None:
            asked.open = len(to)
            if not to:
                asked.tell(Answer(None, "nobody is registered"))
        if not remaining > 0:
            if remaining != remaining:
                # A time to live that is no number.
                self._counters.messages_sent -= 1
                check_message(message)
            for _ in to:
                self._dead(message, asked, "expired", expired=True)
            return True
        pool = self._pool
        for one in to:
            told = mailbox.offer(message, one, asked, urgency, remaining, 0.0)
            if told:
                self._noted(told)
            if pool is not None and pool.idle:
                pool.came()
            elif not self._looks:
                self._looks = True
                get_running_loop().call_soon(self._look)
        return True

    async def _wait_and_post(self, message: AgentMessage, asked: Asked | None) -> bool:
        """The same for a message for which there was no room, which waits for it."""
        if not await self._has_room(len(self._to(message))):
            return self._refuse(message, _FULL)
        return bool(self._post(message, asked, has_room=True))

    async def _has_room(self, number: int) -> bool:
        """Waits for room in the queue; a handler that does lends its place."""
        if self._pool is not None:
            self._pool.watched = True
        place = self._place()
        if place is not None:
            place.lend()
        has_room = False
        try:
            has_room = await self._room.wait_for(number)
        finally:
            if place is not None:
                await place.regain(None if has_room else 0.0)
        return has_room

    def _may_speak(self, waits: Asked | None) -> bool:
        """Whether it is sent: while the broker stops, only by handlers, and to who waits."""
        if self._state == "stopping":
            return waits is not None or self._place() is not None
        return self._state == "new"
