"""A server of a turn: started on a free port of loopback, and killed when the turn is over."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE = 30.0
"""How many seconds it may take until it is ready."""

_LOOK = 0.02


class Server:
    """A running server.

    It is of the process group of its turn, so that it ends with the turn in any case.
    """

    def __init__(
        self,
        command: Sequence[str],
        address: str | None,
        folder: str,
        env: Mapping[str, str] | None = None,
        ready: str | None = None,
    ) -> None:
        """Starts it and waits until it listens or says that it is ready.

        Args:
            command: The program and its arguments.
            address: Where it will listen, if it does.
            folder: Where its files lie, its log among them.
            env: The environment, if it is not that of this process.
            ready: A text that is in its log as soon as it is ready, where listening is not enough.

        Raises:
            RuntimeError: It ended, or is not ready in time; it says what it said last.
        """
        self.address = address or ""
        self._log = Path(folder) / f"{Path(command[0]).name}.log"
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=folder
            )
        self.process = self._running.pid
        deadline = time.monotonic() + PATIENCE
        while not (_listens(self.address) if ready is None else ready in self._said()):
            if self._running.poll() is not None or time.monotonic() > deadline:
                self.kill()
                last = self._said().strip().rpartition("\n")[2]
                raise RuntimeError(f"{command[0]} is not ready; it said: {last or 'nothing'}")
            time.sleep(_LOOK)

    def kill(self) -> None:
        """Ends it."""
        self._running.kill()
        self._running.wait()

    def _said(self) -> str:
        return self._log.read_text(errors="replace")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1.0):
        return True
    return False
