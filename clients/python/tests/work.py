"""Handlers that processes import."""

from __future__ import annotations

import os
import time
from pathlib import Path

import trunkline
from opentelemetry import trace


def compute(message: trunkline.Message) -> object:
    word = message.text
    if word == "die" and message.attempt == 1:
        os._exit(7)
    if word.startswith("hang "):
        Path(word.split(" ", 1)[1]).touch()
        time.sleep(3600)
    if word == "reject":
        raise trunkline.Reject("not mine")
    if word == "ask" and not message.messages:
        raise trunkline.InputRequired("which?")
    if word == "trace":
        return f"{trace.get_current_span().get_span_context().trace_id:x}"
    if word == "state":
        return trace.get_current_span().get_span_context().trace_state.to_header()
    if word == "object":
        return object()
    if word.startswith("meet "):
        # Goes on only when as many processes work at once.
        place, wanted = Path(word.split(" ", 2)[2]), int(word.split(" ", 2)[1])
        (place / str(os.getpid())).touch()
        while len(list(place.iterdir())) < wanted:
            time.sleep(0.001)
    answers = [answer.text for answer in message.messages]
    return {"pid": os.getpid(), "attempt": message.attempt, "answers": answers}


def answer_nothing(_: trunkline.Message) -> str:  # pyright: ignore[reportReturnType]
    """Forgets its answer."""
