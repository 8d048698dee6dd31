"""The drop-in broker."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import time
from asyncio import get_running_loop
from collections import deque
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Literal

from .. import _native
from .._ends import reason_of
from ..errors import InvalidError, LoopError, UsageError
from .config import BrokerConfiguration
from .directory import Directory
from .fork import known
from .messages import (
    AgentIdentity,
    AgentMessage,
    MessageMetadata,
    MessagePriority,
    MessageType,
    check_message,
)
from .place import Place, at_work
from .pool import Pool
from .requests import Answer, Asked, Requests
from .room import Room
from .said import answer_of, check_timeout, topic_of
from .stats import Counters, batches, worker_pool

log = logging.getLogger("trunkline.compat")
now = datetime.now

_LETTERS = 10_000
"""Most dead letters that are kept; the oldest go first."""
_MARGIN = 0.002
"""How many seconds of its time to live have to remain after the delay of what is tried again."""
_AT_ONCE = 1e-9
"""The delay of what is tried again without one, in seconds."""
_RESPONSE = MessageType.RESPONSE
_STOPPED = "the broker was stopped"
_FULL = "queue_full"


class AgentMessageBroker(Directory):
    """Messages between agents of one event loop, handled by a pool of workers that they share.

    Agents can be registered and messages be sent before it is started; they are handled once it
    is. It belongs to the event loop of the first message or of its start until it is stopped.
    """

    def __init__(
        self,
        config: BrokerConfiguration | None = None,
        max_queue_size: int | None = None,
        max_retry: int | None = None,
    ) -> None:
        """Makes a broker.

        Args:
            config: Its settings; `None` for the defaults.
            max_queue_size: Overrides that of the settings.
            max_retry: Overrides `retry_max_attempts` of the settings.

        Raises:
            InvalidError: A setting is out of its range.
        """
        super().__init__()
        if config is not None and not isinstance(config, BrokerConfiguration):  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = type(config).__name__
            raise InvalidError(f"config is a {kind}, it has to be a BrokerConfiguration")
        settings = replace(config or BrokerConfiguration())
        if max_queue_size is not None:
            settings = replace(settings, max_queue_size=max_queue_size)
        if max_retry is not None:
            settings = replace(settings, retry_max_attempts=max_retry)
        self.config = settings
        self._letters: deque[tuple[AgentMessage, str]] = deque(maxlen=_LETTERS)
        self._counters = Counters()
        self._state: Literal["new", "running", "stopping", "closing", "stopped"] = "new"
        self._over: asyncio.Future[None] | None = None
        """Who waits for the end of `stop`, while it is at it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mailbox = self._empty()
        self._room = Room(self._mailbox, settings.max_queue_size)
        self._looks = False
        """Whether what was sent is looked at when the turn of the loop is over."""
        self._alarm: asyncio.TimerHandle | None = None
        self._pool: Pool | None = None
        self._drained: asyncio.Future[None] | None = None
        self._requests = Requests()
        self._since: float | None = None
        self._start_time: datetime | None = None
        self._uptime = 0.0
        known.add(self)

    async def start(self) -> None:
        """Starts the workers. Starting one that runs does no harm; one that stops is waited for.

        Raises:
            InvalidError: Its settings were changed, and one is out of its range.
            LoopError: It has messages of another event loop.
            UsageError: One of its own handlers calls it while it stops, and would wait for itself.
        """
        self._see_to_its_loop()
        while self._over is not None:
            await self._until_stopped()
        self._here()
        if self._state == "running":
            log.warning("the broker runs already")
            return
        BrokerConfiguration.__post_init__(self.config)
        self._loop = get_running_loop()
        self._pool = Pool(self.config, self._mailbox, self._agents, self._counters, self)
        self._state = "running"
        self._since, self._start_time = time.monotonic(), datetime.now()
        self._pool.watched = bool(self._room.waits)
        self._pool.turn()

    async def stop(self, timeout: float | None = 30.0) -> None:
        """Takes nothing new, sees everything that was accepted handled, and ends the workers.

        One that stops already is waited for, as long as the first call said.

        Args:
            timeout: After so many seconds, handlers that are still at work are cancelled, and what
                was not handled becomes dead letters; never, if it is `None`.

        Raises:
            InvalidError: The timeout is no number of seconds.
            LoopError: It runs on another event loop.
            UsageError: One of its own handlers calls it, and would wait for itself.
        """
        check_timeout(timeout)
        self._see_to_its_loop()
        if self._over is not None:
            await self._until_stopped()
            return
        pool = self._pool
        if self._state != "running" or pool is None:
            log.warning("the broker does not run")
            return
        self._not_for_itself()
        self._state = "stopping"
        self._over = asyncio.get_running_loop().create_future()
        pool.hurry()
        try:
            if self._mailbox.open and not pool.is_spent():
                self._drained = asyncio.get_running_loop().create_future()
                pool.watched = True
                await asyncio.wait({self._drained}, timeout=timeout)
        finally:
            await self._end(pool)

    async def _end(self, pool: Pool) -> None:
        self._state = "closing"
        self._drained = None
        self._uptime = time.monotonic() - (self._since or time.monotonic())
        self._since = None
        self._sleep()
        try:
            await pool.close()
        finally:
            self._ended(pool)

    async def _until_stopped(self) -> None:
        """Waits for a call of `stop` that has begun."""
        self._not_for_itself()
        if self._over is not None:
            await asyncio.wait({self._over})

    def _not_for_itself(self) -> None:
        self._here()
        here = at_work.get()
        if here is not None and here[1].is_at_work_for(self._pool):
            raise UsageError(
                "a handler that waits for its own broker to stop would wait for itself; begin it "
                "elsewhere: `asyncio.create_task(broker.stop())`"
            )

    def _ended(self, pool: Pool) -> None:
        """The workers have ended, or are waited for no longer."""
        self._state = "stopped"
        over, self._over = self._over, None
        if over is not None:
            over.set_result(None)
        self._give_up(pool)
        self._requests.close(_STOPPED)

    def _give_up(self, pool: Pool | None, *, tell: bool = True) -> None:
        """Makes dead letters of all that has not ended, and belongs to no loop."""
        # What handlers said while they were cancelled may have set it again.
        self._sleep()
        self._looks = False
        mailbox, self._mailbox = self._mailbox, self._empty()
        self._room = Room(self._mailbox, self.config.max_queue_size)
        self._loop = None
        # A handler that does not end although it was cancelled is not waited for.
        at_work = [] if pool is None else pool.abandoned()
        for letter in [*at_work, *mailbox.clear()]:
            self._dead(letter.message, letter.asked if tell else None, _STOPPED)

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

    async def send_request(
        self, message: AgentMessage, timeout: float | None = 30.0
    ) -> AgentMessage | None:
        """Sends a request and waits for the answer.

        A handler that waits for one lends its place in the pool meanwhile. It has it back with the
        answer, or when the time is over, even if whoever borrowed it is still at work then.

        Args:
            message: The request. Of several recipients the first answer counts.
            timeout: How many seconds to wait; `None` for as long as it takes.

        Returns:
            The answer, or `None` if there is none in time, or will not be.

        Raises:
            InvalidError: It is no request, or one with its correlation id waits already. It is a
                `ValueError` as well.
            LoopError: The broker is at work on another event loop.
        """
        answer = await self._asked(message, timeout)
        return answer if isinstance(answer, AgentMessage) else None

    async def publish_event(
        self,
        topic: str,
        sender: AgentIdentity,
        payload: dict[str, Any],
        priority: MessagePriority = MessagePriority.NORMAL,
    ) -> None:
        """Publishes an event; subscribers find `{"topic": topic, "data": payload}` in it."""
        known = self._subscribed(topic)
        if known:
            content, metadata = (
                {"topic": topic, "data": payload},
                MessageMetadata(priority=priority),
            )
            await self.send_message(
                AgentMessage(sender, known, MessageType.EVENT, content, metadata=metadata)
            )

    async def ask(self, message: AgentMessage, timeout: float | None = 30.0) -> Answer:
        """As `send_request`, and says why there is no answer."""
        answer = await self._asked(message, timeout)
        return Answer(answer) if isinstance(answer, AgentMessage) else answer

    def get_stats(self) -> dict[str, Any]:
        """The figures of the broker."""
        self._see_to_its_loop()
        now, since = time.monotonic(), self._since
        workers = self._pool.workers if self._pool is not None else []
        batched = self._pool.batched if self._pool is not None else 0
        return {
            **self._counters.figures(),
            **batches(workers, batched),
            "agents_registered": len(self._agents),
            "registered_agents": len(self._agents),
            "subscriptions_active": sum(len(agents) for agents in self._topics.values()),
            "topics": len(self._topics),
            "queue_size": self._mailbox.waiting,
            "queue_utilization": self._mailbox.waiting / self.config.max_queue_size,
            "pending_requests": len(self._requests),
            "dead_letters": len(self._letters),
            "dead_letter_queue_size": len(self._letters),
            "running": self._state in ("running", "stopping"),
            "broker_start_time": self._start_time,
            "broker_uptime_seconds": self._uptime if since is None else now - since,
            "worker_pool": worker_pool(workers),
            "config": asdict(self.config),
        }

    def get_dead_letters(self) -> list[tuple[AgentMessage, str]]:
        """What was not handled and why, oldest first; the latest 10,000 are kept."""
        self._see_to_its_loop()
        return list(self._letters)

    def clear_dead_letters(self) -> None:
        """Forgets the dead letters."""
        self._letters.clear()

    async def _asked(self, message: AgentMessage, timeout: float | None) -> AgentMessage | Answer:
        check_timeout(timeout)
        # Before anything is lent: a thread of a handler has its context, and a loop of its own.
        self._here()
        asked = self._requests.begin(message)
        place = self._place()
        if place is not None:
            place.lend()
        # When to have the place back, at the latest: at once for who does not wait any longer.
        until: float | None = 0.0
        try:
            accepted = self._post(message, asked)
            if accepted is None:
                accepted = await self._wait_and_post(message, asked)
            if not accepted:
                return Answer(None, "it was not accepted")
            end = None
            if timeout is not None:
                self._requests.limit(asked, timeout)
                end = get_running_loop().time() + timeout
            answer = await asked.answer
            until = end
            if isinstance(answer, Answer) and answer.timed_out:
                self._counters.requests_timeout += 1
            return answer
        finally:
            self._requests.end(asked)
            if place is not None:
                await place.regain(until)

    # What follows is for the parts of the broker.

    def answered(
        self, letter: _native.Letter, agent: AgentIdentity, result: Any
    ) -> AgentMessage | None:
        """The handler of a request returned this. Returns what is to be sent for that."""
        answer = answer_of(letter.message, agent, result)
        waits: Asked | None = None
        if answer is not None:
            waits = self._requests.of(answer.metadata.correlation_id)
            if waits is None and letter.asked is not None and answer.is_response():
                # The handler has changed that id, or passes on what another has answered.
                waits = self._requests.of(letter.asked.correlation)
            if waits is None and not answer.recipients:
                raise InvalidError(
                    f"the handler of '{agent.agent_id}' returned a response without recipients for "
                    "a request that nobody waits for; make it by `message.create_response`"
                )
        self._counters.messages_delivered += 1
        if waits is not None and answer is not None:
            waits.tell(answer)
            return None
        known = answer is not None and any(
            one.agent_id in self._agents for one in answer.recipients
        )
        return answer if known else None

    def failed(self, letter: _native.Letter, error: BaseException) -> None:
        """A handler failed: it is tried again, or given up."""
        try:
            self._give_up_or_send_later(letter, error)
        except BaseException as other:
            # A handler may have left anything in a message, and an exception of a user may fail
            # to say what it is. Neither is to cost the message.
            self._dead(letter.message, letter.asked, type(error).__name__)
            if not isinstance(other, Exception):
                raise

    def unknown(self, letter: _native.Letter) -> None:
        """It is for nobody who is registered."""
        self._dead(letter.message, letter.asked, f"agent '{letter.to}' is not registered")

    def changed(self) -> None:
        """A message was begun or has ended, and somebody waits for room or for the end of all."""
        self._room.changed()
        drained = self._drained
        if drained is not None:
            spent = not self._mailbox.open or (self._pool is not None and self._pool.is_spent())
            if spent and not drained.done():
                drained.set_result(None)
        elif not self._room.waits and self._pool is not None:
            self._pool.watched = False

    def _expired(self, letter: _native.Letter) -> None:
        self._dead(letter.message, letter.asked, "expired", expired=True)
        if self._pool is not None and self._pool.watched:
            self.changed()

    def _empty(self) -> _native.Mailbox:
        most, share = self.config.max_queue_size, self.config.queue_warning_threshold
        return _native.Mailbox(max(1, math.ceil(share * most)), self._expired)

    def _here(self) -> None:
        """From now on it belongs to the event loop that runs, if it belongs to none."""
        self._see_to_its_loop()
        try:
            loop = get_running_loop()
        except RuntimeError:
            raise LoopError("no event loop runs here; call this from a coroutine") from None
        if self._loop is None:
            # One that was stopped is free until it is started.
            self._loop = None if self._state == "stopped" else loop
        elif self._loop is not loop:
            raise LoopError("the broker is at work on another event loop; use it and stop it there")

    def _see_to_its_loop(self) -> None:
        """If its event loop has ended, it counts as stopped."""
        if self._loop is None or not self._loop.is_closed():
            return
        # On that loop nobody waits any longer, and futures cannot be told.
        self._requests = Requests()
        self._over = self._drained = None
        if self._state != "new":
            self._uptime = time.monotonic() - (self._since or time.monotonic())
            self._since, self._state = None, "stopped"
        self._give_up(self._pool, tell=False)

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
        if message.is_event() and (topic := topic_of(message.payload)) is not None:
            return self._subscribed(topic)
        return [identity for identity, _ in self._agents.values()]

    def _post(
        self, message: AgentMessage, asked: Asked | None, *, has_room: bool = False
    ) -> bool | None:
        """Sends a message and tells whether it was accepted; `None` if there is no room."""
        if not isinstance(message, AgentMessage):  # pyright: ignore[reportUnnecessaryIsInstance]
            check_message(message)
        try:
            about, waits = message.metadata, None
            if message.message_type is _RESPONSE:
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
                to = [one.agent_id for one in self._to(message)]
            elsewhere = self._loop is not get_running_loop()
        except (AttributeError, TypeError, OverflowError):
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
            return self._refuse(message, _STOPPED)
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
        if remaining <= 0:
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

    def _look(self) -> None:
        """Sees to what was sent in this turn of the loop."""
        self._looks = False
        self._mailbox.ready()

    def _noted(self, told: int) -> None:
        if told & _native.Mailbox.EARLIER:
            self._tick()
        if told & _native.Mailbox.WARN:
            most = self.config.max_queue_size
            log.warning("%d messages wait, of %d that may", self._mailbox.waiting, most)

    def _sleep(self) -> None:
        """Sees to nothing more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _tick(self) -> None:
        """Sees to what has expired and to what is due, and comes again for the next."""
        self._sleep()
        after = self._mailbox.tick()
        if after is not None and self._loop is not None:
            self._alarm = self._loop.call_later(after, self._tick)
        if self._pool is not None:
            self._pool.turn()

    def _give_up_or_send_later(self, letter: _native.Letter, error: BaseException) -> None:
        message, config = letter.message, self.config
        about = message.metadata
        tried = about.retry_count
        if self._state not in ("running", "stopping"):
            self._dead(message, letter.asked, _STOPPED)
            return
        if isinstance(error, InvalidError) or tried >= config.retry_max_attempts:
            self._dead(message, letter.asked, reason_of(error))
            return
        remaining, delay = about.remaining(), config.retry_backoff_ms / 1000 * 2**tried
        if remaining <= delay + _MARGIN:
            # It would be too late then.
            self._dead(message, letter.asked, "expired", expired=True)
            return
        # Made anew, a message of a class with a constructor of its own could not be.
        again, again.metadata = copy.copy(message), copy.copy(about)
        again.metadata.retry_count = tried + 1
        self._send_later(again, letter, remaining, delay)
        self._counters.messages_retried += 1

    def _send_later(
        self, message: AgentMessage, letter: _native.Letter, remaining: float, delay: float
    ) -> None:
        """Sends a message again to one recipient, who has it after so many seconds."""
        urgency = message.metadata.priority.value
        delay = max(delay, _AT_ONCE)
        self._noted(
            self._mailbox.offer(message, letter.to, letter.asked, urgency, remaining, delay)
        )

    def _refuse(self, message: AgentMessage, reason: str) -> bool:
        self._counters.messages_failed += 1
        self._letters.append((message, reason))
        return False

    def _dead(
        self, message: AgentMessage, asked: Asked | None, reason: str, *, expired: bool = False
    ) -> None:
        """It becomes a dead letter."""
        if expired:
            self._counters.messages_expired += 1
        else:
            self._counters.messages_failed += 1
        self._letters.append((message, reason))
        if asked is not None:
            asked.failed(reason)
