"""Payloads as MessagePack."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trunkline
from conftest import PATIENCE
from trunkline import errors

if TYPE_CHECKING:
    from trunkline import Client, Task

VALUE = {"n": 1, "bytes": b"\x00\xff", "list": [None, True, 2.5], "ü": "ß", 7: "seven"}


async def test_what_msgpack_has_goes_there_and_back(client: Client) -> None:
    agent = trunkline.Agent("packer")

    @agent.task("pack")
    async def pack(task: Task) -> trunkline.Payload:
        assert task.content_type == "application/msgpack"
        return trunkline.MessagePack({"got": task.msgpack})

    await agent.start(client)
    async with agent:
        reply = await client.request("skill:pack", trunkline.MessagePack(VALUE))
    assert reply.msgpack == {"got": VALUE}
    assert reply.content_type == "application/msgpack"


async def test_the_broker_reads_it_as_well(client: Client) -> None:
    async with client.subscribe("packed", filter="payload.n > 1") as events:
        for n in range(4):
            await client.publish("packed", trunkline.MessagePack({"n": n}))
        got = [await asyncio.wait_for(anext(events), PATIENCE) for _ in range(2)]
    assert [event.msgpack["n"] for event in got] == [2, 3]


@pytest.mark.parametrize(
    "data", [b"", b"\x81", b"\x01\x02", b"\xc1", b"\x81\x90\x01", b"\xa1\xff", b"\x91" * 100_000]
)
async def test_what_is_no_msgpack_fails_and_is_not_tried_again(client: Client, data: bytes) -> None:
    agent = trunkline.Agent("packer")

    @agent.task("pack")
    async def pack(task: Task) -> Any:
        return task.msgpack

    await agent.start(client)
    async with agent:
        with pytest.raises(errors.FailedError, match="no MessagePack"):
            await client.send_and_wait("skill:pack", data)
    with pytest.raises(errors.PayloadError, match="no MessagePack"):
        _ = trunkline.Payload(data).msgpack


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [object(), {"a": object()}, 1 << 64, "\ud800", nested(100_000)])
def test_what_msgpack_has_not_is_named(value: Any) -> None:
    with pytest.raises(
        errors.PayloadError, match=rf"a {type(value).__name__} cannot be sent as MessagePack"
    ):
        trunkline.MessagePack(value)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    for use in (lambda: trunkline.MessagePack(1), lambda: trunkline.Payload(b"\x01").msgpack):
        with pytest.raises(errors.MissingPackageError, match=r"pip install 'trunkline\[msgpack\]'"):
            use()
