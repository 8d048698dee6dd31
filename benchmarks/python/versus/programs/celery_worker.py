"""The worker of the celery side, as `celery -A celery_worker worker` imports it.

What it handles it writes into the pipe that BENCH_PIPE names: the load sees it there.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

celery: Any = importlib.import_module("celery")
signals: Any = importlib.import_module("celery.signals")

_REDIS = os.environ["BENCH_REDIS"]

app: Any = celery.Celery("bench", broker=_REDIS, backend=_REDIS)
app.conf.update(
    # A message counts when it was handled and acknowledged.
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    # As its documentation advises for many short tasks.
    worker_prefetch_multiplier=64,
)

READY = "the worker is ready"
"""What it says once it takes work."""


_pipe = os.open(os.environ["BENCH_PIPE"], os.O_RDWR)


@app.task(name="handle", ignore_result=True)
def handle(text: str) -> None:
    """One way."""
    os.write(_pipe, text.encode())


@app.task(name="answer")
def answer(text: str) -> str:
    """A request."""
    os.write(_pipe, text.encode())
    return text


@signals.worker_ready.connect
def _tell(**_: Any) -> None:
    # Celery takes standard output for its log.
    os.write(1, READY.encode() + b"\n")
