"""What cannot work is told as an exception of our own: never a panic, never a hang."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
import trunkline
from conftest import PATIENCE
from trunkline import _payload, errors
from trunkline._loop import current
from trunkline._spans import seconds
from work import answer_nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from trunkline import Client, Task


def idle() -> trunkline.Agent:
    agent = trunkline.Agent("idle")

    @agent.task("idle")
    async def rest(_: Task) -> None:
        return None

    return agent


async def test_a_closed_client_says_so(client: Client) -> None:
    waiting = asyncio.ensure_future(client.request("skill:nobody", timeout="100ms"))
    events = await client.subscribe("a")
    next_event = asyncio.ensure_future(anext(events))
    # Both begin to wait.
    await asyncio.sleep(0)
    await client.publish("b")
    await client.close()
    await client.close()
    assert client.closed
    hanging: list[asyncio.Future[Any]] = [waiting, next_event]
    for hung in hanging:
        with pytest.raises((errors.UnavailableError, errors.ExpiredError)):
            await asyncio.wait_for(hung, 20)
    for call in (
        client.publish("a"),
        client.request("skill:a"),
        client.task("0192f0c1-2d3e-7000-8000-00000000002a"),
        anext(client.subscribe("a")),
        idle().start(client),
    ):
        with pytest.raises(errors.ClosedError, match="was closed; make another"):
            await call


MISTAKES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda c: c.request("planet:mars"), "unknown destination 'planet:mars'"),
    (lambda c: c.request("skill:a b"), "a b"),
    (lambda c: c.request(5), "to is 5; give a str"),
    (lambda c: c.send("skill:a", priority="huge"), "unknown priority 'huge'"),
    (lambda c: c.send("skill:a", priority=5), "priority is 5; give a str"),
    (lambda c: c.send("skill:a", ttl="soon"), "'soon' is no span of time"),
    (lambda c: c.send("skill:a", ttl=-1), "out of range"),
    (lambda c: c.send("skill:a", ttl=1e300), "out of range"),
    (lambda c: c.send("skill:a", colour="red"), "no setting 'colour'"),
    (lambda c: c.send("skill:a", timeout=1), "no setting 'timeout'"),
    (lambda c: c.publish("a", timeout=1), "no setting 'timeout'"),
    (lambda c: c.request("skill:a", wanted=1), "no setting 'wanted'"),
    (lambda c: c.request("skill:a", ttl=1), "say `timeout` instead"),
    (lambda c: c.gather("all", ttl=1), "say `timeout` instead"),
    (lambda c: c.gather("all", wanted=-1), "wanted is -1; give a whole number from 1"),
    (lambda c: c.gather("all", wanted="a"), "wanted is 'a'; give a whole number from 1"),
    (lambda c: c.send("skill:a", absent="sulk"), "one of park, fail, discard"),
    (lambda c: c.send("skill:a", headers={"a": 1}), r"headers is .*'a', 1.*; give a dict of texts"),
    (lambda c: c.send("skill:a", headers="x"), "headers is .*; give a dict of texts"),
    (lambda c: c.send("skill:a", attempts=2, priority=99), "priority is 99; give a str"),
    (lambda c: c.send("skill:a", key=1), "key is 1; give a str"),
    (lambda c: c.send("skill:a", attempts=-1), "attempts is -1; give a whole number from 0"),
    (lambda c: c.send("skill:a", attempts=10**20), "attempts is 1.*; give a whole number that is"),
    (lambda c: c.send("skill:a", attempts="1"), "attempts is '1'; give a whole number"),
    (lambda c: c.send(None), "to is None; give a str"),
    (lambda c: c.send_all(1, ["a"]), "to is 1; give a str"),
    (lambda c: c.tell("skill:a", kind=1), "kind is 1; give a str"),
    (lambda c: c.publish(None), "topic is None; give a str"),
    (lambda c: c.publish_all(1, ["a"]), "topic is 1; give a str"),
    (lambda c: anext(c.subscribe(3)), "pattern is 3; give a str"),
    (lambda c: anext(c.subscribe("a", group=3)), "group is 3; give a str"),
    (lambda c: anext(c.subscribe("a", drop_oldest=3)), "drop_oldest is 3; give True or False"),
    (lambda c: anext(c.watch("x", -1)), "after is -1; give a whole number from 0"),
    (lambda c: anext(c.tasks(since="now")), "since is 'now'; give a datetime"),
    (lambda c: c.cancel(["x"]), r"id is \['x'\]; give a str"),
    (lambda c: c.set_agent("a", draining="x"), "draining is 'x'; give True or False"),
    (lambda c: c.send("skill:a", headers={"a": "\ud800"}), "surrogates"),
    (lambda c: c.send("skill:\ud800"), "surrogates"),
    (lambda c: c.task("x"), "'x' is no message id"),
    (lambda c: c.publish("a..b"), "a..b"),
    (lambda c: anext(c.subscribe("")), "empty"),
    (lambda c: anext(c.watch("x")), "'x' is no message id"),
    (lambda c: anext(c.tasks(limit=0)), "the least is 1"),
    (lambda c: anext(c.tasks(states=["lost"])), "unknown task state 'lost'"),
]


@pytest.mark.parametrize(("call", "text"), MISTAKES)
async def test_what_is_malformed_is_named(
    client: Client, call: Callable[[Client], Any], text: str
) -> None:
    with pytest.raises(errors.InvalidError, match=text):
        await call(client)


@pytest.mark.parametrize("value", [object(), {1: object()}, float("nan"), {"a"}])
async def test_what_cannot_be_sent_is_named(client: Client, value: Any) -> None:
    if value != value and _payload.orjson is not None:
        pytest.skip("orjson writes null for it")
    with pytest.raises(errors.PayloadError, match="cannot be sent as JSON"):
        await client.publish("a", value)


async def test_a_text_that_is_no_text_is_named(client: Client) -> None:
    with pytest.raises(errors.PayloadError, match="send its bytes"):
        await client.publish("a", "\ud800")


async def test_whatever_a_handler_raises_is_told(client: Client) -> None:
    agent = trunkline.Agent("odd")

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("mute")

    ends: dict[str, BaseException] = {
        "surrogates": ValueError("\ud800"),
        "surrogate reason": trunkline.Reject("\ud800"),
        "no text": trunkline.Fail(5),  # pyright: ignore[reportArgumentType]
        "mute": MuteError(),
        "cancelled by itself": asyncio.CancelledError(),
        "long": ValueError("x" * 100_000),
    }

    @agent.task("odd")
    async def odd(task: Task) -> None:
        raise ends[task.text]

    @agent.message
    async def more(task: Task) -> None:
        raise ends["cancelled by itself" if task.text == "x" else "long"]

    await agent.start(client)
    async with agent:
        for name, error, reason in [
            ("surrogates", errors.DeadLetteredError, r"ValueError: \?"),
            ("surrogate reason", errors.RejectedError, r"rejected: \?"),
            ("no text", errors.FailedError, "failed: 5"),
            ("mute", errors.DeadLetteredError, "how the handler ended cannot be told"),
        ]:
            with pytest.raises(error, match=reason):
                await client.send_and_wait("skill:odd", name, attempts=1)
        with pytest.raises(errors.DeadLetteredError, match="the handler was cancelled"):
            await client.send_and_wait("agent:odd", "x", attempts=1)
        with pytest.raises(errors.DeadLetteredError, match="ValueError: x"):
            await client.send_and_wait("agent:odd", "y", attempts=1)


async def test_a_handler_that_returns_nothing_where_an_answer_is_declared_fails(
    client: Client,
) -> None:
    agent = trunkline.Agent("forgetful")

    @agent.task("on-the-loop")
    async def on_the_loop(_: Task) -> dict[str, int]:  # pyright: ignore[reportReturnType]
        pass

    @agent.task("on-a-thread")
    def on_a_thread(_: Task) -> str | bytes:  # pyright: ignore[reportReturnType]
        pass

    agent.process("in-a-process", processes=1)(answer_nothing)

    @agent.message
    async def to_itself(_: Task) -> Annotated[str, "a verdict"]:  # pyright: ignore[reportReturnType]
        heard.set()

    heard = asyncio.Event()

    await agent.start(client)
    async with agent:
        for skill in ("skill:on-the-loop", "skill:on-a-thread", "skill:in-a-process"):
            with pytest.raises(errors.FailedError, match="returned nothing"):
                await client.request(skill)
        # Who is only told something has no answer to miss.
        await client.tell("agent:forgetful", "x")
        await asyncio.wait_for(heard.wait(), PATIENCE)
        assert agent.stats().failed == 3


async def test_a_handler_may_return_nothing_where_its_annotation_says_so(client: Client) -> None:
    agent = trunkline.Agent("quiet")

    async def unsaid(_: Task):
        pass

    async def none(_: Task) -> None:
        pass

    async def maybe(_: Task) -> dict[str, int] | None:
        pass

    async def maybe_in_letters(_: Task) -> "Optional[Unheard]":  # noqa: UP037, F821  # pyright: ignore
        pass

    async def anything(_: Task) -> Any:
        pass

    async def literal(_: Task) -> Literal["no", None]:
        pass

    async def wrapped(_: Task) -> Annotated[str | None, "a verdict"]:
        pass

    handlers: list[Callable[[Task], Any]] = [
        unsaid,
        none,
        maybe,
        maybe_in_letters,
        anything,
        literal,
        wrapped,
    ]
    for handler in handlers:
        agent.task(handler.__name__)(handler)

    @agent.on("heard")
    async def heard(_: Task) -> str:  # pyright: ignore[reportReturnType]
        seen.set()

    seen = asyncio.Event()
    await agent.start(client)
    async with agent:
        for handler in handlers:
            assert (await client.request(f"skill:{handler.__name__}")).data == b""
        # Nobody asks for the answer to an event.
        await client.publish("heard", "x")
        await asyncio.wait_for(seen.wait(), PATIENCE)


async def test_a_handler_cannot_wait_for_its_own_agent_to_stop(client: Client) -> None:
    agent = trunkline.Agent("leaver")
    stopping: list[asyncio.Task[None]] = []

    @agent.task("leave")
    async def leave(_: Task) -> str:
        with pytest.raises(errors.UsageError, match="would wait for itself"):
            await agent.stop()
        stopping.append(asyncio.create_task(agent.stop()))
        return "bye"

    await agent.start(client)
    assert (await client.request("skill:leave")).text == "bye"
    await asyncio.wait_for(stopping[0], 20)


@pytest.mark.parametrize("in_batches", [False, True])
async def test_a_plain_handler_cannot_wait_for_its_own_agent_to_stop(
    client: Client, in_batches: bool
) -> None:
    agent = trunkline.Agent("leaver")
    stopping: list[asyncio.Task[None]] = []

    def leave(task: Task) -> str:
        with pytest.raises(errors.UsageError, match="would wait for itself"):
            task.wait(agent.stop())

        async def begin() -> None:
            stopping.append(asyncio.create_task(agent.stop()))

        task.wait(begin())
        return "bye"

    def all_leave(tasks: list[Task]) -> list[str]:
        return [leave(task) for task in tasks]

    if in_batches:
        agent.batch("leave", size=2)(all_leave)
    else:
        agent.task("leave")(leave)
    await agent.start(client)
    assert (await client.request("skill:leave")).text == "bye"
    await asyncio.wait_for(stopping[0], PATIENCE)


async def test_a_plain_handler_may_wait_for_another_agent_to_stop(client: Client) -> None:
    agent, rested = trunkline.Agent("boss"), idle()

    @agent.task("send-home")
    def send_home(task: Task) -> str:
        task.wait(rested.stop())
        return "home"

    await agent.start(client)
    await rested.start(client)
    async with agent:
        assert (await client.request("skill:send-home")).text == "home"
    with pytest.raises(errors.ClosedError, match="does not run"):
        rested.stats()


async def test_what_a_handler_says_with_the_wrong_types_is_named(client: Client) -> None:
    agent = trunkline.Agent("odd")

    class Two:
        def __index__(self) -> int:
            return 2

    @agent.task("on-the-loop")
    async def on_the_loop(task: Task) -> None:
        for wrong in (TEXT, HALF, NONE, LIST):
            with pytest.raises(errors.InvalidError, match="a whole number from 0 to 100"):
                await task.progress(wrong)
        for far in (-1, 101, 10**30):
            with pytest.raises(errors.InvalidError, match="the range is 0 to 100"):
                await task.progress(far)
        two: Any = Two()
        await task.progress(two)
        for wrong in (FIVE, NONE):
            with pytest.raises(errors.InvalidError, match="takes a coroutine"):
                task.wait(wrong)

    @agent.task("on-a-thread")
    def on_a_thread(task: Task) -> None:
        for wrong in (FIVE, NONE, BARE):
            with pytest.raises(errors.InvalidError, match=r"takes a coroutine, such as `task\.pro"):
                task.wait(wrong)

    await agent.start(client)
    async with agent:
        for skill in ("skill:on-the-loop", "skill:on-a-thread"):
            await client.send_and_wait(skill, attempts=1)


@pytest.mark.filterwarnings("error")
async def test_an_agent_runs_in_no_loop_of_somebody_else() -> None:
    agent = idle()
    with pytest.raises(errors.LoopError, match=r"`await agent\.serve\(...\)` instead"):
        agent.run(trunkline.Broker())
    gc.collect()


@pytest.mark.filterwarnings("error")
async def test_a_coroutine_that_was_not_awaited_is_named(client: Client) -> None:
    with pytest.raises(errors.PayloadError, match="await it and send what it returns"):
        await client.publish("a", asyncio.sleep(0))


async def test_an_answer_that_is_no_json_is_named(client: Client) -> None:
    async with client.subscribe("a") as events:
        await client.publish("a")
        event = await anext(events)
        with pytest.raises(errors.PayloadError, match="no bytes are no JSON"):
            _ = event.json


async def test_an_agent_is_described_before_it_runs(client: Client) -> None:
    lacking = trunkline.Agent("lacking", skills=["a"])
    with pytest.raises(errors.UsageError, match=r"no handler for its skill 'a'"):
        await lacking.start(client)
    with pytest.raises(errors.InvalidError, match=r"give a list, such as \['a'\]"):
        trunkline.Agent("text", skills="a")
    with pytest.raises(errors.InvalidError, match="the range is 1 to 4096"):
        trunkline.Agent("many").task("a", concurrency=0)(print)
    agent = idle()
    with pytest.raises(errors.ClosedError, match="does not run"):
        await agent.publish("a")
    await agent.start(client)
    async with agent:
        with pytest.raises(errors.UsageError, match="runs already"):
            await agent.start(client)
        with pytest.raises(errors.UsageError, match="give it its handlers before"):
            agent.message(print)
    await agent.stop()
    bad = trunkline.Agent("no id")
    bad.message(print)
    with pytest.raises(errors.InvalidError, match="no id"):
        await bad.start(client)
    # What failed to start can be started once the mistake is mended.
    await agent.start(client)
    await agent.stop()


async def one(_: Task) -> None:
    """A handler."""


async def other(_: Task) -> None:
    """Another one."""


def each(_: list[Task]) -> None:
    """One of batches."""


TWICE: list[tuple[Callable[[trunkline.Agent], Any], str, str]] = [
    (lambda a: [a.task("s")(one), a.task("s")(other)], "skill s", "another skill"),
    (lambda a: [a.task("s")(one), a.process("s")(answer_nothing)], "skill s", "another skill"),
    (lambda a: [a.task("s")(one), a.batch("s")(each)], "skill s", "another skill"),
    (lambda a: [a.message(one), a.message(other)], "message", "into one handler"),
    (lambda a: [a.batch()(each), a.message(other)], "message", "into one handler"),
    # The one whose filter does not hold would not be asked either.
    (
        lambda a: [a.on("e.*", filter="1 > 0")(one), a.on("e.*", filter="1 < 0")(other)],
        r"event e\.\*",
        "different patterns",
    ),
    (lambda a: [a.on("e")(one), a.batch(topics="e")(each)], "event e", "different patterns"),
    # One with a schema is told by its own name.
    (
        lambda a: [a.task("s", input_schema={})(one), a.task("s", input_schema={})(other)],
        "skill s",
        "another skill",
    ),
]


@pytest.mark.parametrize(("give", "of", "remedy"), TWICE)
def test_a_second_handler_of_the_same_is_refused(
    give: Callable[[trunkline.Agent], Any], of: str, remedy: str
) -> None:
    agent = trunkline.Agent("double")
    with pytest.raises(errors.UsageError, match=f"agent 'double' has the handler .* of {of}") as it:
        give(agent)
    assert remedy in str(it.value)
    names = [
        at for at in ("one", "other", "each", "answer_nothing") if f" {at} at" in str(it.value)
    ]
    assert len(names) == 2, str(it.value)


def test_handlers_of_different_things_may_have_the_same_name() -> None:
    agent = trunkline.Agent("several")
    agent.task("a")(one)
    agent.task("b")(one)
    agent.on("a")(one)
    agent.on("a.*")(one)
    agent.message(one)


async def pieces(_: Task) -> AsyncIterator[int]:
    yield 1


def lines(_: Task) -> Iterator[int]:
    yield 1


class Pieces:
    async def __call__(self, _: Task) -> AsyncIterator[int]:
        yield 1


async def deaf() -> None:
    """Cannot be told what to handle."""


async def by_name(*, task: Task) -> None:
    """Would have to be told by name."""


HANDLERS: list[tuple[Any, str]] = [
    (pieces, "pieces at .* yields.*return the answer"),
    (lines, "lines at .* yields"),
    (Pieces(), "Pieces object at .* yields"),
    (deaf, "deaf at .* takes nothing.*such as `task`"),
    (by_name, "by_name at .* takes nothing"),
    (lambda: None, "takes nothing"),
]


GIVEN: list[Callable[[trunkline.Agent], Any]] = [
    lambda a: a.task("s"),
    lambda a: a.on("s"),
    lambda a: a.message,
    lambda a: a.batch("s"),
    lambda a: a.task("s", input_schema={}),
]


@pytest.mark.parametrize(("handler", "message"), HANDLERS)
@pytest.mark.parametrize("give", GIVEN)
def test_a_handler_that_cannot_be_called_with_its_task_is_refused(
    give: Callable[[trunkline.Agent], Any], handler: Any, message: str
) -> None:
    with pytest.raises(errors.UsageError, match=message):
        give(trunkline.Agent("a"))(handler)


def test_a_handler_in_a_process_has_to_take_its_message_and_to_return() -> None:
    for handler, message in HANDLERS[1:2] + HANDLERS[5:]:
        with pytest.raises(errors.UsageError, match=message):
            trunkline.Agent("a").process("s")(handler)


def test_there_has_to_be_an_event_loop() -> None:
    broker = trunkline.Broker()
    with pytest.raises(errors.LoopError, match="no event loop runs here"):
        broker.publish("a").send(None)


def test_a_client_serves_several_event_loops_and_an_agent_one() -> None:
    broker, agent = trunkline.Broker(), idle()

    async def begin() -> None:
        await agent.start(broker)
        await broker.request("skill:idle")

        async def elsewhere() -> None:
            # The agent answers on its own loop.
            assert (await broker.request("skill:idle")).agent == "idle"
            with pytest.raises(errors.LoopError, match="runs on another event loop"):
                await agent.stop()

        await asyncio.to_thread(asyncio.run, elsewhere())
        await agent.stop()

    asyncio.run(begin())
    asyncio.run(begin())


def test_a_loop_that_ends_without_stopping_its_agent_gives_its_work_back() -> None:
    broker = trunkline.Broker()
    first, second = trunkline.Agent("first"), trunkline.Agent("second")

    async def leave() -> str:
        begun = asyncio.Event()

        @first.task("work")
        async def work(_: Task) -> None:
            begun.set()
            await asyncio.Event().wait()

        await first.start(broker)
        sent = await broker.send("skill:work")
        await begun.wait()
        return sent.id

    async def take_over(sent: str) -> str:
        @second.task("work")
        async def work(_: Task) -> str:
            return "done"

        await second.start(broker)
        async with second:
            return (await asyncio.wait_for(broker.wait(sent), 20)).text

    assert asyncio.run(take_over(asyncio.run(leave()))) == "done"


@pytest.mark.parametrize("how", ["run", "closed"])
@pytest.mark.parametrize("then", ["start", "stop", "handlers", "figures"])
def test_an_agent_whose_loop_was_closed_does_not_run(how: str, then: str) -> None:
    broker, agent = trunkline.Broker(), trunkline.Agent("left")
    begun: list[asyncio.Event] = []

    @agent.task("work")
    async def work(task: Task) -> str:
        if task.attempt == 1:
            begun[0].set()
            await asyncio.Event().wait()
        return "done"

    async def leave() -> str:
        begun.append(asyncio.Event())
        await agent.start(broker)
        sent = await broker.send("skill:work")
        await begun[0].wait()
        return sent.id

    async def begin_anew(sent: str) -> str:
        if then == "stop":
            await agent.stop()
        elif then == "handlers":
            agent.message(one)
        elif then == "figures":
            with pytest.raises(errors.ClosedError, match="does not run"):
                agent.stats()
            with pytest.raises(errors.UsageError, match="start the agent first"):
                await agent.__aenter__()
        await agent.start(broker)
        async with agent:
            # What it held has come back.
            answer = await asyncio.wait_for(broker.wait(sent), PATIENCE)
        await broker.close()
        return answer.text

    if how == "run":
        sent = asyncio.run(leave())
    else:
        loop = asyncio.new_event_loop()
        sent = loop.run_until_complete(leave())
        # Its tasks are left where they are, and said to be so when they go.
        loop.set_exception_handler(lambda _loop, _context: None)
        loop.close()
    assert asyncio.run(begin_anew(sent)) == "done"


def test_a_loop_that_watches_no_descriptors_is_named() -> None:
    class Blind(asyncio.SelectorEventLoop):
        def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
            raise NotImplementedError

    # Its own wake-up is watched by other means.
    loop = asyncio.new_event_loop()
    loop.add_reader = Blind.add_reader.__get__(loop)  # type: ignore[method-assign]
    try:
        with pytest.raises(errors.LoopError, match="use asyncio's selector event loop or uvloop"):
            loop.run_until_complete(trunkline.Broker().publish("a"))
    finally:
        loop.close()


async def test_nobody_at_the_address_is_told() -> None:
    async with trunkline.connect("127.0.0.1:1") as client:
        with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1:1"):
            await client.publish("a")
    with pytest.raises(errors.InvalidError, match="no broker URL"):
        trunkline.connect("ftp://x")
    with pytest.raises(errors.InvalidError, match="none of auto, framed, grpc"):
        trunkline.connect(transport="pigeon")  # pyright: ignore[reportArgumentType]


async def test_a_directory_belongs_to_one_broker_at_a_time(folder: Path) -> None:
    async with trunkline.Broker(folder / "data") as broker:
        kept = await broker.send("skill:later", "x")
        with pytest.raises(errors.OpenError):
            trunkline.Broker(folder / "data")
    async with trunkline.Broker(folder / "data") as broker:
        assert (await broker.task(kept.id)).state == "submitted"
    (folder / "file").write_text("x")
    with pytest.raises(errors.OpenError):
        trunkline.Broker(folder / "file")


def test_spans_are_read_as_people_write_them() -> None:
    for span, expected in [
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        (2, 2.0),
        (timedelta(minutes=1), 60.0),
    ]:
        assert seconds(span) == expected
    for wrong in (
        1e12,
        "99999999999d",
        float("inf"),
        "",
        "10",
        "5 m",
        "m",
        "-1s",
        -0.1,
        float("nan"),
    ):
        with pytest.raises(errors.InvalidError):
            seconds(wrong)


def test_every_refusal_and_failure_has_its_class() -> None:
    codes = """
        invalid too-large not-found already-taken stale-token out-of-order inbox-full key-reused
        key-cap nobody-there disk-full store-failed draining forbidden unavailable wrong-state
        deadlock
    """
    assert {it.code for it in errors.Refused.__subclasses__()} == set(codes.split())
    ends = "failed rejected expired dead-lettered canceled lost nobody-there left-out"
    assert {it.code for it in errors.Unanswered.__subclasses__()} == set(ends.split())
    assert all(issubclass(it, errors.TrunklineError) for it in errors.Refused.__subclasses__())


FIVE: Any = 5
HALF: Any = 1.5
TEXT: Any = "x"
LIST: Any = []
BARE: Any = print
NONE: Any = None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: trunkline.Agent("a", skills=FIVE), "give a list of texts"),
        (lambda: trunkline.Agent("a", labels=FIVE), "give a dict of texts"),
        (lambda: trunkline.Agent("a").task("s", concurrency=TEXT)(print), "the range is 1 to 4096"),
        (lambda: trunkline.Agent("a").task("s", concurrency=HALF)(print), "the range is 1 to 4096"),
        (lambda: trunkline.Agent("a").task("s", timeout=LIST)(print), "a span of time is seconds"),
        (lambda: trunkline.Agent("a").task("s")(FIVE), "a handler is a function, not a int"),
        (lambda: trunkline.Agent("a").task(FIVE), r"not by a int; write `@agent.task\("),
        # Decorators that stand bare, or called with nothing, would register no handler.
        (lambda: trunkline.Agent("a").task(BARE), r"not by the handler.*`@agent.task\("),
        (lambda: trunkline.Agent("a").process(BARE), r"`@agent.process\("),
        (lambda: trunkline.Agent("a").on(BARE), r"`@agent.on\("),
        (lambda: trunkline.Agent("a").batch(BARE), r"`@agent.batch\(\)`"),
        (lambda: trunkline.Agent("a").batch(topics=BARE), r"`@agent.batch\(topics="),
        (lambda: trunkline.Agent("a").message(), "write `@agent.message`"),
        (lambda: trunkline.Agent("a").batch(size=TEXT), "the range is 2 to 1024"),
        (lambda: trunkline.connect(FIVE), "an address is a text"),
        (lambda: trunkline.Broker(FIVE), "give the path of a directory"),
        (lambda: trunkline.Broker(limits=FIVE), "give a dict of settings"),
        (lambda: trunkline.Retry(after=LIST), "a span of time is seconds"),
    ],
)
def test_what_has_the_wrong_type_is_named(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(errors.InvalidError, match=message):
        wrong()


async def test_what_is_sent_with_the_wrong_types_is_named(client: Client) -> None:
    for sent, message in [
        (client.send_all("skill:a", FIVE), "give a list"),
        (client.send_all("skill:a", {"a": 1}), "give a list"),
        (client.send("skill:a", headers=FIVE), "give a dict or a list of pairs"),
        (client.send("skill:a", ttl=LIST), "a span of time is seconds"),
        (idle().start(FIVE), "a Broker, a Client or an address"),
    ]:
        with pytest.raises(errors.InvalidError, match=message):
            await sent


async def test_what_is_asked_with_the_wrong_types_is_named(client: Client) -> None:
    async def first(listed: Callable[[], AsyncIterator[Any]]) -> Any:
        return await anext(listed())

    for asked, message in [
        (first(lambda: client.tasks(states=FIVE)), "states is 5; give a list of texts"),
        (first(lambda: client.tasks(states=TEXT)), "states is the text 'x'; give a list"),
        (first(lambda: client.tasks(limit=TEXT)), "limit is 'x', the least is 1"),
        (first(lambda: client.tasks(except_agents=FIVE)), "except_agents is 5"),
        (first(lambda: client.agents(labels=FIVE)), "labels is 5; give a dict"),
        (client.redrive(FIVE), "a letter is a DeadLetterInfo or its id, not 5"),
        (client.set_inbox("skill:a", bindings=FIVE), "bindings is 5; give a dict"),
        (client.close(LIST), "a span of time is seconds")
        if isinstance(client, trunkline.Broker)
        else (client.redrive(HALF), "not 1.5"),
    ]:
        with pytest.raises(errors.InvalidError, match=message):
            await asked


async def test_one_who_cannot_be_told_keeps_no_answer_from_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Deaf:
        def done(self) -> bool:
            return False

        def set_result(self, result: Any, /) -> None:
            raise RuntimeError("deaf")

        def set_exception(self, exception: Any, /) -> None:
            raise RuntimeError("deaf")

    async with trunkline.Broker() as broker:
        agent = idle()
        await agent.start(broker)
        async with agent:
            loop = current()
            speak = broker._speaks().speak
            loop.tell(speak(loop.native, "request", "skill:idle", b"", "", None), Deaf())
            # Answered in the same turn of the loop.
            await asyncio.wait_for(broker.request("skill:idle"), 20)
    assert "what a call came to could not be told" in caplog.text
