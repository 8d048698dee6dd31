"""What is said of connections and subscriptions acts; a pause; a second signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import pytest
import trunkline
from conftest import PATIENCE
from test_processes import python
from trunkline import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trunkline import Client, Event, Subscription, Task


def echo(name: str = "echo") -> trunkline.Agent:
    agent = trunkline.Agent(name)

    @agent.task("echo")
    async def answer(task: Task) -> str:
        return task.text

    return agent


async def taken(events: Subscription) -> Event:
    return await asyncio.wait_for(anext(events), PATIENCE)


async def test_an_agent_belongs_to_the_principal_that_registered_it(
    serve: Callable[..., str],
) -> None:
    address, agent, same = serve(), echo(), echo()
    async with (
        trunkline.connect(address, principal="ann") as ann,
        trunkline.connect(address, principal="bob") as bob,
    ):
        await agent.start(ann)
        async with agent:
            with pytest.raises(errors.AlreadyTakenError, match="echo"):
                await same.start(bob)
            assert (await bob.request("agent:echo", "x")).text == "x"
        # It is hers although it has left.
        with pytest.raises(errors.AlreadyTakenError, match="echo"):
            await same.start(bob)
        await same.start(ann)
        await same.stop()


async def test_what_is_there_for_a_tenant_is_there_for_it_alone(serve: Callable[..., str]) -> None:
    address, agent = serve(), echo()
    async with (
        trunkline.connect(address, tenant="acme") as acme,
        trunkline.connect(address) as other,
    ):
        await agent.start(acme)
        async with agent:
            sent = await acme.send("skill:echo", "x")
            assert (await acme.wait(sent.id)).text == "x"
            with pytest.raises(errors.NotFoundError):
                await other.task(sent.id)
            with pytest.raises(errors.NobodyThereError):
                await other.request("skill:echo", absent="fail")
            assert [it.id async for it in acme.agents()] == ["echo"]
            assert [it.id async for it in other.agents()] == []
        async with other.subscribe("a") as theirs:
            assert (await acme.publish("a")).targets == 0
            await other.publish("a", "ours")
            assert (await taken(theirs)).text == "ours"
    with pytest.raises(errors.InvalidError, match="a/b"):
        async with trunkline.connect(address, tenant="a/b") as wrong:
            await wrong.publish("a")


@contextlib.asynccontextmanager
async def relayed(address: str) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """An address that leads to another, and the first bytes of every connection through it."""
    host, port = address.rsplit(":", 1)
    began: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter, note: bool) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if note:
                        began.append(data[:24])
                        note = False
                    to.write(data)
                    await to.drain()
            to.close()

        for way in (copy(reader, back, True), copy(there, writer, False)):
            task = asyncio.ensure_future(way)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", began
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()


HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize("transport", ["grpc", "framed"])
async def test_a_transport_is_the_one_that_was_asked_for(
    serve: Callable[..., str], transport: str
) -> None:
    agent = echo()
    async with relayed(serve()) as (address, began):
        kind = "grpc" if transport == "grpc" else "framed"
        async with trunkline.connect(address, transport=kind) as client:
            await agent.start(client)
            async with agent, client.subscribe("a.*") as events:
                replies = await asyncio.gather(
                    *(client.request("skill:echo", str(n)) for n in range(100))
                )
                assert [reply.text for reply in replies] == [str(n) for n in range(100)]
                assert (await client.send_and_wait("skill:echo", "task")).text == "task"
                await client.publish("a.b", "event")
                assert (await taken(events)).text == "event"
    assert began
    assert {data == HTTP2 for data in began} == {transport == "grpc"}


async def test_the_members_of_a_group_share_its_events(client: Client) -> None:
    async with (
        client.subscribe("shared", group="g") as one,
        client.subscribe("shared", group="g") as two,
        client.subscribe("shared", group="h") as other,
        client.subscribe("shared") as alone,
    ):
        for n in range(50):
            told = await client.publish("shared", str(n))
            assert told.targets == 3
        for events in (other, alone):
            assert [(await taken(events)).text for _ in range(50)] == [str(n) for n in range(50)]
        got: list[str] = []

        async def take(events: Subscription) -> None:
            async for event in events:
                got.append(event.text)
                if len(got) == 50:
                    one.close()
                    two.close()

        await asyncio.wait_for(asyncio.gather(take(one), take(two)), PATIENCE)
    assert sorted(got, key=int) == [str(n) for n in range(50)]


async def test_agents_of_a_group_share_their_events(client: Client) -> None:
    got, all_here = list[str](), asyncio.Event()

    def listener(name: str) -> trunkline.Agent:
        agent = trunkline.Agent(name)

        @agent.on("shared", group="g")
        async def on_shared(task: Task) -> None:
            got.append(task.text)
            if task.text == "last":
                all_here.set()

        return agent

    one, two = listener("one"), listener("two")
    await one.start(client)
    await two.start(client)
    async with one, two:
        for n in range(50):
            assert (await client.publish("shared", str(n))).targets == 1
        await client.publish("shared", "last")
        await asyncio.wait_for(all_here.wait(), PATIENCE)
    # Stopping has finished what was held.
    assert sorted(got) == sorted([*map(str, range(50)), "last"])


@pytest.mark.parametrize("drop_oldest", [False, True])
async def test_the_oldest_events_are_dropped_if_that_was_asked_for(
    client: Client, drop_oldest: bool
) -> None:
    # More than the subscriber and the broker together hold for it.
    total = 12_000
    async with client.subscribe("fast", drop_oldest=drop_oldest) as events:
        told = await asyncio.gather(*(client.publish("fast", str(n)) for n in range(total)))
        last, missed, seen = -1, 0, 0
        if drop_oldest:
            while last != total - 1:
                event = await taken(events)
                last, missed, seen = int(event.text), missed + event.missed, seen + 1
            assert (missed > 0, seen + missed) == (True, total)
        else:
            dropped = sum(it.dropped for it in told)
            assert dropped > 0
            kept = [int((await taken(events)).text) for _ in range(total - dropped)]
            assert total - 1 not in kept


async def test_a_task_waits_for_credentials(client: Client) -> None:
    agent = trunkline.Agent("guard")

    @agent.task("open")
    async def unlock(task: Task) -> str:
        if not task.messages:
            raise trunkline.AuthRequired({"realm": "vault"})
        return f"opened by {task.messages[-1].json['token']}"

    await agent.start(client)
    async with agent:
        sent = await client.send("skill:open")
        asked: list[object] = []

        async def bring() -> None:
            async for update in client.watch(sent.id):
                if isinstance(update, trunkline.MessageUpdate) and update.source == "guard":
                    asked.append(update.payload.json)
                elif isinstance(update, trunkline.StatusUpdate) and update.state == "auth-required":
                    waiting = [it.id async for it in client.tasks(states=["auth-required"])]
                    assert waiting == [sent.id]
                    await client.continue_task(sent.id, {"token": "sesame"})

        await asyncio.wait_for(bring(), PATIENCE)
        assert (await client.wait(sent.id)).text == "opened by sesame"
    assert asked == [{"realm": "vault"}]


STUBBORN = """
    import asyncio, sys, trunkline

    agent = trunkline.Agent("stubborn")

    @agent.task("echo")
    async def work(task):
        print("begun", flush=True)
        await asyncio.Event().wait()

    agent.run(sys.argv[1])
    print("ended", flush=True)
