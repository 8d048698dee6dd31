"""The drop-in broker."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import time
from collections import deque
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from .._ends import reason_of
from ..errors import InvalidError, LoopError, UsageError
from .carrier import Answer, Asked, Carrier, Parcel
from .config import BrokerConfiguration
from .directory import Directory
from .messages import AgentIdentity, AgentMessage, MessageMetadata, MessagePriority, MessageType
from .pool import Place, Pool, at_work
from .requests import Requests, answer_within
from .room import Room
from .said import answer_of, topic_of
from .stats import Counters, batches, worker_pool

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

log = logging.getLogger("trunkline.compat")

_LETTERS = 10_000
"""Most dead letters that are kept; the oldest go first."""
_MARGIN = 0.002
"""How many seconds of its time to live have to remain after the delay of what is tried again."""
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
        settings = replace(config or BrokerConfiguration())
        if max_queue_size is not None:
            settings = replace(settings, max_queue_size=max_queue_size)
        if max_retry is not None:
            settings = replace(settings, retry_max_attempts=max_retry)
        self.config = settings
        self._letters: deque[tuple[AgentMessage, str]] = deque(maxlen=_LETTERS)
        self._counters = Counters()
        self._state: Literal["new", "running", "stopping", "stopped"] = "new"
        self._carrier: Carrier | None = None
        self._pool: Pool | None = None
        self._orders = itertools.count()
        self._open: set[Parcel] = set()
        """What was accepted and has not ended."""
        self._room = Room(settings)
        self._drained: asyncio.Future[None] | None = None
        self._requests = Requests()
        self._since: float | None = None
        self._start_time: datetime | None = None
        self._uptime = 0.0

    async def start(self) -> None:
        """Starts the workers. Starting one that runs does no harm.

        Raises:
            LoopError: It has messages of another event loop.
        """
        if self._state in ("running", "stopping"):
            log.warning("the broker runs already")
            return
        carrier = self._carried()
        self._pool = Pool(self.config, self._deliver, self._failed, carrier.hurry)
        self._state = "running"
        self._since, self._start_time = time.monotonic(), datetime.now()
        try:
            await carrier.start()
        except BaseException:
            await self._end("new")
            raise

    async def stop(self, timeout: float = 30.0) -> None:
        """Takes nothing new, sees everything that was accepted handled, and ends the workers.

        Args:
            timeout: After so many seconds, handlers that are still at work are cancelled, and what
                was not handled becomes dead letters.

        Raises:
            LoopError: It runs on another event loop.
            UsageError: One of its own handlers calls it, and would wait for itself.
        """
        pool = self._pool
        if self._state != "running" or pool is None:
            log.warning("the broker does not run")
            return
        self._carried()
        if self._place() is not None:
            raise UsageError(
                "a handler that waits for its own broker to stop would wait for itself; begin it "
                "elsewhere: `asyncio.create_task(broker.stop())`"
            )
        self._state = "stopping"
        pool.hurry()
        try:
            if self._open and pool.can_work():
                self._drained = asyncio.get_running_loop().create_future()
                await asyncio.wait({self._drained}, timeout=timeout)
        finally:
            await self._end("stopped")

    async def _end(self, state: Literal["new", "stopped"]) -> None:
        self._state = state
        self._drained = None
        self._uptime = time.monotonic() - (self._since or time.monotonic())
        self._since = None
        pool, carrier = self._pool, self._carrier
        if pool is not None:
            await pool.close()
        self._carrier = None
        for parcel in list(self._open):
            self._dead(parcel, _STOPPED)
        self._requests.end(_STOPPED)
        if carrier is not None:
            await carrier.close()

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
        return await self._send(message, None)

    async def send_request(
        self, message: AgentMessage, timeout: float | None = 30.0
    ) -> AgentMessage | None:
        """Sends a request and waits for the answer.

        A handler that waits for one lends its place in the pool meanwhile.

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
        return (await self.ask(message, timeout)).response

    async def publish_event(
        self,
        topic: str,
        sender: AgentIdentity,
        payload: dict[str, Any],
        priority: MessagePriority = MessagePriority.NORMAL,
    ) -> None:
        """Publishes an event; subscribers find `{"topic": topic, "data": payload}` in it."""
        known = [self._agents[one][0] for one in sorted(self.get_subscribers(topic))]
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
        if timeout is not None and not isinstance(timeout, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"timeout is {timeout!r}, it is a number of seconds or None")
        with self._requests.asked(message) as asked:
            async with self._lent():
                if not await self._send(message, asked):
                    return Answer(None, "it was not accepted")
                answer = await answer_within(asked, timeout)
        if answer.timed_out:
            self._counters.requests_timeout += 1
        return answer

    def get_stats(self) -> dict[str, Any]:
        """The figures of the broker."""
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
            "queue_size": self._room.waiting,
            "queue_utilization": self._room.waiting / self.config.max_queue_size,
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
        return list(self._letters)

    def clear_dead_letters(self) -> None:
        """Forgets the dead letters."""
        self._letters.clear()

    # What follows is for the parts of the broker.

    def arrived(self, parcels: list[Parcel]) -> None:
        """These have come, and are for the workers unless somebody waits for them."""
        mine: list[Parcel] = []
        for parcel in parcels:
            message = parcel.message
            waits = self._requests.answered_by(message)
            if waits is not None:
                self._begin(parcel)
                self._counters.messages_delivered += 1
                waits.tell(Answer(message))
                self._ended(parcel)
            else:
                mine.append(parcel)
        if mine and self._pool is not None:
            self._pool.arrived(mine)

    def is_busy(self) -> bool:
        """Whether the workers have enough to do for now."""
        return self._pool is not None and self._pool.is_busy()

    def lost(self, parcel: Parcel, reason: str, expired: bool) -> None:
        """This one was not begun, and will not be."""
        self._dead(parcel, reason, expired=expired)

    def _carried(self) -> Carrier:
        carrier = self._carrier
        if carrier is None:
            carrier = self._carrier = Carrier(self)
        elif not carrier.is_on(asyncio.get_running_loop()):
            raise LoopError("the broker is at work on another event loop; use it and stop it there")
        return carrier

    def _place(self) -> Place | None:
        """The place of the handler of this broker that runs here."""
        place = at_work.get()
        if place is None or self._pool is None or not place.is_of(self._pool):
            return None
        return place

    def _may_speak(self, message: AgentMessage) -> bool:
        """Whether this is sent: while the broker stops, only by handlers, and to who waits."""
        if self._state == "stopping":
            awaited = self._requests.answered_by(message) is not None
            return awaited or self._place() is not None
        return self._state != "stopped"

    def _lent(self) -> AbstractAsyncContextManager[None]:
        return self._place() or nullcontext()

    def _to(self, message: AgentMessage) -> list[str]:
        if message.recipients:
            return [recipient.agent_id for recipient in message.recipients]
        if message.is_event() and (topic := topic_of(message.payload)) is not None:
            return sorted(self.get_subscribers(topic))
        return list(self._agents)

    async def _send(self, message: AgentMessage, asked: Asked | None) -> bool:
        if not isinstance(message, AgentMessage):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"a message is an AgentMessage, not a {type(message).__name__}")
        if not self._may_speak(message):
            return self._refuse(message, _STOPPED)
        carrier = self._carried()
        to = self._to(message)
        number = len(to)
        if not self._room.is_there_for(number):
            async with self._lent():
                if not await self._room.wait_for(number):
                    return self._refuse(message, _FULL)
            if not self._may_speak(message):
                return self._refuse(message, _STOPPED)
        self._counters.messages_sent += 1
        if asked is not None:
            asked.open = number
            if number == 0:
                asked.tell(Answer(None, "nobody is registered"))
        remaining = message.metadata.remaining()
        for one in to:
            parcel = Parcel(message, one, asked, next(self._orders))
            self._take(parcel)
            if remaining > 0:
                carrier.send(parcel, remaining)
            else:
                self._dead(parcel, "expired", expired=True)
        return True

    def _refuse(self, message: AgentMessage, reason: str) -> bool:
        self._counters.messages_failed += 1
        self._letters.append((message, reason))
        return False

    def _take(self, parcel: Parcel) -> None:
        self._open.add(parcel)
        self._room.take()

    def _begin(self, parcel: Parcel) -> None:
        """It waits no longer."""
        parcel.begun = True
        self._room.leave()

    async def _deliver(self, parcel: Parcel) -> bool:
        """Handles a message, and tells whether that went well."""
        if parcel.message.metadata.is_expired():
            self._dead(parcel, "expired", expired=True)
            return True
        self._begin(parcel)
        known = self._agents.get(parcel.to)
        if known is None:
            self._dead(parcel, f"agent '{parcel.to}' is not registered")
            return False
        identity, handler = known
        try:
            result = handler(parcel.message)
            if inspect.isawaitable(result):
                result = await result
            answer = answer_of(parcel.message, identity, result)
        except Exception as error:
            log.warning("the handler of '%s' failed", parcel.to, exc_info=error)
            self._failed(parcel, error)
            return False
        self._counters.messages_delivered += 1
        if answer is not None:
            await self._respond(answer)
        self._ended(parcel)
        return True

    async def _respond(self, answer: AgentMessage) -> None:
        waits = self._requests.of(answer.metadata.correlation_id)
        if waits is not None:
            waits.tell(Answer(answer))
        elif answer.recipients[0].agent_id in self._agents:
            await self.send_message(answer)

    def _failed(self, parcel: Parcel, error: BaseException) -> None:
        """A handler failed: it is tried again, or given up."""
        message, config = parcel.message, self.config
        about = message.metadata
        remaining, tried = about.remaining(), about.retry_count
        delay = config.retry_backoff_ms / 1000 * 2**tried
        carrier = self._carrier
        if self._state in ("new", "stopped") or carrier is None:
            self._dead(parcel, _STOPPED)
        elif isinstance(error, InvalidError) or tried >= config.retry_max_attempts:
            self._dead(parcel, reason_of(error))
        elif remaining <= delay + _MARGIN:
            # It would be too late then.
            self._dead(parcel, "expired", expired=True)
        else:
            self._counters.messages_retried += 1
            message = replace(message, metadata=replace(about, retry_count=tried + 1))
            again = Parcel(message, parcel.to, parcel.answers, parcel.order)
            self._take(again)
            carrier.send_later(again, remaining, delay)
            self._ended(parcel)

    def _dead(self, parcel: Parcel, reason: str, *, expired: bool = False) -> None:
        """It becomes a dead letter."""
        if parcel.ended:
            return
        if not parcel.begun:
            self._begin(parcel)
        if expired:
            self._counters.messages_expired += 1
        else:
            self._counters.messages_failed += 1
        self._letters.append((parcel.message, reason))
        if parcel.answers is not None:
            parcel.answers.failed(reason)
        self._ended(parcel)

    def _ended(self, parcel: Parcel) -> None:
        parcel.ended = True
        self._open.discard(parcel)
        if self._pool is not None:
            self._pool.forget(parcel)
        if self._carrier is not None:
            self._carrier.end(parcel)
        if not self._open and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
