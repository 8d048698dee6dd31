"""What clients with the official Python SDK of A2A do, against a real broker.

Usage: client.py URL VERSION BINDING   everything that a client does, in that version and binding
       client.py URL kill              a stream whose broker is killed; says READY when that may be
"""

import asyncio
import sys

import grpc
import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import ClientCallContext
from a2a.types.a2a_pb2 import (
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError
from hook import Webhook

PATIENCE = 60


def said(text, task=None, configuration=None):
    message = Message(message_id="m-1", role=Role.ROLE_USER, parts=[Part(text=text)])
    if task:
        message.task_id, message.context_id = task.id, task.context_id
    return SendMessageRequest(message=message, configuration=configuration)


def state(event):
    """The state that an event tells of, if it tells of one."""
    kind = event.WhichOneof("payload")
    told = getattr(event, kind)
    return TaskState.Name(told.status.state)[11:] if kind in ("task", "status_update") else None


async def last_task(client, request):
    """Sends a message and follows it; the task as it stands then, and what was told."""
    told = [event async for event in client.send_message(request)]
    assert told[0].WhichOneof("payload") == "task", told
    return await client.get_task(GetTaskRequest(id=told[0].task.id)), told


async def send_and_stream(client):
    task, told = await last_task(client, said("hello"))
    assert state(told[-1]) == "COMPLETED", told
    assert task.status.message.parts[0].text == "hello", task
    for error, call in (
        (TaskNotFoundError, client.get_task(GetTaskRequest(id="unknown"))),
        (TaskNotCancelableError, client.cancel_task(CancelTaskRequest(id=task.id))),
    ):
        try:
            await call
        except error:
            continue
        raise AssertionError(f"{error} was not raised")
    return task


async def blocking(client_without_streams):
    told = [event async for event in client_without_streams.send_message(said("hello"))]
    assert len(told) == 1 and state(told[0]) == "COMPLETED", told


async def several_turns(client):
    task, told = await last_task(client, said("ask"))
    assert state(told[-1]) == "INPUT_REQUIRED", told
    assert task.status.message.parts[0].text == "which?", task
    task, told = await last_task(client, said("this", task))
    assert state(told[-1]) == "COMPLETED", told
    assert task.status.message.parts[0].text == "ask: this", task


def texts(artifact):
    return [part.text for part in artifact.parts]


async def resubscribing(client):
    task, told = await last_task(client, said("steps"))
    assert state(told[-1]) == "INPUT_REQUIRED", told
    stream = client.subscribe(SubscribeToTaskRequest(id=task.id))
    first = await anext(stream)
    assert texts(first.task.artifacts[0]) == ["one"], first
    # Cut; what happens meanwhile is in the task that the next stream begins with.
    await stream.aclose()
    task, told = await last_task(client, said("on", task))
    assert state(told[-1]) == "INPUT_REQUIRED", told
    stream = client.subscribe(SubscribeToTaskRequest(id=task.id))
    again = await anext(stream)
    assert texts(again.task.artifacts[0]) == ["one", "two"], again
    follow = asyncio.create_task(collect(stream))
    await last_task(client, said("go", task))
    told = await follow
    assert state(told[-1]) == "COMPLETED", told
    updates = [event for event in told if event.WhichOneof("payload") == "artifact_update"]
    assert [texts(event.artifact_update.artifact) for event in updates] == [["three"]], told


async def collect(stream):
    return [event async for event in stream]


async def cancelling(client):
    stream = client.send_message(said("hold"))
    task = (await anext(stream)).task
    cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
    assert cancelled.status.state == TaskState.TASK_STATE_CANCELED, cancelled
    assert state((await collect(stream))[-1]) == "CANCELED"


async def listing(client, task):
    page = await client.list_tasks(ListTasksRequest(context_id=task.context_id))
    assert page.total_size == 1 and page.tasks[0].id == task.id, page
    page = await client.list_tasks(ListTasksRequest(page_size=1))
    rest = await client.list_tasks(ListTasksRequest(page_size=1, page_token=page.next_page_token))
    assert page.total_size > 1 and page.tasks[0].id != rest.tasks[0].id, page


async def pushing(client, version, binding):
    webhook = Webhook()
    url = await webhook.start()
    task, _ = await last_task(client, said("write"))
    auth = AuthenticationInfo(scheme="Bearer", credentials="secret")
    config = TaskPushNotificationConfig(
        task_id=task.id, id="c", url=url, token="t", authentication=auth
    )
    made = await client.create_task_push_notification_config(config)
    assert (made.id, made.url) == ("c", url), made
    known = GetTaskPushNotificationConfigRequest(task_id=task.id, id="c")
    read = await client.get_task_push_notification_config(known)
    assert read.authentication.credentials == "secret", read
    # The SDK does neither over HTTP+JSON of 0.3.
    if (version, binding) != ("0.3", "HTTP+JSON"):
        listed = ListTaskPushNotificationConfigsRequest(task_id=task.id)
        assert len((await client.list_task_push_notification_configs(listed)).configs) == 1
        again = TaskPushNotificationConfig(task_id=task.id, id="d", url=url)
        await client.create_task_push_notification_config(again)
        gone = DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="d")
        for _ in range(2):
            await client.delete_task_push_notification_config(gone)
        assert len((await client.list_task_push_notification_configs(listed)).configs) == 1
    await last_task(client, said("go", task))
    states = []
    while not states or states[-1] not in ("TASK_STATE_COMPLETED", "completed"):
        headers, body = await webhook.told.get()
        assert headers["authorization"] == "bearer secret", headers
        assert headers["x-a2a-notification-token"] == "t", headers
        told = body if version == "0.3" else body.get("statusUpdate")
        states += [told["status"]["state"]] if told else []
    webhook.server.close()


