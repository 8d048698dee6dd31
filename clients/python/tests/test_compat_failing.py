"""Handlers, messages and exceptions of every kind cost the drop-in broker no worker."""

from __future__ import annotations

import asyncio
import functools
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from compat_tools import ME, asked, one_by_one, running, told, until, who
from trunkline import errors
from trunkline.compat import (
    AgentCommunicationMixin,
    AgentIdentity,
    AgentMessage,
    AgentMessageBroker,
    AgentSupervisor,
    MessageMetadata,
    MessagePriority,
    MessageType,
    create_event_message,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

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
        pytest.param(
            lambda: told(A, "x"),
            worse,
            0,
            1,
            "WorseThanWordless",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 11), reason="a package of pytest's cannot show it there"
            ),
        ),
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


def changed(name: str, value: Any, *, metadata: bool = False) -> AgentMessage:
    message = told(A, "x")
    setattr(message.metadata if metadata else message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (lambda: "x", "message"),
        (lambda: changed("priority", 3, metadata=True), "priority is a int"),
        (lambda: changed("ttl_seconds", "1", metadata=True), "ttl_seconds is a str"),
        (lambda: changed("timestamp", 1.0, metadata=True), "timestamp is a float"),
        (lambda: changed("metadata", None), "metadata is a NoneType"),
        (lambda: changed("recipients", None), "recipients is a NoneType"),
        (lambda: changed("recipients", ["a"]), "a recipient is a str"),
        (lambda: changed("recipients", [A, "a"]), "a recipient is a str"),
        (lambda: changed("ttl_seconds", 10**400, metadata=True), "ttl_seconds is too large"),
        (lambda: told(A, "x", correlation_id=[]), "correlation_id is a list"),
        (lambda: changed("payload", "x"), "payload is a str"),
        (lambda: changed("sender", "me"), "sender is a str"),
        (lambda: changed("message_type", "request"), "message_type is a str"),
        (lambda: changed("recipients", {"a": 1}), "recipients is a dict"),
        (lambda: changed("recipients", ()), "recipients is a tuple"),
        (lambda: changed("retry_count", True, metadata=True), "retry_count is True"),
        (lambda: changed("retry_count", 2**31 + 1, metadata=True), "from 0 to 2147483648"),
        (lambda: changed("ttl_seconds", float("nan"), metadata=True), "ttl_seconds is nan"),
        (lambda: told(A, "x", reply_to=[]), "reply_to is a list"),
        (lambda: event({"topic": Plain.NEWS}), "the topic of an event is a Plain"),
        (lambda: event({"topic": 5}), "the topic of an event is a int"),
        (lambda: event({}), "names no topic"),
    ],
)
async def test_what_is_no_message_is_refused_before_anything_is_sent(
    message: Callable[[], Any], match: str
) -> None:
    async with running(one_by_one()) as broker:
        seen = list[AgentMessage]()
        broker.register_agent(A, seen.append)
        with pytest.raises(errors.InvalidError, match=match):
            await broker.send_message(message())
        with pytest.raises(errors.InvalidError):
            await broker.send_request(message())
        stats = broker.get_stats()
        assert (stats["messages_sent"], stats["pending_requests"]) == (0, 0)
    assert seen == []


class Plain(Enum):
    NEWS = "news"


class Text(str, Enum):
    NEWS = "news"


def event(payload: dict[str, Any]) -> AgentMessage:
    return AgentMessage(ME, [], MessageType.EVENT, payload)


async def test_a_topic_may_be_a_text_that_is_a_member_of_an_enum() -> None:
    async with running(one_by_one()) as broker:
        seen = list[AgentMessage]()
        broker.register_agent(A, seen.append)
        broker.subscribe("a", Text.NEWS)
        await broker.publish_event("news", ME, {})
        await broker.send_message(create_event_message(ME, Text.NEWS, {}))
        await until(lambda: len(seen) == 2)
        assert [type(message.payload["topic"]) for message in seen] == [str, str]
        broker.unsubscribe("a", Text.NEWS)
        assert broker.get_subscribers("news") == set()


async def test_an_event_of_which_a_part_is_none_is_refused_whoever_subscribes() -> None:
    wrong: Any = 5
    async with running(one_by_one()) as broker:
        good: list[Any] = ["t", ME, {}, MessagePriority.LOW]
        for place in range(len(good)):
            parts = [*good[:place], wrong, *good[place + 1 :]]
            with pytest.raises(errors.InvalidError, match="is a int"):
                await broker.publish_event(*parts)
        with pytest.raises(errors.InvalidError, match="agent_id is a list"):
            broker.unsubscribe([], "t")  # pyright: ignore[reportArgumentType]


