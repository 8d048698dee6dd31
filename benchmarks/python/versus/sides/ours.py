"""Trunkline: the broker in this process, and the Rust binary over the network."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Literal

import trunkline

from ..servers import Server, free_port
from .side import AsyncSide

if TYPE_CHECKING:
    from ..load import Load
    from ..work import Work

_SKILL = "skill:bench"


_AT_ONCE = 256
"""How many are handed over, or handled, at once at most."""


class InProcess(AsyncSide):
    """Broker, sender and handler on one event loop."""

    senders = 16

    def __init__(self, way: str) -> None:
        """Chooses how one-way messages go.

        Args:
            way: Empty for one by one to an `async def` handler, `lists` for many handed over at
                once to such a handler, `batches` for many at once on both sides.
        """
        super().__init__()
        self._by_batches = way == "batches"
        if way:
            self.senders, self.lists = 4, _AT_ONCE

    async def open(self) -> None:
        """Opens the broker."""
        self._client: trunkline.Client = trunkline.Broker()

    async def begin(self, work: Work, load: Load) -> None:
        """Starts the agent."""
        self._agent = trunkline.Agent("bench")
        self._handle(work, load)
        await self._agent.start(self._client)

    def _handle(self, work: Work, load: Load) -> None:
        see, see_all = load.see, load.see_all

        async def handle(task: trunkline.Task) -> None:
            see(task.data)

        async def answer(task: trunkline.Task) -> bytes:
            data = task.data
            see(data)
            return data

        async def handle_all(tasks: list[trunkline.Task]) -> None:
            see_all([task.data for task in tasks])

        if self._by_batches:
            # A build of the package that has no such handlers is not asked.
            agent: Any = self._agent
            agent.batch("bench", size=_AT_ONCE)(handle_all)
        else:
            self._agent.task("bench")(answer if work.requests else handle)

    async def tell(self, message: Any) -> None:
        """Sends a one-way message, accepted when this returns."""
        await self._client.tell(_SKILL, message)

    async def tell_all(self, messages: list[Any]) -> int:
        """Sends many; returns how many of them were accepted."""
        client: Any = self._client
        return (await client.tell_all(_SKILL, messages)).accepted

    async def request(self, message: Any) -> bytes:
        """Asks."""
        return (await self._client.request(_SKILL, message)).data

    async def settle(self) -> None:
        """The agent sees everything settled that it held, and then leaves."""
        await self._agent.stop()

    async def end(self) -> tuple[int | None, int]:
        """There is nothing more to take down."""
        await self._agent.stop()
        return None, 0

    async def shut(self) -> None:
        """Closes the broker."""
        await self._client.close()


class Network(InProcess):
    """Sender and handler on one event loop, the broker in a process of its own."""

    senders = 64

    def __init__(
        self, way: str, binary: str, folder: str, transport: Literal["framed", "grpc"]
    ) -> None:
        """Starts the broker.

        Args:
            way: As in process.
            binary: The Rust binary.
            folder: Where files may lie.
            transport: What carries the messages.
        """
        super().__init__(way)
        self._binary, self._settled = binary, 0
        self._transport: Literal["framed", "grpc"] = transport
        address = f"127.0.0.1:{free_port()}"
        command = [binary, "serve", "--listen", address, *self._keeps(folder)]
        # It listens before it has recovered what it keeps.
        self._server = Server(command, address, folder, ready="trunkline listens")
        self.others = [self._server.process]

    def _keeps(self, folder: str) -> list[str]:
        del folder
        return ["--ephemeral"]

    async def open(self) -> None:
        """Makes the client."""
        self._client = trunkline.connect(self._server.address, transport=self._transport)

    async def end(self) -> tuple[int | None, int]:
        """Asks the broker what it counted."""
        await super().end()
        stats = self._stats()
        before, self._settled = self._settled, stats["messages_settled"]
        return self._settled - before, sum(stats["now"].values())

    def _stats(self) -> dict[str, Any]:
        command = [self._binary, "stats", "--json", "--url", f"http://{self._server.address}"]
        said = subprocess.run(command, capture_output=True, check=True, text=True)
        return json.loads(said.stdout)

    async def shut(self) -> None:
        """Ends the broker as well."""
        await super().shut()
        self._server.kill()


class Durable(Network):
    """The same with tasks that are kept on disk before they are accepted and when they are done."""

    senders = 512

    def _keeps(self, folder: str) -> list[str]:
        return ["--data", f"{folder}/data"]

    async def tell(self, message: Any) -> None:
        """Submits a task, accepted when this returns."""
        await self._client.send(_SKILL, message)

    async def tell_all(self, messages: list[Any]) -> int:
        """Submits many tasks; returns how many of them were accepted."""
        client: Any = self._client
        return (await client.send_all(_SKILL, messages)).accepted
