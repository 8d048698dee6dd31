"""Handlers in processes of their own, for work that keeps a core busy.

Each process works on one delivery at a time and is asked by a thread that waits for it. One that
dies costs its own delivery an attempt and nobody else anything; one whose delivery is called off is
killed. The next delivery has a new one.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import signal
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _tracing
from ._ends import HandlerEnd, Retry, Said, said_of
from ._payload import Payload, to_payload
from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from multiprocessing.connection import Connection

log = logging.getLogger("trunkline")

_spawning = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Message(Payload):
    """What a handler in a process gets: what was sent, without a way to the broker."""

    id: str = ""
    """The id of the message, and of the task if it is one."""
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """The free fields of the sender, in their order."""
    context: str | None = None
    """The conversation that it belongs to."""
    source: str | None = None
    """The agent that sent it; `None` for a client that is no agent."""
    skill: str | None = None
    """The skill that is wanted."""
    attempt: int = 1
    """Which attempt this is, from 1."""
    messages: list[Payload] = field(default_factory=list[Payload])
    """What its caller said since, if it was paused."""
    traceparent: str | None = None
    """The W3C `traceparent` of the sender."""


class Processes:
    """The processes of one handler, each started when it is first needed."""

    __slots__ = ("_all", "_closed", "_function", "_idle", "_threads")

    def __init__(self, function: Callable[[Message], Any], threads: Executor) -> None:
        """For a function that a process can import.

        Raises:
            UsageError: It cannot.
        """
        try:
            self._function = pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"a process cannot import {function!r}: {error}; define it at the top of a module"
            ) from error
        self._threads = threads
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._closed = False

    async def run(self, message: Message) -> Said:
        """How the handler ends with a message."""
        process = self._idle.pop() if self._idle else _Process(self._function)
        self._all.add(process)
        loop = asyncio.get_running_loop()
        kept = False
        try:
            said = await loop.run_in_executor(self._threads, process.ask, message)
            kept = not self._closed
        except (EOFError, OSError):
            raise Retry(f"the process of the handler died{process.how()}") from None
        finally:
            if kept:
                self._idle.append(process)
            else:
                self._all.discard(process)
                process.kill()
        return said

    def close(self) -> None:
        """Ends the processes, also those at work."""
        self._closed = True
        self._idle.clear()
        while self._all:
            self._all.pop().kill()


class _Process:
    """A process, and the connection to it."""

    def __init__(self, function: bytes) -> None:
        self._ours, theirs = _spawning.Pipe()
        self._theirs: Connection[Any, Any] | None = theirs
        self._process = _spawning.Process(target=_work, args=(function, theirs), daemon=True)
        self._killed = False

    def ask(self, message: Message) -> Said:
        """Has it work on a message and waits. Runs on a thread."""
        if self._theirs is not None:
            self._process.start()
            # Only the process itself holds its end, so that its death is seen.
            self._theirs.close()
            self._theirs = None
            if self._killed:
                self._process.kill()
        self._ours.send(message)
        return self._ours.recv()

    def how(self) -> str:
        """How it ended, as far as that is known."""
        if self._process.pid is None:
            return ""
        self._process.join(1)
        code = self._process.exitcode
        return "" if code is None else f" with exit code {code}"

    def kill(self) -> None:
        """Ends it; who waits for it is told."""
        self._killed = True
        if self._process.pid is not None:
            self._process.kill()


def check_not_importing() -> None:
    """Refuses to run an agent while a process of it imports the program that runs it.

    Raises:
        UsageError: It does.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "a process of a handler imports this program to find the handler; put what runs the "
            'agent under `if __name__ == "__main__":`'
        )


def _called(call: Callable[[Message], Any], message: Message) -> Any:
    _tracing.enter(message)
    return call(message)


def _work(function: bytes, connection: Connection[Any, Any]) -> None:
    """The life of a process: one message after the other, until its agent is gone."""
    # A Ctrl-C is meant for the agent, which ends its processes when it has finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    call: Callable[[Message], Any] = pickle.loads(function)
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            result = copy_context().run(_called, call, message)
            said: Said = ("complete", None if result is None else to_payload(result))
        except Exception as error:
            said = said_of(error)
            if not isinstance(error, HandlerEnd):
                log.warning(
                    "the handler of %s raised at attempt %d of %s",
                    message.skill,
                    message.attempt,
                    message.id,
                    exc_info=error,
                )
        connection.send(said)