async def test_the_mixin_names_what_is_no_type_no_handler_and_no_request() -> None:
    wrong: Any
    no_types: list[Any] = [[], "telegram", 5]
    async with running(one_by_one()) as broker:
        agent = AgentCommunicationMixin(broker, A)
        for wrong in no_types:
            with pytest.raises(errors.InvalidError, match="no type of messages"):
                agent.register_message_handler(wrong, lambda _: {})
        for wrong in (5, None):
            with pytest.raises(errors.InvalidError, match="cannot be called"):
                agent.register_message_handler(MessageType.EVENT, wrong)
            with pytest.raises(errors.InvalidError, match="a message is a"):
                await agent.send_response(wrong, {})
        wrong = "request"
        agent.register_message_handler(wrong, lambda _: {"by": "text"})
        answer = await broker.send_request(asked(A))
        assert answer is not None
        assert answer.payload == {"by": "text"}


async def test_a_response_that_is_none_is_refused() -> None:
    async with running(one_by_one()) as broker:
        response = asked(A).create_response(A, {})
        response.metadata.correlation_id = []  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(errors.InvalidError, match="correlation_id"):
            await broker.send_message(response)


async def test_topics_and_times_are_what_they_have_to_be() -> None:
    broker = AgentMessageBroker(one_by_one())
    await broker.start()
    broker.register_agent(A, lambda _: {})
    topic: Any = []
    for call in (broker.subscribe, broker.unsubscribe):
        with pytest.raises(errors.InvalidError, match="a topic is a list"):
            call("a", topic)
    with pytest.raises(errors.InvalidError, match="a topic is a list"):
        await broker.publish_event(topic, ME, {})
    for timeout in ("x", float("nan"), 10**400):
        with pytest.raises(errors.InvalidError, match="timeout is"):
            await broker.stop(timeout)  # pyright: ignore[reportArgumentType]
        with pytest.raises(errors.InvalidError, match="timeout is"):
            await broker.send_request(asked(A), timeout)  # pyright: ignore[reportArgumentType]
    assert broker.get_stats()["running"]
    await broker.stop(None)
    assert not broker.get_stats()["running"]


async def test_a_supervisor_bears_queries_and_answers_that_are_none() -> None:
    async with running(one_by_one()) as broker:
        nothing: Any = None

        def answer_nothing(message: AgentMessage) -> AgentMessage:
            answer = message.create_response(A, {})
            answer.payload = nothing
            return answer

        broker.register_agent(A, answer_nothing)
        broker.register_agent(B, lambda _: {"b": 1})
        supervisor = AgentSupervisor(broker, ME)
        gathering = await supervisor.scatter([A, B], {})
        assert gathering.completed == {"b": {"b": 1}}
        assert gathering.failed == {"a": "InvalidError: payload is a NoneType, it has to be a dict"}
        with pytest.raises(errors.InvalidError, match="a query is a dict"):
            await supervisor.scatter([A], nothing)
        no_agents: list[Any] = [5, None, "a", [[]], ["a"]]
        for wrong in no_agents:
            with pytest.raises(errors.InvalidError, match="AgentIdentity"):
                await supervisor.scatter(wrong, {})
            with pytest.raises(errors.InvalidError, match="AgentIdentity"):
                await supervisor.share_context(wrong, {})


@pytest.mark.parametrize("how", ["a dict", "a response", "later"])
async def test_a_handler_that_changes_the_id_of_a_request_answers_it(how: str) -> None:
    async with running(one_by_one()) as broker:

        async def change(message: AgentMessage) -> AgentMessage | dict[str, Any] | None:
            message.metadata.correlation_id = "other"
            if how == "a dict":
                return {"how": how}
            response = message.create_response(A, {"how": how})
            if how == "a response":
                return response
            await broker.send_message(response)
            return None

        answers = list[AgentMessage]()
        broker.register_agent(A, change)
        broker.register_agent(ME, answers.append)
        response = await broker.send_request(asked(A), timeout=None)
        assert response is not None
        assert response.payload == {"how": how}
        assert broker.get_stats()["pending_requests"] == 0
    # It does not come to the one who asked besides.
    assert answers == []


async def test_a_handler_may_pass_on_what_another_has_answered() -> None:
    async with running(one_by_one()) as broker:

        async def pass_on(_: AgentMessage) -> AgentMessage | None:
            return await broker.send_request(asked(B), timeout=None)

        broker.register_agent(A, pass_on)
        broker.register_agent(B, lambda _: {"b": 1})
        response = await broker.send_request(asked(A), timeout=None)
        assert response is not None
        assert response.payload == {"b": 1}