async def everything(url, version, binding):
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        spoken = [known for known in card.supported_interfaces if known.protocol_version == version]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(spoken)

        def client(**settings):
            config = ClientConfig(
                httpx_client=http,
                grpc_channel_factory=grpc.aio.insecure_channel,
                supported_protocol_bindings=[binding],
                **settings,
            )
            return ClientFactory(config).create(card)

        streaming = client()
        task = await send_and_stream(streaming)
        await blocking(client(streaming=False))
        await several_turns(streaming)
        await resubscribing(streaming)
        await cancelling(streaming)
        if version != "0.3":
            await listing(streaming, task)
        await pushing(streaming, version, binding)
        extended = await streaming.get_extended_agent_card(GetExtendedAgentCardRequest())
        assert extended.name == card.name, extended


class Numbered(httpx.AsyncBaseTransport):
    """Keeps the numbers of events, which the SDK does not tell."""

    def __init__(self):
        self.inner = httpx.AsyncHTTPTransport()
        self.numbers = []

    async def handle_async_request(self, request):
        response = await self.inner.handle_async_request(request)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=self.read(response.stream),
            extensions=response.extensions,
        )

    def read(outer, stream):
        class Read(httpx.AsyncByteStream):
            async def __aiter__(self):
                rest = b""
                async for piece in stream:
                    *lines, rest = (rest + piece).split(b"\n")
                    outer.numbers += [int(line[4:]) for line in lines if line.startswith(b"id: ")]
                    yield piece

            async def aclose(self):
                await stream.aclose()

        return Read()


async def kill(url):
    numbered = Numbered()
    async with httpx.AsyncClient(timeout=PATIENCE, transport=numbered) as http:
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=["JSONRPC"])
        client = await ClientFactory(config).create_from_url(url)
        task, told = None, []
        try:
            async for event in client.send_message(said("long")):
                told.append(event)
                task = task or event.task
                kind = event.WhichOneof("payload")
                if kind == "artifact_update" or (kind == "task" and event.task.artifacts):
                    print("READY", task.id, flush=True)
        except Exception as error:  # whatever the transport says of a broker that is gone
            print("CUT", type(error).__name__, flush=True)
        await asyncio.get_event_loop().run_in_executor(None, sys.stdin.readline)
        before = numbered.numbers[-1]
        resumed = ClientCallContext(service_parameters={"Last-Event-ID": str(before)})
        # The task goes on, and something has happened that is to be told again.
        while True:
            now = await client.get_task(GetTaskRequest(id=task.id))
            assert now.status.state == TaskState.TASK_STATE_WORKING, now
            if texts(now.artifacts[0]) == ["one", "two"]:
                break
        numbered.numbers.clear()
        stream = client.subscribe(SubscribeToTaskRequest(id=task.id), context=resumed)
        after = [await anext(stream), await anext(stream)]
        assert texts(after[0].task.artifacts[0]) == ["one"], after
        assert texts(after[1].artifact_update.artifact) == ["two"], after
        # What happens from now on is told as it happens.
        print("LIVE", flush=True)
        after += await collect(stream)
        assert texts(after[2].artifact_update.artifact) == ["three"], after
        states = [state(event) for event in after]
        assert states[-1] == "COMPLETED" and states.count("COMPLETED") == 1, states
        # The task as it was at that number, and everything after it.
        numbers = numbered.numbers
        assert len(numbers) > 1 and numbers == list(range(before, before + len(numbers))), numbers
        done = await client.get_task(GetTaskRequest(id=task.id))
        assert texts(done.artifacts[0]) == ["one", "two", "three"], done
        assert done.status.message.parts[0].text == "long done", done


if sys.argv[2] == "kill":
    work = kill(sys.argv[1])
else:
    work = everything(*sys.argv[1:])
asyncio.run(asyncio.wait_for(work, 5 * PATIENCE))
print("OK", flush=True)
