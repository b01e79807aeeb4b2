// The bank of these tests takes registered documents only: clients/typescript/test-registered.sh opens it.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { createClient, type Client as Socket, type SubscribePayload } from "graphql-ws";
import WebSocket from "ws";
import {
  AccountsDocument, BalanceChangedDocument, Client, Document, FaultError, MeDocument, RefusedError, accepted,
} from "@vostro/client";
import { AttachEvidenceDocument } from "@vostro/client/staff";
import { type Person, customer, officer, url } from "../bank.js";
import { NameDocument, RolesDocument } from "./operations.js";

const UNREGISTERED = new Document<{ me: { id: string } | null }, Record<string, never>>("query", "New", "query New { me { id } }");
const UNREGISTERED_CHANGES = new Document<{ balanceChanged: { sequence: number } }, { accountId: string }>(
  "subscription", "NewChanges", "subscription NewChanges($accountId: ID!) { balanceChanged(accountId: $accountId) { sequence } }",
);

let ana: Person;

before(async () => {
  ana = await customer("ana", { documents: "id" });
});

/** The code of what a request was refused with. */
async function refusal(asked: Promise<unknown>): Promise<string | undefined> {
  const error = await asked.then(() => assert.fail("it was not refused"), (error: unknown) => error);
  assert(error instanceof FaultError, String(error));
  return error.code;
}

async function first<T>(events: AsyncIterable<T>): Promise<T> {
  for await (const event of events) return event;
  return assert.fail("the stream ended without an event");
}

describe("a client that sends ids", () => {
  test("asks queries and gives commands", async () => {
    const { accounts } = await ana.client.request(AccountsDocument, { first: 1 });
    assert.equal(accounts?.nodes[0]?.id, ana.account);
  });

  test("subscribes", async () => {
    const { balanceChanged } = await first(ana.client.subscribe(BalanceChangedDocument, { accountId: ana.account }));
    assert.equal(balanceChanged.kind, "SNAPSHOT");
  });

  test("renews its session", async () => {
    const tokens = { ...ana.client.tokens!, expiresAt: new Date(0).toISOString() };
    ana.client = new Client({ url, tokens, documents: "id" });
    assert.equal((await ana.client.request(MeDocument)).me?.displayName, "ana");
    assert.notEqual(ana.client.tokens?.refreshToken, tokens.refreshToken);
  });

  test("sends files", async () => {
    const client = await officer({ documents: "id" });
    const input = { violationId: "vio_01890a5d-ac96-774b-bcce-b302099a8057", file: new Blob(["nothing"]) };
    const { complianceEvidenceAttach } = await client.request(AttachEvidenceDocument, { input });
    assert.throws(() => accepted(complianceEvidenceAttach), RefusedError, "there is no such violation");
  });

  test("asks operations of one's own whose manifest was made and imported", async () => {
    assert.equal((await ana.client.request(NameDocument)).me?.displayName, "ana");
    assert.deepEqual((await ana.client.request(RolesDocument)).me?.roles, ["CUSTOMER"]);
  });

  test("is told which code an operation has that nobody registered", async () => {
    assert.equal(await refusal(ana.client.request(UNREGISTERED)), "PERSISTED_DOCUMENT_NOT_FOUND");
    const changes = ana.client.subscribe(UNREGISTERED_CHANGES, { accountId: ana.account });
    assert.equal(await refusal(first(changes)), "PERSISTED_DOCUMENT_NOT_FOUND");
  });
});

test("a client that sends texts is refused, also those that are registered", async () => {
  const client = new Client({ url, tokens: ana.client.tokens! });
  assert.equal(await refusal(client.request(MeDocument)), "OPERATION_NOT_ALLOWED");
  const changes = client.subscribe(BalanceChangedDocument, { accountId: ana.account });
  assert.equal(await refusal(first(changes)), "OPERATION_NOT_ALLOWED");
});

describe("over a WebSocket", () => {
  const connected = async <T>(use: (socket: Socket) => Promise<T>): Promise<T> => {
    const socket = createClient({
      url: url.replace(/^http/, "ws"),
      webSocketImpl: WebSocket,
      retryAttempts: 0,
      connectionParams: () => ana.client.connectionParams(),
    });
    try {
      return await use(socket);
    } finally {
      await socket.dispose();
    }
  };

  /** The first result of an operation, or the code it was refused with. */
  const asked = (operation: SubscribePayload) =>
    connected(async (socket) => {
      try {
        return (await first(socket.iterate(operation))).data;
      } catch (errors) {
        return (errors as { extensions: { code: string } }[])[0]?.extensions.code;
      }
    });

  test("a query is asked by its id", async () => {
    const answer = await asked(await ana.client.socketOperation(NameDocument));
    assert.deepEqual(answer, { me: { displayName: "ana" } });
  });

  test("a subscription is asked for by its id", async () => {
    const operation = await ana.client.socketOperation(BalanceChangedDocument, { accountId: ana.account });
    const answer = await asked(operation) as { balanceChanged: { accountId: string } };
    assert.equal(answer.balanceChanged.accountId, ana.account);
  });

  test("an operation that nobody registered has its code, and a text another", async () => {
    const operation = await ana.client.socketOperation(UNREGISTERED_CHANGES, { accountId: ana.account });
    assert.equal(await asked(operation), "PERSISTED_DOCUMENT_NOT_FOUND");
    const text = await new Client({ url }).socketOperation(NameDocument);
    assert.equal(await asked(text), "OPERATION_NOT_ALLOWED");
  });
});
