"""The native module: what `python/trunkline` is made on. Nothing of it is for users.

What a call returns that takes a `Bridge` is either what it comes to or, if that is not known yet,
an `int`: the number under which `Bridge.drain` will tell, whose lowest bit says that it is to be
called soon.
"""

from collections.abc import Callable
from typing import Any, final

from .compat.messages import AgentMessage
from .compat.requests import Asked

VERSION: str

def forked() -> None: ...

@final
class Bridge:
    def __new__(cls) -> Bridge: ...
    def fileno(self) -> int: ...
    def drain(
        self, begin: Callable[[int, int, int, Delivery | Batch], None] | None, woken: bool, /
    ) -> tuple[
        list[tuple[int, bool, Any]],
        list[tuple[int, int, int, Delivery | Batch]],
        list[tuple[int, int]],
        bool,
    ]: ...
    def forget(self, call: int) -> None: ...

@final
class Host:
    @staticmethod
    def broker(data: str | bytes | None, settings: dict[str, dict[str, Any]]) -> Host: ...
    @staticmethod
    def client(url: str, principal: str | None, tenant: str | None, transport: str) -> Host: ...
    @property
    def closed(self) -> bool: ...
    def close(self, bridge: Bridge, grace: float) -> Any: ...
    def close_now(self, grace: float) -> None: ...
    def skip(self, span: float) -> None: ...
    def due_in(self) -> float | None: ...
    def speak(
        self,
        bridge: Bridge,
        verb: str,
        to: str,
        data: bytes,
        content_type: str,
        said: dict[str, Any] | None,
        /,
    ) -> Any: ...
    def speak_all(
        self,
        bridge: Bridge,
        verb: str,
        to: str,
        payloads: list[tuple[bytes, str]],
        said: dict[str, Any] | None,
        /,
    ) -> Any: ...
    def subscribe(
        self,
        bridge: Bridge,
        pattern: str,
        filter: str | None,
        group: str | None,
        drop_oldest: bool,
    ) -> Any: ...
    def query(self, bridge: Bridge, what: str, wanted: dict[str, Any]) -> Any: ...
    def operate(self, bridge: Bridge, what: str, name: str, said: dict[str, Any]) -> Any: ...
    def set_schedule(
        self,
        bridge: Bridge,
        name: str,
        cron: str,
        zone: str,
        to: str,
        data: bytes,
        content_type: str,
        said: dict[str, Any] | None,
    ) -> Any: ...
    def watch_agents(self, bridge: Bridge, wanted: dict[str, Any]) -> Any: ...
    def wait(self, bridge: Bridge, id: str) -> Any: ...
    def watch(self, bridge: Bridge, id: str, after: int) -> Any: ...
    def cancel(self, bridge: Bridge, id: str, reason: str, descendants: bool) -> Any: ...
    def continue_task(self, bridge: Bridge, id: str, data: bytes, content_type: str) -> Any: ...

@final
class Agent:
    @staticmethod
    def start(
        bridge: Bridge,
        host: Host,
        number: int,
        id: str,
        card: dict[str, Any],
        handlers: list[tuple[Any, ...]],
    ) -> Any: ...
    def speak(
        self,
        bridge: Bridge,
        verb: str,
        to: str,
        data: bytes,
        content_type: str,
        said: dict[str, Any] | None,
        /,
    ) -> Any: ...
    def speak_all(
        self,
        bridge: Bridge,
        verb: str,
        to: str,
        payloads: list[tuple[bytes, str]],
        said: dict[str, Any] | None,
        /,
    ) -> Any: ...
    def stop(self, bridge: Bridge) -> Any: ...
    def kill(self) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def ended(self, bridge: Bridge) -> Any: ...

@final
class Delivery:
    payload: tuple[bytes, str]
    data: bytes
    content_type: str
    id: str
    kind: str
    headers: list[tuple[str, str]]
    context: str | None
    source: str | None
    skill: str | None
    topic: str | None
    traceparent: str | None
    correlation: str | None
    is_task: bool
    attempt: int
    remaining: float | None
    messages: list[tuple[bytes, str]]
    cancelled: bool
    def speak(
        self,
        bridge: Bridge,
        verb: str,
        to: str,
        data: bytes,
        content_type: str,
        said: dict[str, Any] | None,
        /,
    ) -> Any: ...
    def speak_all(
        self,
        bridge: Bridge,
        verb: str,
        to: str,
        payloads: list[tuple[bytes, str]],
        said: dict[str, Any] | None,
        /,
    ) -> Any: ...
    def progress(self, bridge: Bridge, percent: int, text: str) -> Any: ...
    def artifact(
        self,
        bridge: Bridge,
        name: str,
        data: bytes,
        content_type: str,
        append: bool,
        last: bool,
    ) -> Any: ...
    def begin(self) -> None: ...
    def complete(self, bridge: Bridge, data: bytes | None, content_type: str) -> bool: ...
    def pause(self, bridge: Bridge, auth: bool, data: bytes | None, content_type: str) -> bool: ...
    def call_off(self) -> None: ...
    def give_up(self, bridge: Bridge, how: str, reason: str, after: float | None) -> bool: ...

@final
class Batch:
    @property
    def deliveries(self) -> list[Delivery]: ...
    def begin(self) -> None: ...
    def complete(self, bridge: Bridge) -> bool: ...

@final
class Letter:
    @property
    def message(self) -> AgentMessage: ...
    @property
    def to(self) -> str: ...
    @property
    def asked(self) -> Asked | None: ...

@final
class Mailbox:
    EARLIER: int
    WARN: int
    def __new__(cls, threshold: int, lost: Callable[[Letter], None], /) -> Mailbox: ...
    def offer(
        self,
        message: AgentMessage,
        to: str,
        asked: Asked | None,
        urgency: int,
        remaining: float,
        delay: float,
        /,
    ) -> int: ...
    def take(self, ended: Letter | None = None, /) -> Letter | None: ...
    def end(self, letter: Letter, /) -> None: ...
    def ready(self) -> int: ...
    def tick(self) -> float | None: ...
    def clear(self) -> list[Letter]: ...
    @property
    def waiting(self) -> int: ...
    @property
    def open(self) -> int: ...

@final
class Events:
    def next(self, bridge: Bridge) -> Any: ...
    def close(self) -> None: ...

@final
class Updates:
    def next(self, bridge: Bridge) -> Any: ...

@final
class News:
    def next(self, bridge: Bridge) -> Any: ...
