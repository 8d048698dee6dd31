"""What every sender can send: a client, an agent, and the handler of a delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

from . import _tracing
from ._loop import Loop, begun, current
from ._misfits import misfit
from ._payload import Payload, to_payload
from ._spans import Span, seconds
from ._values import Acceptance, BatchOutcome, Gathered, Reply
from .errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from typing_extensions import Unpack


MessageKind: TypeAlias = Literal[
    "event", "broadcast", "context-share", "status", "error", "response"
]
"""What a one-way message is."""


class SendOptions(TypedDict, total=False):
    """What can be said of anything that is sent. What is left out or `None` is the broker's."""

    priority: Literal["low", "normal", "high", "urgent"]
    """How urgent it is."""
    ttl: Span
    """How long it is of use, counted from its acceptance."""
    key: str
    """Accept it once under this idempotency key."""
    ordering_key: str
    """Handle it strictly in order with others of this key."""
    headers: Mapping[str, str] | Sequence[tuple[str, str]]
    """Free fields."""
    context: str
    """The conversation that it belongs to."""
    correlation: str
    """The id of the message that it answers."""
    traceparent: str
    """The W3C `traceparent` to carry along; by default that of OpenTelemetry's current span, with
    its `tracestate` as a header of that name."""
    delay: Span
    """Deliver it not before this long after its acceptance."""
    max_run: Span
    """How long a handler may run at most."""
    attempts: int
    """How often delivery is attempted at most."""
    durability: Literal["ephemeral", "buffered", "synced"]
    """What a crash may take."""
    absent: Literal["park", "fail", "discard"]
    """What happens when nobody serves the destination."""


_SPANS = ("ttl", "delay", "max_run")

_MOST_WANTED = 2**32 - 1
"""The answers that the broker can count."""


def said(options: SendOptions, timeout: Span | None = None) -> dict[str, Any] | None:
    """The options as the runtime takes them."""
    if not options:
        return None if timeout is None else {"timeout": seconds(timeout)}
    told: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in _SPANS:
        if name in told:
            told[name] = seconds(told[name])
    if "headers" in told:
        headers = told["headers"]
        try:
            told["headers"] = list(headers.items()) if hasattr(headers, "items") else list(headers)
        except TypeError:
            raise InvalidError(f"headers is {headers!r}; give a dict or a list of pairs") from None
    if timeout is not None:
        told["timeout"] = seconds(timeout)
    return told


def _without_ttl(options: SendOptions) -> SendOptions:
    if options.get("ttl") is not None:
        raise InvalidError("the time to live of a request is its timeout; say `timeout` instead")
    return options


def _to_topic(topic: str) -> str:
    if not isinstance(topic, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"topic is {topic!r}; give a str, such as 'builds.linux.failed'")
    return f"topic:{topic}"


class Speaks(Protocol):
    """The native part of a sender."""

    def speak(
        self,
        bridge: Any,
        verb: str,
        to: str,
        data: bytes,
        content_type: str,
        said: dict[str, Any] | None,
        /,
    ) -> Any:
        """Sends something."""
        ...

    def speak_all(
        self,
        bridge: Any,
        verb: str,
        to: str,
        payloads: list[tuple[bytes, str]],
        said: dict[str, Any] | None,
        /,
    ) -> Any:
        """Sends many things."""
        ...


