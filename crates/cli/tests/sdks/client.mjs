// What clients with the official JavaScript SDK of A2A do, against a real broker.
//
// Usage: client.mjs URL VERSION BINDING

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { Role, TaskState } from "@a2a-js/sdk";
import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from "@a2a-js/sdk/client";
import { GrpcTransportFactory } from "@a2a-js/sdk/client/grpc";

const [url, version, binding] = process.argv.slice(2);

function said(text, task, configuration) {
  const part = {
    content: { $case: "text", value: text },
    metadata: undefined,
    filename: "",
    mediaType: "",
  };
  const message = {
    messageId: "m-1",
    contextId: task?.contextId ?? "",
    taskId: task?.id ?? "",
    role: Role.ROLE_USER,
    parts: [part],
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
  };
  return { tenant: "", message, configuration, metadata: undefined };
}

// The state that an event tells of, if it tells of one.
const state = (event) => event.payload.value.status?.state;
const text = (message) => message.parts[0].content.value;

async function collected(stream) {
  const told = [];
  for await (const event of stream) told.push(event);
  return told;
}

async function followed(client, request) {
  const told = await collected(client.sendMessageStream(request));
  assert.equal(told[0].payload.$case, "task");
  const id = told[0].payload.value.id;
  return { told, last: told.at(-1), task: await client.getTask({ tenant: "", id }) };
}

async function connect() {
  const legacyCompat = { enabled: version === "0.3" };
  const transports = [
    new JsonRpcTransportFactory({ legacyCompat }),
    new RestTransportFactory({ legacyCompat }),
    new GrpcTransportFactory({ legacyCompat }),
  ];
  const card = await new DefaultAgentCardResolver().resolve(`${url}/`);
  card.supportedInterfaces = card.supportedInterfaces.filter(
    (known) => known.protocolVersion === version && known.protocolBinding === binding,
  );
  assert.equal(card.supportedInterfaces.length, 1);
  return new ClientFactory({ transports }).createFromAgentCard(card);
}

async function webhook() {
  const told = [];
  let wake = () => {};
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    told.push({ headers: request.headers, body: JSON.parse(body) });
    response.end();
    wake();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const next = async () => {
    while (told.length === 0) await new Promise((done) => (wake = done));
    return told.shift();
  };
  return { url: `http://127.0.0.1:${server.address().port}/hook`, next, server };
}

const client = await connect();

// Sent and streamed.
const hello = await followed(client, said("hello"));
assert.equal(state(hello.last), TaskState.TASK_STATE_COMPLETED);
assert.equal(text(hello.task.status.message), "hello");
await assert.rejects(client.getTask({ tenant: "", id: "unknown" }));
await assert.rejects(client.cancelTask({ tenant: "", id: hello.task.id, metadata: undefined }));

// Sent without a stream.
const done = await client.sendMessage(said("hello"));
assert.equal(done.status.state, TaskState.TASK_STATE_COMPLETED);

// In several turns.
const asked = await followed(client, said("ask"));
assert.equal(state(asked.last), TaskState.TASK_STATE_INPUT_REQUIRED);
assert.equal(text(asked.task.status.message), "which?");
const answered = await followed(client, said("this", asked.task));
assert.equal(text(answered.task.status.message), "ask: this");

// Resubscribed after a cut.
const { task: written } = await followed(client, said("steps"));
const texts = (artifact) => artifact.parts.map((part) => part.content.value);
const shown = async (stream) => texts((await stream.next()).value.payload.value.artifacts[0]);
const cut = client.resubscribeTask({ tenant: "", id: written.id });
assert.deepEqual(await shown(cut), ["one"]);
await cut.return();
// What happens meanwhile is in the task that the next stream begins with.
await followed(client, said("on", written));
const again = client.resubscribeTask({ tenant: "", id: written.id });
assert.deepEqual(await shown(again), ["one", "two"]);
const rest = collected(again);
await followed(client, said("go", written));
const after = await rest;
assert.equal(state(after.at(-1)), TaskState.TASK_STATE_COMPLETED);
const updates = after.filter((event) => event.payload.$case === "artifactUpdate");
assert.deepEqual(updates.map((event) => texts(event.payload.value.artifact)), [["three"]]);

// Cancelled.
const held = client.sendMessageStream(said("hold"));
const { id } = (await held.next()).value.payload.value;
const cancelled = await client.cancelTask({ tenant: "", id, metadata: undefined });
assert.equal(cancelled.status.state, TaskState.TASK_STATE_CANCELED);
assert.equal(state((await collected(held)).at(-1)), TaskState.TASK_STATE_CANCELED);

// Listed.
if (version !== "0.3") {
  const page = await client.listTasks({
    tenant: "",
    contextId: hello.task.contextId,
    status: TaskState.TASK_STATE_UNSPECIFIED,
    pageToken: "",
  });
  assert.deepEqual([page.totalSize, page.tasks[0].id], [1, hello.task.id]);
}

// Pushed.
const hook = await webhook();
const { task: pushed } = await followed(client, said("write"));
const config = {
  tenant: "",
  id: "c",
  taskId: pushed.id,
  url: hook.url,
  token: "t",
  authentication: { scheme: "Bearer", credentials: "secret" },
};
await client.createTaskPushNotificationConfig(config);
const known = { tenant: "", taskId: pushed.id, id: "c" };
assert.equal((await client.getTaskPushNotificationConfig(known)).url, hook.url);
await client.createTaskPushNotificationConfig({ ...config, id: "d" });
for (const _ of [1, 2]) await client.deleteTaskPushNotificationConfig({ ...known, id: "d" });
const listing = { tenant: "", taskId: pushed.id, pageSize: 0, pageToken: "" };
assert.equal((await client.listTaskPushNotificationConfig(listing)).configs.length, 1);
await followed(client, said("go", pushed));
for (let over = false; !over; ) {
  const { headers, body } = await hook.next();
  assert.equal(headers.authorization, "Bearer secret");
  assert.equal(headers["x-a2a-notification-token"], "t");
  const told = (version === "0.3" ? body : body.statusUpdate)?.status?.state;
  over = told === "TASK_STATE_COMPLETED" || told === "completed";
}
hook.server.close();
hook.server.closeAllConnections();
console.log("OK");
process.exit(0);
