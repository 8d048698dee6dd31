"""AutoGen's core with its gRPC runtime: two runtimes on one event loop, their host elsewhere."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..places import PROGRAMS
from ..servers import Server, free_port
from .side import AsyncSide

if TYPE_CHECKING:
    from ..load import Load
    from ..work import Work

core: Any = importlib.import_module("autogen_core")
grpc: Any = importlib.import_module("autogen_ext.runtimes.grpc")


@dataclass
class Say:
    """A message one way."""

    content: str


@dataclass
class Ask:
    """A request, and its answer."""

    content: str


class _Handles(core.RoutedAgent):
    """Sees every payload; answers with what it has."""

    def __init__(self, side: AutoGen) -> None:
        core.RoutedAgent.__init__(self, "sees")
        self._side = side

    @core.event
    async def say(self, message: Say, ctx: Any) -> None:
        self._side.load.see(message.content.encode())

    @core.rpc
    async def ask(self, message: Ask, ctx: Any) -> Ask:
        self._side.load.see(message.content.encode())
        return message


class AutoGen(AsyncSide):
    """Events to a topic, which are not acknowledged, and messages to an agent, which are answered.

    A runtime sends and another has the agent, as it is where they are apart.
    """

    def __init__(self, folder: str) -> None:
        """Starts the host."""
        super().__init__()
        address = f"127.0.0.1:{free_port()}"
        command = [sys.executable, str(PROGRAMS / "autogen_host.py"), address]
        self._server = Server(command, address, folder)
        self.others = [self._server.process]
        self.load: Load

    async def open(self) -> None:
        """Connects both runtimes."""
        self._sends = grpc.GrpcWorkerAgentRuntime(self._server.address)
        self._handles = grpc.GrpcWorkerAgentRuntime(self._server.address)
        for runtime in (self._sends, self._handles):
            await runtime.start()
            for kind in (Say, Ask):
                known = core.try_get_known_serializers_for_type(kind)
                runtime.add_message_serializer(known)
        await _Handles.register(self._handles, "bench", lambda: _Handles(self))
        await self._handles.add_subscription(core.TypeSubscription("bench", "bench"))
        self._topic, self._agent = core.TopicId("bench", "one"), core.AgentId("bench", "one")

    async def begin(self, work: Work, load: Load) -> None:
        """Has the agent see this load."""
        self.load = load

    def messages(self, work: Work, load: Load) -> list[Any]:
        """The payloads as text, which is what its JSON carries."""
        kind = Ask if work.requests else Say
        return [kind(payload.decode()) for payload in load.payloads]

    async def tell(self, message: Any) -> None:
        """Publishes an event."""
        await self._sends.publish_message(message, self._topic)

    async def request(self, message: Any) -> bytes:
        """Asks."""
        answer = await self._sends.send_message(message, self._agent)
        return answer.content.encode()

    async def shut(self) -> None:
        """Ends both runtimes and their host."""
        await self._sends.stop()
        await self._handles.stop()
        self._server.kill()
