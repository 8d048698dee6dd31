"""The host of AutoGen's gRPC runtimes, as a program: `autogen_host.py HOST:PORT`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


async def main(address: str) -> None:
    """Serves until it is killed."""
    grpc: Any = importlib.import_module("autogen_ext.runtimes.grpc")
    host = grpc.GrpcWorkerAgentRuntimeHost(address)
    host.start()
    await host.stop_when_signal()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
