"""OpenTelemetry's context goes from who sends to who handles, and on from there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest
import trunkline
import work
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from trunkline import errors

if TYPE_CHECKING:
    from trunkline import Client, Task

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
OTHER = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"


def span(number: int) -> NonRecordingSpan:
    """A span of the caller's trace, as an SDK would start one."""
    return NonRecordingSpan(SpanContext(TRACE, number, is_remote=False, trace_flags=TraceFlags(1)))


def told(number: int) -> str:
    return f"00-{TRACE:032x}-{number:016x}-01"


def here() -> str:
    known = trace.get_current_span().get_span_context()
    if not known.is_valid:
        return "none"
    flags = f"{known.trace_flags:02x}"
    return f"00-{known.trace_id:032x}-{known.span_id:016x}-{flags} {known.is_remote}"


def tracer() -> trunkline.Agent:
    agent = trunkline.Agent("tracer")

    @agent.task("loop")
    async def on_loop(_: Task) -> str:
        return here()

    @agent.task("thread")
    def on_thread(_: Task) -> str:
        return here()

    @agent.task("carry")
    async def carry(task: Task) -> list[str | None]:
        inherited = (await task.request("skill:told")).text
        with trace.use_span(span(5)):
            by_task = (await task.request("skill:told")).text
            by_agent = (await agent.send_and_wait("skill:told")).text
            said = (await task.request("skill:told", traceparent=OTHER)).text
        return [inherited, by_task, by_agent, said]

    @agent.task("told")
    async def tell(task: Task) -> str:
        return str(task.traceparent)

    agent.process("process", processes=1)(work.compute)
    return agent


async def test_a_handler_runs_within_the_span_of_who_sent(client: Client) -> None:
    agent = tracer()
    await agent.start(client)
    async with agent:
        for skill in ("loop", "thread"):
            for sent in (CALLER, OTHER):
                reply = await client.request(f"skill:{skill}", traceparent=sent)
                assert reply.text == f"{sent} True"
            # That of one delivery does not stay for the next.
            assert (await client.request(f"skill:{skill}")).text == "none"
        inside = await client.request("skill:process", "trace", traceparent=CALLER)
        assert inside.text == f"{TRACE:x}"
        assert (await client.request("skill:process", "trace")).text == "0"


async def test_what_was_sent_without_a_span_is_handled_in_none(client: Client) -> None:
    agent, kept = tracer(), ContextVar("kept", default="")

    @agent.task("kept")
    async def keep(_: Task) -> str:
        return kept.get()

    kept.set("what was set")
    with trace.use_span(span(9)):
        await agent.start(client)
        # Who starts it has its span still.
        assert here() != "none"
    async with agent:
        for skill in ("loop", "thread"):
            assert (await client.request(f"skill:{skill}")).text == "none"
        assert (await client.request("skill:kept")).text == "what was set"


async def test_what_is_sent_carries_the_current_span(client: Client) -> None:
    agent = tracer()
    await agent.start(client)
    async with agent:
        carried = await client.request("skill:carry", traceparent=CALLER)
        assert carried.json == [CALLER, told(5), told(5), OTHER]
        assert (await client.request("skill:told")).text == "None"
        with trace.use_span(span(6)):
            assert (await client.request("skill:told")).text == told(6)
            assert (await client.request("skill:told", traceparent=OTHER)).text == OTHER
            gathered = await client.gather("skill:told")
            sent = await client.send("skill:told")
        assert gathered.answers["tracer"].text == told(6)
        assert (await client.wait(sent.id)).text == told(6)


async def test_a_batch_runs_within_the_span_that_all_of_it_came_from(client: Client) -> None:
    agent, seen = trunkline.Agent("batches"), dict[str, list[str]]()

    @agent.batch("work", size=2, linger="30s", concurrency=1)
    async def work(tasks: list[Task]) -> list[str]:
        key = "".join(sorted(task.text for task in tasks))
        one_by_one: list[str] = []
        for task in sorted(tasks, key=lambda it: it.text):
            with task.traced():
                one_by_one.append(here())
        seen[key] = [here(), *one_by_one, here()]
        return [here() for _ in tasks]

    await agent.start(client)
    async with agent:
        for pair, senders in {"ab": (CALLER, CALLER), "cd": (CALLER, OTHER)}.items():
            asked = (
                client.request("skill:work", text, traceparent=sender)
                for text, sender in zip(pair, senders, strict=True)
            )
            await asyncio.gather(*asked)
        await asyncio.gather(*(client.request("skill:work", text) for text in "ef"))
    assert seen == {
        "ab": [f"{CALLER} True"] * 4,
        "cd": ["none", f"{CALLER} True", f"{OTHER} True", "none"],
        "ef": ["none"] * 4,
    }


