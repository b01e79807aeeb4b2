// The door over WebSocket as the client everybody uses sees it (`graphql-ws`), and what it says to a client that does not
// keep to the protocol. It is the one of ../examples/bare_door.rs, whose program the variable BARE_DOOR names.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

let door;
let url;

before(async () => {
  assert(process.env.BARE_DOOR, "the tests need a door: schema/conformance/run.sh");
  door = spawn(process.env.BARE_DOOR, { stdio: ["pipe", "pipe", "inherit"] });
  [url] = await once(createInterface(door.stdout), "line");
  url = url.replace(/^http/, "ws");
});
after(() => door.stdin.end());

describe("the client graphql-ws", () => {
  const connect = (options = {}) => createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, ...options });

  /** All results of an operation. */
  async function results(client, query, variables) {
    const found = [];
    for await (const result of client.iterate({ query, variables })) found.push(result);
    return found;
  }

  test("asks a query, and several at once over one connection", async () => {
    const client = connect();
    const asked = Array.from({ length: 5 }, () => results(client, "{ __typename }"));
    assert.deepEqual(await Promise.all(asked), Array(5).fill([{ data: { __typename: "Query" } }]));
    await client.dispose();
  });

  test("is told by the operation what cannot begin, and the connection stays", async () => {
    const client = connect({ lazy: false, onNonLazyError: () => {} });
    const refused = await results(client, "{ nothing }").catch((errors) => errors);
    assert.equal(refused[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
    const closed = await results(client, "subscription { notificationArrived { cursor } }").catch((errors) => errors);
    assert.equal(closed[0].extensions.code, "UNAUTHENTICATED");
    assert.equal((await results(client, "{ __typename }")).length, 1);
    await client.dispose();
  });

  test("hears by the code for it that its token is none", async () => {
    const client = connect({ connectionParams: { authorization: "Bearer forged" } });
    await assert.rejects(results(client, "{ __typename }"), { code: 4403 });
  });

  test("has its pings answered", async () => {
    const client = connect({ lazy: false, keepAlive: 20, onNonLazyError: () => {} });
    await new Promise((resolve) => client.on("pong", resolve));
    await client.dispose();
  });
});

describe("whoever does not keep to the protocol is told by the code it closes with", () => {
  const init = { type: "connection_init" };
  const query = { type: "subscribe", id: "1", payload: { query: "{ __typename }" } };
  const cases = {
    "a message that is none": [4400, "hello"],
    "a message the protocol does not know": [4400, init, { type: "start", id: "1", payload: { query: "{ __typename }" } }],
    "an operation without a document": [4400, init, { type: "subscribe", id: "1" }],
    "an operation before the introduction": [4401, query],
    "a token that is none": [4403, { ...init, payload: { authorization: "Bearer forged" } }],
    "a second introduction": [4429, init, init],
    "no introduction in time": [4408],
  };
  for (const [what, [code, ...messages]] of Object.entries(cases)) {
    test(`${what}: ${code}`, async () => assert.equal(await closed("graphql-transport-ws", messages), code));
  }

  test("binary data: 4400", async () => assert.equal(await closed("graphql-transport-ws", [Buffer.from([1])]), 4400));
  test("another sub-protocol: 4406", async () => assert.equal(await closed(undefined, []), 4406));

  /** The code with which the door closes a connection after these messages. */
  async function closed(protocol, messages) {
    const socket = protocol ? new WebSocket(url, protocol) : new WebSocket(url);
    const end = once(socket, "close");
    await once(socket, "open");
    for (const message of messages) socket.send(Buffer.isBuffer(message) ? message : JSON.stringify(message));
    const [code] = await end;
    return code;
  }
});
