"""Handlers that declare what they take and give."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
import trunkline
from conftest import PATIENCE
from declaring import Made, Order, count, make
from trunkline import _payload, errors

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline import Agent, Client, Message, Task


class Part(pydantic.BaseModel):
    file: str
    lines: list[int]


class Diff(pydantic.BaseModel):
    parts: list[Part]
    author: str = pydantic.Field(alias="by", default="nobody")


class Verdict(pydantic.BaseModel):
    ok: bool
    author: str = pydantic.Field(alias="by")


NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TEXT = {"title": "a word", "type": "string", "maxLength": 5}


async def started(agent: Agent, client: Client) -> Agent:
    await agent.start(client)
    return agent


def reviewer() -> Agent:
    agent = trunkline.Agent("reviewer")

    @agent.task("review")
    async def review(task: Task, diff: Diff) -> Verdict:
        assert task.attempt == 1
        return Verdict(ok=len(diff.parts) == 1, by=diff.author)

    @agent.task("plain")
    def plain(task: Task, diff: Diff) -> Verdict | None:
        assert task.attempt == 1
        return Verdict(ok=True, by=diff.author) if diff.parts else None

    @agent.task("odd")
    async def odd(task: Task) -> Verdict:
        assert task.attempt == 1
        return task.json

    return agent


async def test_a_model_gets_the_input_and_gives_the_output(client: Client) -> None:
    value = {"parts": [{"file": "a", "lines": [1, 2]}], "by": "me"}
    async with await started(reviewer(), client):
        for skill in ("review", "plain"):
            for sent in (value, trunkline.MessagePack(value), Diff.model_validate(value)):
                reply = await client.send_and_wait(f"skill:{skill}", sent)
                assert reply.json == {"ok": True, "by": "me"}
                assert reply.content_type == "application/json"
        assert (await client.send_and_wait("skill:plain", {"parts": []})).data == b"null"


MISFITS: list[tuple[Any, str]] = [
    ({"parts": [{"file": "a", "lines": ["x"]}]}, r"Diff: parts\.0\.lines\.0: .*integer"),
    ({}, "Diff: parts: Field required"),
    (None, "Diff: the whole: .*valid dictionary"),
    ("{", "Diff: the whole: Invalid JSON"),
    (trunkline.MessagePack({"parts": 5}), "Diff: parts: .*list"),
    (trunkline.Payload(b"\xc1", "application/msgpack"), "no MessagePack"),
    ({"parts": [{}] * 9}, r"parts\.2\.file: Field required; and more$"),
]


@pytest.mark.parametrize(("value", "reason"), MISFITS)
async def test_input_that_does_not_fit_is_rejected_and_its_field_named(
    client: Client, value: Any, reason: str
) -> None:
    async with await started(reviewer(), client):
        for skill in ("review", "plain"):
            with pytest.raises(errors.RejectedError, match=f"rejected: the input .*{reason}"):
                await client.send_and_wait(f"skill:{skill}", value)


async def test_output_that_does_not_fit_fails(client: Client) -> None:
    async with await started(reviewer(), client):
        assert (await client.send_and_wait("skill:odd", {"ok": 1, "by": "me"})).json["ok"] is True
        for value in (b'{"ok": "maybe", "by": "me"}', b"5", b"null"):
            with pytest.raises(errors.FailedError, match="the output does not fit Verdict: "):
                await client.send_and_wait("skill:odd", value)


async def test_processes_have_models_and_schemas_as_well(client: Client) -> None:
    agent = trunkline.Agent("maker")
    agent.process("make", processes=1)(make)
    agent.process("count", processes=1, input_schema=NUMBER)(count)
    agent.process("word", processes=1, output_schema=TEXT)(count)
    async with await started(agent, client):
        reply = await client.send_and_wait("skill:make", Order(size=2))
        assert Made.model_validate(reply.json).total == 4
        with pytest.raises(errors.RejectedError, match="the input does not fit Order: size: "):
            await client.send_and_wait("skill:make", {"size": "x"})
        # It was changed into what does not fit after it was made.
        with pytest.raises(errors.FailedError, match="the output does not fit Made: "):
            await client.send_and_wait("skill:make", {"size": 7})
        with pytest.raises(errors.RejectedError, match="the input does not fit its schema: "):
            await client.send_and_wait("skill:count", [1])
        assert (await client.send_and_wait("skill:word", trunkline.Payload(b'"ab"'))).json == "abab"
        with pytest.raises(errors.FailedError, match="the output does not fit a word: "):
            await client.send_and_wait("skill:word", 5)


async def test_schemas_check_what_goes_in_and_comes_out(client: Client, folder: Path) -> None:
    agent, elsewhere = trunkline.Agent("schemas"), folder / "schema.json"
    # It would do, but nothing is fetched.
    elsewhere.write_text("{}")

    @agent.task("repeat", input_schema=NUMBER, output_schema=TEXT)
    async def repeat(task: Task) -> Any:
        assert task.attempt == 1
        n = task.msgpack["n"] if "msgpack" in task.content_type else task.json["n"]
        return "a" * n if n else object()

    @agent.task("plain", input_schema=NUMBER, output_schema=TEXT)
    def plain(_: Task) -> trunkline.Payload:
        return trunkline.MessagePack("fine")

    @agent.task("lacking", input_schema={"$ref": elsewhere.as_uri()})
    async def lacking(_: Task) -> None:
        return None

    async with await started(agent, client):
        assert (await client.send_and_wait("skill:repeat", {"n": 3})).json == "aaa"
        packed = trunkline.MessagePack({"n": 2})
        assert (await client.send_and_wait("skill:repeat", packed)).json == "aa"
        assert (await client.send_and_wait("skill:plain", {"n": 2})).msgpack == "fine"
        for value, reason in [
            ({"n": "x"}, "the input does not fit its schema: n: 'x' is not of type 'integer'"),
            ({}, "the input does not fit its schema: the whole: 'n' is a required property"),
            ("{", "the input does not fit its schema: 1 bytes beginning with b'{' are no JSON"),
            (None, "the input does not fit its schema: the whole: None is not of type 'object'"),
        ]:
            with pytest.raises(errors.RejectedError, match=reason):
                await client.send_and_wait("skill:repeat", value)
        with pytest.raises(errors.FailedError, match="the output does not fit a word: the whole"):
            await client.send_and_wait("skill:repeat", {"n": 6})
        with pytest.raises(errors.FailedError, match=r"an? object cannot be sent as JSON"):
            await client.send_and_wait("skill:repeat", {"n": 0})
        with pytest.raises(errors.RejectedError, match="refers to what it does not have"):
            await client.send_and_wait("skill:lacking", 1)


async def test_models_within_values_are_sent(client: Client) -> None:
    agent = trunkline.Agent("echo")

    @agent.message
    async def echo(_: Task) -> Any:
        return [Verdict(ok=True, by="me"), {"order": Order(size=1)}]

    async with await started(agent, client):
        answer = (await client.request("agent:echo")).json
    assert answer == [{"ok": True, "by": "me"}, {"order": {"size": 1}}]


def test_declarations_that_cannot_work_are_named() -> None:
    agent = trunkline.Agent("wrong")

    def twice(task: Task, diff: Diff, again: Diff) -> None: ...
    def lacking(task: Task, diff: Agent) -> None: ...
    def number(task: Task, n: int) -> None: ...
    def fine(task: Task, n: int = 5, *more: Any, **names: Any) -> Agent: ...  # pyright: ignore[reportReturnType]
    def both(task: Task, diff: Diff) -> Verdict: ...  # pyright: ignore[reportReturnType]
    async def process(message: Message, order: Order) -> None: ...

    agent.task("a")(fine)
    with pytest.raises(errors.UsageError, match="declared by 'diff' and by 'again'"):
        agent.task("a")(twice)
    for function, name in ((lacking, "diff"), (number, "n")):
        with pytest.raises(errors.UsageError, match=f"nothing is known to give .*'{name}'"):
            agent.task("a")(function)
    with pytest.raises(errors.UsageError, match="declared by input_schema and by 'diff'"):
        agent.task("a", input_schema=NUMBER)(both)
    with pytest.raises(errors.UsageError, match="declared by output_schema and by its annotation"):
        agent.task("a", output_schema=NUMBER)(both)
    with pytest.raises(errors.InvalidError, match="input_schema is no JSON Schema: type: 'x' is"):
        agent.task("a", input_schema={"type": "x"})(fine)
    strange: list[Any] = [True, 7, [], {"$schema": 5}, {1: 2}]
    for schema in strange:
        with pytest.raises(errors.InvalidError, match="input_schema is no JSON Schema: "):
            agent.task("a", input_schema=schema)(fine)
    with pytest.raises(errors.UsageError, match="a process takes a plain one"):
        agent.process("a")(process)


def test_without_the_packages_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(errors.MissingPackageError, match=r"pip install 'trunkline\[jsonschema\]'"):
        trunkline.Agent("a").task("a", input_schema=NUMBER)(print)


DEEP = b"[" * 50_000 + b"]" * 50_000


class Tree(pydantic.RootModel[list["Tree"]]):
    pass


async def test_what_is_nested_too_deep_is_rejected(client: Client) -> None:
    agent = trunkline.Agent("deep")

    @agent.task("model")
    async def model(_: Task, tree: Tree) -> None:
        raise AssertionError(tree)

    @agent.task("schema", input_schema={"items": {"$ref": "#"}})
    async def schema(task: Task) -> None:
        raise AssertionError(task)

    packed = trunkline.Payload(b"\x91" * 900 + b"\x90", "application/msgpack")
    async with await started(agent, client):
        for skill in ("model", "schema"):
            for value in (DEEP, packed):
                with pytest.raises(errors.RejectedError, match="the input "):
                    await client.send_and_wait(f"skill:{skill}", value)


def test_json_that_is_nested_too_deep_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for loads in (_payload._loads, json.loads):
        monkeypatch.setattr(_payload, "_loads", loads)
        with pytest.raises(errors.PayloadError, match="no JSON"):
            _ = trunkline.Payload(DEEP).json


async def test_a_method_with_something_given_beforehand_declares_as_well(client: Client) -> None:
    class Reviewer:
        def __init__(self, word: str) -> None:
            self.word = word

        async def review(self, task: Task, order: Order, more: str = "") -> str:
            return f"{self.word} {order.size}{more}{task.attempt}"

    agent = trunkline.Agent("method")
    agent.task("method")(Reviewer("size").review)
    agent.task("partial")(partial(Reviewer("size").review, more="!"))
    async with await started(agent, client):
        assert (await client.request("skill:method", Order(size=3))).text == "size 31"
        assert (await client.request("skill:partial", Order(size=3))).text == "size 3!1"
        with pytest.raises(errors.RejectedError, match="does not fit Order"):
            await client.request("skill:partial", 3)


async def test_events_and_messages_are_parsed_as_well(client: Client) -> None:
    agent, got, both = trunkline.Agent("listener"), list[int](), asyncio.Event()

    def note(order: Order) -> None:
        got.append(order.size)
        if len(got) == 2:
            both.set()

    @agent.on("orders")
    async def on_order(_: Task, order: Order) -> None:
        note(order)

    @agent.message
    async def on_message(_: Task, *, order: Order | None) -> None:
        if order is not None:
            note(order)

    async with await started(agent, client):
        await client.publish("orders", Order(size=1))
        await client.tell("agent:listener")
        await client.tell("agent:listener", {"size": "2"})
        await asyncio.wait_for(both.wait(), PATIENCE)
        with pytest.raises(errors.RejectedError, match=r"the input does not fit .*size"):
            await client.send_and_wait("agent:listener", {"size": "x"})
    assert sorted(got) == [1, 2]


async def shown(client: Client, agent: Agent) -> dict[str, trunkline.SkillSchemas]:
    async with await started(agent, client):
        [info] = [info async for info in client.agents(id=agent.id)]
        return info.schemas


async def test_what_handlers_declare_is_in_the_agents_card(client: Client) -> None:
    agent = reviewer()

    @agent.task("count", input_schema=NUMBER, output_schema=TEXT)
    async def count_up(task: Task) -> Any:
        return task.json

    @agent.task("silent")
    async def silent(task: Task) -> None:
        assert task.attempt == 1

    agent.process("make")(make)

    @agent.on("made.>")
    async def made(task: Task, order: Order) -> None:
        assert task.attempt == order.size

    schemas = await shown(client, agent)
    assert set(schemas) == {"review", "plain", "odd", "count", "make"}
    assert schemas["review"] == trunkline.SkillSchemas(
        Diff.model_json_schema(), Verdict.model_json_schema(mode="serialization")
    )
    # By the names that are sent.
    takes = schemas["review"].input
    assert takes is not None
    assert set(takes["properties"]) == {"parts", "by"}
    assert schemas["plain"].input == takes
    plain = schemas["plain"].output
    assert plain is not None
    assert {"type": "null"} in plain["anyOf"]
    assert schemas["odd"] == trunkline.SkillSchemas(None, schemas["review"].output)
    assert schemas["count"] == trunkline.SkillSchemas(NUMBER, TEXT)
    assert schemas["make"] == trunkline.SkillSchemas(
        Order.model_json_schema(), Made.model_json_schema()
    )


class Odd(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    name: str = "ü"
    kept: set[object] = {object()}


class Nothing(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    path: re.Match[str] | None = None


async def test_what_has_no_schema_is_not_in_the_card_and_checked_all_the_same(
    client: Client, recwarn: pytest.WarningsRecorder
) -> None:
    agent = trunkline.Agent("odd")

    @agent.task("odd")
    async def odd(task: Task, value: Odd) -> str:
        assert task.attempt == 1
        return value.name

    @agent.task("nothing")
    async def nothing(task: Task, value: Nothing) -> str:
        assert task.attempt == 1
        return str(value.path)

    schemas = await shown(client, agent)
    assert set(schemas) == {"odd"}
    takes = schemas["odd"].input
    assert takes is not None
    # A default that is no JSON is left out of it.
    assert "default" not in takes["properties"]["kept"]
    assert takes["properties"]["name"]["default"] == "ü"
    assert not [it for it in recwarn if "JSON" in str(it.message)]
    async with await started(agent, client):
        assert (await client.send_and_wait("skill:nothing", {})).text == "None"
        with pytest.raises(errors.RejectedError, match="path"):
            await client.send_and_wait("skill:nothing", {"path": 1})


async def test_a_schema_that_is_over_the_limit_is_refused_with_what_to_do(folder: Path) -> None:
    agent = trunkline.Agent("counter")

    @agent.task("count", input_schema=NUMBER)
    async def count_up(task: Task) -> Any:
        return task.json

    async with trunkline.Broker(limits={"schema_bytes": 40}) as broker:
        with pytest.raises(errors.TooLargeError) as refused:
            await agent.start(broker)
    told = str(refused.value)
    assert "the input schema of skill 'count' has" in told
    assert "the limit is 40; shorten it or raise limits.schema_bytes" in told
    async with trunkline.Broker(folder) as broker:
        before = await shown(broker, agent)
    async with trunkline.Broker(folder) as broker:
        [info] = [info async for info in broker.agents()]
    assert info.presence == "offline"
    assert info.schemas == before == {"count": trunkline.SkillSchemas(NUMBER, None)}


async def test_a_schema_that_is_no_json_or_nested_too_deep_is_refused(client: Client) -> None:
    for schema in ({"const": {1, 2}}, {"const": float("nan")}, {"title": "\ud800"}):
        with pytest.raises(errors.InvalidError, match="input_schema is no JSON Schema"):
            trunkline.Agent("a").task("a", input_schema=schema)(one)
    deep: Any = {}
    for _ in range(28):
        deep = {"const": deep}
    agent = trunkline.Agent("deep")
    agent.task("deep", output_schema=deep)(one)
    with pytest.raises(errors.InvalidError, match=r"output of skill 'deep'.*deeper than 28"):
        await agent.start(client)


async def one(task: Task) -> int:
    return task.attempt