class Sender:
    """What every sender can send."""

    __slots__ = ()

    def _speaks(self) -> Speaks:
        raise NotImplementedError

    def _said(self, loop: Loop, verb: str, to: str, value: Any, told: dict[str, Any] | None) -> Any:
        """Begins to say something: what it comes to, or what has to be waited for."""
        data, content_type = to_payload(value)
        speaks = self._speaks()
        if _tracing.is_imported():
            told = _tracing.traced(told)
        try:
            return speaks.speak(loop.native, verb, to, data, content_type, told)
        except (TypeError, OverflowError, UnicodeError) as error:
            given = (loop.native, verb, to, data, content_type, told)
            raise misfit(error, speaks.speak, given) from error

    async def _speak_all(
        self, verb: str, to: str, payloads: Iterable[Any], options: SendOptions
    ) -> BatchOutcome:
        if options.get("key") is not None:
            raise InvalidError("an idempotency key is for one message; send each under its own")
        kind: type[Any] = type(payloads)
        single = issubclass(kind, (str, bytes, bytearray, memoryview, dict, Payload))
        if single or not hasattr(payloads, "__iter__"):
            raise InvalidError(f"payloads is a {kind.__name__}; give a list of payloads")
        data = [to_payload(payload) for payload in payloads]
        loop, told = current(), _tracing.traced(said(options))
        started = begun(self._speaks().speak_all, loop.native, verb, to, data, told)
        return BatchOutcome(*await loop.wait(started))

    async def request(
        self,
        to: str,
        payload: Any = None,
        *,
        timeout: Span | None = 30.0,
        **options: Unpack[SendOptions],
    ) -> Reply:
        """Asks one agent or one skill and waits for the answer.

        A request is ephemeral and attempted once unless the options say otherwise. To cancel the
        wait takes nothing back: its handler goes on, at most to the timeout.

        Args:
            to: `agent:ID` or `skill:NAME`.
            payload: What to say: bytes, str, a `Payload`, `None`, or something that JSON has.
            timeout: How long the answer is of use; `None` for ever.
            **options: See `SendOptions`; the timeout is the time to live.

        Raises:
            Refused: The broker refused it.
            Unanswered: It was accepted and ended without an answer.
            PayloadError: The payload cannot be sent.
        """
        told, loop = said(_without_ttl(options) if options else options, timeout), current()
        reply = self._said(loop, "request", to, payload, told)
        return Reply(*(await loop.wait(reply) if reply.__class__ is int else reply))

    async def gather(
        self,
        to: str,
        payload: Any = None,
        *,
        wanted: int | None = None,
        timeout: Span | None = None,
        **options: Unpack[SendOptions],
    ) -> Gathered:
        """Asks several agents and waits for their answers.

        Args:
            to: `agents:ID,ID`, `all`, or `skill:NAME` for every agent that offers it.
            payload: What to say: bytes, str, a `Payload`, `None`, or something that JSON has.
            wanted: How many answers are enough; `None` for everybody's. What is then still open is
                called off.
            timeout: How long answers are gathered; 30 s by default. What has come by then is what
                there is.
            **options: See `SendOptions`; the timeout is the time to live.

        Raises:
            Refused: The broker refused it.
            PayloadError: The payload cannot be sent.
        """
        told = said(_without_ttl(options), timeout)
        if wanted is not None:
            if not isinstance(wanted, int) or not 0 < wanted <= _MOST_WANTED:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidError(f"wanted is {wanted!r}; give a whole number from 1")
            told = {**(told or {}), "wanted": wanted}
        loop = current()
        id_, complete, answers, missing = await loop.wait(
            self._said(loop, "gather", to, payload, told)
        )
        read = {agent: Payload(*answer) for agent, answer in answers.items()}
        return Gathered(id_, complete, read, missing)

    async def send(
        self, to: str, payload: Any = None, **options: Unpack[SendOptions]
    ) -> Acceptance:
        """Hands over a task: work with states, events and a result that stays readable.

        Only what goes to one agent or one skill is a task.

        Args:
            to: `agent:ID` or `skill:NAME`; also `agents:ID,ID`, `topic:A.B.C` or `all`.
            payload: What to say: bytes, str, a `Payload`, `None`, or something that JSON has.
            **options: See `SendOptions`.

        Raises:
            Refused: The broker refused it.
            PayloadError: The payload cannot be sent.
        """
        loop = current()
        accepted = self._said(loop, "send", to, payload, said(options))
        return Acceptance(*(await loop.wait(accepted) if accepted.__class__ is int else accepted))

    async def send_and_wait(
        self,
        to: str,
        payload: Any = None,
        *,
        timeout: Span | None = None,
        **options: Unpack[SendOptions],
    ) -> Reply:
        """Hands over a task and waits for its result, over lost connections too.

        To cancel the wait takes nothing back, as with its timeout.

        Args:
            to: `agent:ID` or `skill:NAME`.
            payload: What to say: bytes, str, a `Payload`, `None`, or something that JSON has.
            timeout: How long to wait. Unlike `ttl` it takes nothing back: the task goes on.
            **options: See `SendOptions`.

        Raises:
            Refused: The broker refused it.
            Unanswered: The task ended without an answer.
            PayloadError: The payload cannot be sent.
        """
        told = said(options, timeout)
        loop = current()
        return Reply(*await loop.wait(self._said(loop, "wait", to, payload, told)))

    async def publish(
        self, topic: str, payload: Any = None, **options: Unpack[SendOptions]
    ) -> Acceptance:
        """Publishes an event for all subscribers of a topic.

        Args:
            topic: Such as `builds.linux.failed`.
            payload: What to say: bytes, str, a `Payload`, `None`, or something that JSON has.
            **options: See `SendOptions`.

        Raises:
            Refused: The broker refused it.
            PayloadError: The payload cannot be sent.
        """
        return await self.tell(_to_topic(topic), payload, **options)

    async def tell(
        self,
        to: str,
        payload: Any = None,
        *,
        kind: MessageKind | None = None,
        **options: Unpack[SendOptions],
    ) -> Acceptance:
        """Sends a one-way message: no task, no reply, ephemeral unless the options say otherwise.

        Args:
            to: `agent:ID`, `skill:NAME`, `agents:ID,ID`, `topic:A.B.C` or `all`.
            payload: What to say: bytes, str, a `Payload`, `None`, or something that JSON has.
            kind: What kind of message it is, `event` by default. A `response` needs `correlation`.
            **options: See `SendOptions`.

        Raises:
            Refused: The broker refused it.
            PayloadError: The payload cannot be sent.
        """
        told = said(options)
        if kind is not None:
            if not isinstance(kind, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidError(f"kind is {kind!r}; give a str, such as 'event'")
            told = {**(told or {}), "kind": kind}
        loop = current()
        accepted = self._said(loop, "tell", to, payload, told)
        return Acceptance(*(await loop.wait(accepted) if accepted.__class__ is int else accepted))

    async def send_all(
        self, to: str, payloads: Iterable[Any], **options: Unpack[SendOptions]
    ) -> BatchOutcome:
        """Hands over many tasks at once, which costs each of them far less than `send`.

        One that is refused does not hold up the others; the outcome says which.

        Args:
            to: As for `send`.
            payloads: What to say, as for `send`.
            **options: See `SendOptions`, the same for all. There is no `key`.

        Raises:
            Refused: The session has ended; some may have been accepted.
            PayloadError: A payload cannot be sent; none was.
        """
        return await self._speak_all("send", to, payloads, options)

    async def tell_all(
        self, to: str, payloads: Iterable[Any], **options: Unpack[SendOptions]
    ) -> BatchOutcome:
        """Sends many one-way messages at once: what `send_all` is to `send`."""
        return await self._speak_all("tell", to, payloads, options)

    async def publish_all(
        self, topic: str, payloads: Iterable[Any], **options: Unpack[SendOptions]
    ) -> BatchOutcome:
        """Publishes many events of a topic at once: what `send_all` is to `send`."""
        return await self._speak_all("tell", _to_topic(topic), payloads, options)