async def test_an_answer_to_several_comes_to_those_who_are_there() -> None:
    async with running(one_by_one()) as broker:
        seen = list[AgentMessage]()

        def answer(message: AgentMessage) -> AgentMessage:
            response = message.create_response(A, {})
            response.recipients = [who("gone"), B]
            return response

        broker.register_agent(A, answer)
        broker.register_agent(B, seen.append)
        await broker.send_message(asked(A))
        await until(lambda: len(seen) == 1)
        assert [reason for _, reason in broker.get_dead_letters()] == [
            "agent 'gone' is not registered"
        ]


async def test_a_handler_that_raises_what_ends_coroutines_takes_no_worker_along() -> None:
    async with running(one_by_one(retry_max_attempts=0)) as broker:
        seen = list[AgentMessage]()

        def leave(_: AgentMessage) -> None:
            raise GeneratorExit

        broker.register_agent(A, leave)
        broker.register_agent(B, seen.append)
        await broker.send_message(told(A, "x"))
        await broker.send_message(told(B, "y"))
        await until(lambda: len(seen) == 1)
        assert [reason for _, reason in broker.get_dead_letters()] == ["GeneratorExit"]


async def test_a_handler_of_which_nothing_would_run_is_refused() -> None:
    async def later(_: AgentMessage) -> AsyncGenerator[int]:
        yield 1

    def now(_: AgentMessage) -> Generator[int]:
        yield 1

    class Called:
        async def __call__(self, _: AgentMessage) -> AsyncGenerator[int]:
            yield 1

    broker = AgentMessageBroker()
    for handler in (later, now, Called(), functools.partial(later)):
        with pytest.raises(errors.InvalidError, match="the handler of 'a' yields"):
            broker.register_agent(A, handler)


async def test_agents_are_found_by_what_has_a_hash() -> None:
    bad: Any = ["a"]
    with pytest.raises(errors.InvalidError, match="agent_id is a list"):
        AgentIdentity(bad, "t", "A")
    for capabilities in (None, "costs"):
        with pytest.raises(errors.InvalidError, match="capabilities is a"):
            AgentIdentity("a", "t", "A", capabilities)  # pyright: ignore[reportArgumentType]
    async with running(one_by_one()) as broker:
        for call in (broker.unregister_agent, broker.get_agent):
            with pytest.raises(errors.InvalidError, match="agent_id is a list"):
                call(bad)
        with pytest.raises(errors.InvalidError, match="agent_id is a list"):
            broker.subscribe(bad, "topic")
        # Ids that cannot be compared with each other are as good as others.
        seen, number = list[object](), AgentIdentity(1, "t", "A")  # pyright: ignore[reportArgumentType]
        for one in (B, number):
            broker.register_agent(one, lambda _, one=one: seen.append(one.agent_id))
            broker.subscribe(one.agent_id, "topic")
        await broker.publish_event("topic", ME, {})
        await until(lambda: len(seen) == 2)
        assert seen == [1, "b"]


async def test_a_supervisor_asks_each_agent_once() -> None:
    async with running(one_by_one()) as broker:
        seen = list[AgentMessage]()
        broker.register_agent(A, lambda message: seen.append(message) or {"n": len(seen)})
        gathering = await AgentSupervisor(broker, ME).scatter([A, who("a")], {})
        assert (gathering.completed, len(seen)) == ({"a": {"n": 1}}, 1)


async def test_settings_that_were_changed_are_looked_at_again() -> None:
    with pytest.raises(errors.InvalidError, match="config is a dict"):
        AgentMessageBroker({})  # pyright: ignore[reportArgumentType]
    broker = AgentMessageBroker()
    broker.config.num_workers = 0
    with pytest.raises(errors.InvalidError, match="num_workers is 0"):
        await broker.start()


def test_without_an_event_loop_the_broker_says_so() -> None:
    broker = AgentMessageBroker()
    for call in (broker.send_message(told(A, "x")), broker.send_request(asked(A)), broker.start()):
        with pytest.raises(errors.LoopError, match="no event loop runs here"):
            call.send(None)


async def test_a_thread_of_a_handler_with_a_loop_of_its_own_lends_no_place() -> None:
    async with running(one_by_one(retry_max_attempts=0)) as broker:
        refused = list[str]()

        async def ask(_: AgentMessage) -> None:
            # Such a thread has the context of its handler.
            try:
                await asyncio.to_thread(asyncio.run, broker.send_request(asked(B)))
            except errors.LoopError as error:
                refused.append(str(error))
            refused.append(f"{len(seen)} handled meanwhile")

        seen = list[AgentMessage]()
        broker.register_agent(A, ask)
        broker.register_agent(B, seen.append)
        await broker.send_message(told(A, "x"))
        await broker.send_message(told(B, "y"))
        await until(lambda: len(seen) == 1)
        assert [text.split(";")[0] for text in refused] == [
            "the broker is at work on another event loop",
            "0 handled meanwhile",
        ]