def stated(*members: tuple[str, str]) -> NonRecordingSpan:
    """A span of the caller's trace with a state."""
    about = SpanContext(TRACE, 7, False, TraceFlags(1), TraceState(list(members)))
    return NonRecordingSpan(about)


async def test_the_state_of_a_trace_goes_along_as_a_header(client: Client) -> None:
    agent, batches = trunkline.Agent("states"), list[list[str]]()

    def state(_: Task) -> str:
        return trace.get_current_span().get_span_context().trace_state.to_header()

    @agent.task("loop")
    async def on_loop(task: Task) -> list[str | None]:
        # What a handler sends is known to be of the same trace.
        passed_on = (await task.request("skill:thread")).text
        return [state(task), task.header("tracestate"), passed_on]

    @agent.batch("batch", size=2)
    async def batch(tasks: list[Task]) -> None:
        with tasks[0].traced():
            batches.append([state(task) for task in tasks])

    agent.task("thread")(state)
    agent.process("process", processes=1)(work.compute)
    await agent.start(client)
    async with agent:
        with trace.use_span(stated(("a", "1"), ("b", "2"))):
            assert (await client.request("skill:loop")).json == ["a=1,b=2"] * 3
            told = await client.request("skill:loop", headers={"x": "y"})
            assert told.json == ["a=1,b=2"] * 3
            # The sender's own word counts, and a state without its span says nothing.
            told = await client.request("skill:thread", headers=[("Tracestate", "c=3")])
            assert told.text == "c=3"
            assert (await client.request("skill:thread", traceparent=OTHER)).text == ""
            assert (await client.request("skill:process", "state")).text == "a=1,b=2"
            await client.request("skill:batch")
            outcome = await client.tell_all("skill:thread", ["x"])
        assert batches == [["a=1,b=2"]]
        assert outcome.accepted == 1
        with trace.use_span(span(5)):
            assert (await client.request("skill:thread")).text == ""
        # It takes no place from the sender's headers.
        full = {f"x{n}": "y" for n in range(64)}
        with trace.use_span(stated(("a", "1"))):
            told = await client.request("skill:loop", headers=full)
            assert told.json[:2] == ["", None]
            del full["x0"]
            told = await client.request("skill:loop", headers=full)
            assert told.json[:2] == ["a=1", "a=1"]
        # As much of it as everybody carries; the oldest goes first.
        long = [(str(n), "x" * 200) for n in "abc"]
        with trace.use_span(stated(*long)):
            cut = (await client.request("skill:thread")).text
        assert cut == f"a={'x' * 200},b={'x' * 200}"


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"headers": 1}, "2 headers, the limit is 1, and the first beyond it is 'tracestate'"),
        ({"header_bytes": 100}, "header 'tracestate' has 113 bytes, the limit is 100"),
    ],
)
async def test_who_sends_within_a_trace_learns_that_its_state_is_over_a_limit(
    limits: trunkline.LimitSettings, says: str
) -> None:
    async with trunkline.Broker(limits=limits) as broker:
        with trace.use_span(stated(("a", "x" * 101))):
            with pytest.raises(errors.TooLargeError, match=says):
                await broker.tell("agent:a", headers={"x": "y"})
            # Headers that name it count instead.
            await broker.tell("agent:a", headers={"tracestate": ""})
        await broker.tell("agent:a", headers={"x": "y"})


@pytest.mark.parametrize("there", [True, False])
def test_without_the_package_there_is_no_span_and_no_harm(there: bool) -> None:
    program = f"""
import asyncio, sys
if not {there}:
    sys.modules["opentelemetry"] = None
    sys.modules["opentelemetry.context"] = None
import trunkline
assert "opentelemetry.trace" not in sys.modules
agent = trunkline.Agent("a")

@agent.task("a")
async def a(task):
    from_here = "opentelemetry.trace" in sys.modules
    return f"{{task.traceparent}} {{from_here}}"

async def main():
    async with trunkline.Broker() as broker:
        await agent.start(broker)
        async with agent:
            print((await broker.request("skill:a")).text)
            print((await broker.request("skill:a", traceparent="{CALLER}")).text)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    # It is imported by nobody before there is a span.
    assert (done.stdout, done.stderr) == (f"None False\n{CALLER} {there}\n", "")