"""


async def draining(client: Client) -> None:
    """Returns when the only agent leaves."""
    while [it.presence async for it in client.agents()] != ["draining"]:
        pass


async def test_a_second_signal_ends_an_agent_at_once_and_its_work_goes_back(
    serve: Callable[..., str],
) -> None:
    address, other = serve(), echo("other")
    async with trunkline.connect(address) as client:
        with python(STUBBORN, address) as child:
            try:
                sent = await client.send("skill:echo", "work")
                assert child.stdout is not None
                assert await asyncio.to_thread(child.stdout.readline) == "begun\n"
                child.send_signal(signal.SIGTERM)
                await asyncio.wait_for(draining(client), PATIENCE)
                assert child.poll() is None
                child.send_signal(signal.SIGTERM)
                said, _ = await asyncio.to_thread(child.communicate, timeout=30)
            finally:
                child.kill()
        assert (child.returncode, said) == (0, "ended\n")
        await other.start(client)
        async with other:
            reply = await asyncio.wait_for(client.wait(sent.id), PATIENCE)
        assert (reply.text, reply.agent) == ("work", "other")


async def test_agents_in_process_and_over_the_network_share_a_loop(
    serve: Callable[..., str],
) -> None:
    address, here, there, told = serve(), trunkline.Agent("here"), trunkline.Agent("there"), 0
    third = echo("third")

    @here.task("ask")
    async def ask(task: Task) -> str:
        # Begun by the loop itself, it speaks over the other's session.
        return (await there.request("skill:echo", task.text)).text

    @there.task("tell")
    async def tell(task: Task) -> str:
        await task.tell("agent:there", "x")
        return task.text

    @there.message
    async def hear(_: Task) -> None:
        nonlocal told
        told += 1

    async with trunkline.Broker() as local, trunkline.connect(address) as remote:
        await here.start(local)
        await there.start(address)
        await third.start(address)

        async def one(number: int) -> None:
            for _ in range(100):
                assert (await local.request("skill:ask", str(number))).text == str(number)
                assert (await remote.request("skill:tell", str(number))).text == str(number)

        async with here, there, third:
            await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(4))), PATIENCE)
        assert told == 400
