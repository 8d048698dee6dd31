"""Celery with Redis: the load in this process, the worker and Redis in one each."""

from __future__ import annotations

import gc
import importlib
import os
import select
import shutil
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..counts import Counts, Turn, quantile
from ..load import PAYLOAD
from ..meter import Meter
from ..places import PROGRAMS
from ..servers import Server, free_port

if TYPE_CHECKING:
    from ..load import Load
    from ..work import Work

_WINDOW = 128
"""One-way messages sent and not handled; what is handled fits into the pipe."""

_PATIENCE = 30.0


class Celery:
    """A worker with the pool `solo`, which runs tasks without handing them to another process."""

    def __init__(self, folder: str, durable: bool) -> None:
        """Starts Redis and the worker.

        Args:
            folder: Where files may lie.
            durable: Whether Redis keeps a log of what it is told and flushes it every time.
        """
        redis = shutil.which("redis-server")
        if redis is None:
            raise FileNotFoundError("there is no redis-server")
        address = f"127.0.0.1:{free_port()}"
        host, port = address.split(":")
        keeps = ["--appendonly", "yes", "--appendfsync", "always"] if durable else []
        command = [redis, "--bind", host, "--port", port, "--save", "", *keeps, "--dir", folder]
        self._redis_server = Server(command, address, folder)
        pipe = f"{folder}/handled"
        os.mkfifo(pipe)
        os.environ.update(BENCH_REDIS=f"redis://{address}/0", BENCH_PIPE=pipe)
        sys.path.append(str(PROGRAMS))
        module: Any = importlib.import_module("celery_worker")
        self._pipe = os.open(pipe, os.O_RDWR)
        self._app, self._handle, self._answer = module.app, module.handle, module.answer
        celery = [sys.executable, "-m", "celery", "--workdir", str(PROGRAMS), "-A", "celery_worker"]
        options = [
            "--pool",
            "solo",
            "--loglevel",
            "WARNING",
            "--without-gossip",
            "--without-mingle",
        ]
        worker = [*celery, "worker", *options]
        self._worker = Server(worker, None, folder, ready=module.READY)
        self._others = [self._redis_server.process, self._worker.process]
        redis_client: Any = importlib.import_module("redis")
        self._redis = redis_client.Redis(host=host, port=int(port))

    def play(self, work: Work, load: Load) -> Turn:
        """Does the work with all of the load.

        Raises:
            DisagreementError: Counts do not agree.
        """
        texts = [payload.decode() for payload in load.payloads]
        took: list[float] = []
        gc.collect()
        gc.freeze()
        meter, begun = Meter(self._others), time.perf_counter()
        if work.requests:
            self._ask(work.in_flight, load, texts, took)
        else:
            self._tell(load, texts)
        left = self._left()
        elapsed = time.perf_counter() - begun
        own, others = meter.read()
        gc.unfreeze()
        took.sort()
        answered = load.answered if work.requests else None
        return Turn(
            Counts(load.sent, load.accepted, load.handled, load.wrong, answered, left=left),
            seconds=elapsed,
            cpu=own,
            cpu_others=others,
            p50=quantile(took, 0.5) if took else None,
            p99=quantile(took, 0.99) if took else None,
        )

    def close(self) -> None:
        """Ends the worker and Redis."""
        self._worker.kill()
        self._redis_server.kill()

    def _tell(self, load: Load, texts: list[str]) -> None:
        load.window = min(load.window, _WINDOW)
        for text in texts:
            while load.full and self._see(load):
                pass
            load.sent += 1
            self._handle.apply_async((text,))
            load.accepted += 1
        while load.open and self._see(load):
            pass

    def _ask(self, in_flight: int, load: Load, texts: list[str], took: list[float]) -> None:
        asked: deque[tuple[bytes, float, Any]] = deque()
        for payload, text in zip(load.payloads, texts, strict=True):
            if len(asked) == in_flight:
                self._hear(load, asked, took)
            load.sent += 1
            asked.append((payload, time.perf_counter(), self._answer.apply_async((text,))))
            load.accepted += 1
        while asked:
            self._hear(load, asked, took)

    def _hear(self, load: Load, asked: deque[tuple[bytes, float, Any]], took: list[float]) -> None:
        payload, begun, result = asked.popleft()
        answer = result.get(timeout=_PATIENCE)
        took.append(time.perf_counter() - begun)
        load.answer(payload, answer.encode())
        # What it answered it handled before, and wrote into the pipe.
        while load.open > len(asked) and self._see(load):
            pass

    def _see(self, load: Load) -> bool:
        """Sees what the worker has handled; whether there was anything before patience ended."""
        if not select.select([self._pipe], [], [], _PATIENCE)[0]:
            return False
        many = os.read(self._pipe, PAYLOAD * 256)
        load.see_all(many[at : at + PAYLOAD] for at in range(0, len(many), PAYLOAD))
        return True

    def _left(self) -> int:
        """What waits or is not acknowledged, once nothing is or patience ended."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            left = self._redis.llen("celery") + self._redis.hlen("unacked")
            if not left or time.monotonic() > deadline:
                return left
