"""Handlers, messages and exceptions of every kind cost the drop-in broker no worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from compat_tools import ME, asked, one_by_one, running, told, until, who
from trunkline import errors
from trunkline.compat import AgentMessage, MessageMetadata, MessageType

if TYPE_CHECKING:
    from collections.abc import Callable

A, B = who("a"), who("b")


class Mine(AgentMessage):
    """A message with a constructor of its own."""

    def __init__(self, word: str) -> None:
        super().__init__(ME, [A], MessageType.STATUS_UPDATE, {"word": word})


class Wordless(Exception):  # noqa: N818
    """An exception that does not say what it is."""

    def __str__(self) -> str:
        raise self.other

    other: BaseException = RuntimeError("no text")


class Over(BaseException):
    """What is no `Exception`."""


class WorseThanWordless(Wordless):
    other = Over()


def without_recipients(message: AgentMessage) -> None:
    message.recipients = None  # pyright: ignore[reportAttributeAccessIssue]
    raise RuntimeError("no")


def without_metadata(message: AgentMessage) -> None:
    message.metadata = None  # pyright: ignore[reportAttributeAccessIssue]
    raise RuntimeError("no")


def plainly(_: AgentMessage) -> None:
    raise RuntimeError("no")


def wordless(_: AgentMessage) -> None:
    raise Wordless


def worse(_: AgentMessage) -> None:
    raise WorseThanWordless


@pytest.mark.parametrize(
    ("message", "handler", "attempts", "times", "reason"),
    [
        (lambda: told(A, "x", retry_count=5000), plainly, 1, 1, "RuntimeError: no"),
        (lambda: Mine("x"), plainly, 1, 2, "RuntimeError: no"),
        (lambda: told(A, "x"), without_recipients, 1, 2, "RuntimeError: no"),
        (lambda: told(A, "x"), without_metadata, 1, 1, "RuntimeError"),
        (lambda: told(A, "x"), wordless, 0, 1, "Wordless"),
        (lambda: told(A, "x"), worse, 0, 1, "WorseThanWordless"),
    ],
)
async def test_whatever_fails_becomes_a_dead_letter_and_the_worker_goes_on(
    message: Callable[[], AgentMessage],
    handler: Callable[[AgentMessage], Any],
    attempts: int,
    times: int,
    reason: str,
) -> None:
    config = one_by_one(retry_max_attempts=attempts, retry_backoff_ms=1)
    async with running(config) as broker:
        seen, begun = list[AgentMessage](), list[str]()

        def handle(message: AgentMessage) -> Any:
            begun.append(message.payload["word"])
            return handler(message)

        broker.register_agent(A, handle)
        broker.register_agent(B, seen.append)
        await broker.send_message(message())
        await until(lambda: len(broker.get_dead_letters()) == 1)
        await broker.send_message(told(B, "next"))
        await until(lambda: len(seen) == 1)
        assert begun == ["x"] * times
        assert broker.get_dead_letters()[0][1] == reason
        stats = broker.get_stats()
        assert stats["messages_retried"] == times - 1
        assert stats["worker_pool"]["worker_details"][0]["active"] == 0


async def test_what_is_tried_again_is_of_its_class() -> None:
    async with running(one_by_one(retry_backoff_ms=1)) as broker:
        seen = list[AgentMessage]()

        def handle(message: AgentMessage) -> None:
            seen.append(message)
            if len(seen) == 1:
                raise RuntimeError

        broker.register_agent(A, handle)
        await broker.send_message(Mine("x"))
        await until(lambda: len(seen) == 2)
    assert [(type(one), one.metadata.retry_count) for one in seen] == [(Mine, 0), (Mine, 1)]
    assert seen[0].message_id == seen[1].message_id


@pytest.mark.parametrize("count", ["1", -1, 1.0, None])
def test_a_count_of_attempts_is_a_whole_number(count: Any) -> None:
    with pytest.raises(errors.InvalidError, match="retry_count is"):
        MessageMetadata(retry_count=count)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_response_to_nobody_is_refused_at_once(waits: bool) -> None:
    async with running(one_by_one(retry_backoff_ms=1)) as broker:

        def answer(message: AgentMessage) -> AgentMessage:
            response = message.create_response(A, {"a": 1})
            response.recipients = []
            return response

        broker.register_agent(A, answer)
        if waits:
            # Who waits for it is known without them.
            response = await broker.send_request(asked(A))
            assert response is not None
        else:
            await broker.send_message(asked(A))
            await until(lambda: len(broker.get_dead_letters()) == 1)
            assert "without recipients" in broker.get_dead_letters()[0][1]
        stats = broker.get_stats()
        assert (stats["messages_delivered"], stats["messages_retried"]) == (int(waits), 0)
