"""What clients with the Python SDK of A2A 0.3 do, which knows nothing of 1.0.

Usage: client_03.py URL BINDING
"""

import asyncio
import sys

import grpc
import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    Message,
    Part,
    PushNotificationAuthenticationInfo,
    PushNotificationConfig,
    Role,
    TaskIdParams,
    TaskPushNotificationConfig,
    TaskQueryParams,
    TaskState,
    TextPart,
)
from hook import Webhook

PATIENCE = 60


def said(text, task=None):
    return Message(
        message_id="m-1",
        role=Role.user,
        parts=[Part(root=TextPart(text=text))],
        task_id=task.id if task else None,
        context_id=task.context_id if task else None,
    )


async def sent(client, message):
    """Sends a message and follows it to the end of the stream."""
    last = None
    async for task, _event in client.send_message(message):
        last = task
    return last


async def everything(url, binding):
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        card = await A2ACardResolver(http, url).get_agent_card()

        def client(streaming):
            config = ClientConfig(
                httpx_client=http,
                streaming=streaming,
                supported_transports=[binding],
                grpc_channel_factory=grpc.aio.insecure_channel,
            )
            return ClientFactory(config).create(card)

        for streaming in (True, False):
            task = await sent(client(streaming), said("hello"))
            assert task.status.state == TaskState.completed, task
            assert task.status.message.parts[0].root.text == "hello", task
        client = client(True)
        for params in (TaskQueryParams(id="unknown"), TaskQueryParams(id="")):
            try:
                await client.get_task(params)
            except Exception:  # which one differs between the transports
                continue
            raise AssertionError(f"{params} was found")

        asked = await sent(client, said("ask"))
        assert asked.status.state == TaskState.input_required, asked
        done = await sent(client, said("this", asked))
        assert done.status.message.parts[0].root.text == "ask: this", done

        written = await sent(client, said("write"))
        assert written.artifacts[0].parts[0].root.text == "one", written
        webhook = Webhook()
        url = await webhook.start()
        auth = PushNotificationAuthenticationInfo(schemes=["Bearer"], credentials="secret")
        config = PushNotificationConfig(id="c", url=url, token="t", authentication=auth)
        callback = TaskPushNotificationConfig(task_id=written.id, push_notification_config=config)
        made = await client.set_task_callback(callback)
        assert made.push_notification_config.url == url, made
        stream = client.resubscribe(TaskIdParams(id=written.id))
        first, _ = await anext(stream)
        assert first.status.state == TaskState.input_required, first
        await stream.aclose()
        done = await sent(client, said("go", written))
        assert done.status.state == TaskState.completed, done
        told = {"status": {}}
        while told["status"].get("state") != "completed":
            headers, told = await webhook.told.get()
            assert headers["authorization"] == "bearer secret", headers
            assert headers["x-a2a-notification-token"] == "t", headers
            assert told["id"] == written.id, told
        webhook.server.close()

        stream = client.send_message(said("hold"))
        held, _ = await anext(stream)
        cancelled = await client.cancel_task(TaskIdParams(id=held.id))
        assert cancelled.status.state == TaskState.canceled, cancelled
        await stream.aclose()


asyncio.run(asyncio.wait_for(everything(*sys.argv[1:]), 5 * PATIENCE))
