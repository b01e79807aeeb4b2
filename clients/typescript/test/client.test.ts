import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import {
  AccountsDocument, BalanceChangedDocument, Client, ConnectionError, Document, EntriesDocument, FaultError, LogOutDocument, MeDocument,
  NotificationArrivedDocument, PayDocument, RefusedError, TransactionDocument, TransactionUpdatedDocument, accepted,
  type Tokens, type VariablesOf,
} from "@vostro/client";
import {
  AttachEvidenceDocument, AuditTrailDocument, EvidenceContentDocument, TrialBalanceDocument, VerifyAuditDocument, ViolationsDocument,
} from "@vostro/client/staff";
import { type Person, customer, deposit, euros, officer, operator, toKnownAccounts, url } from "./bank.js";
import { Proxy } from "./proxy.js";

let ana: Person;
let ben: Person;

before(async () => {
  [ana, ben] = await Promise.all([customer("ana"), customer("ben")]);
  await deposit(ana.account, "1000.00");
});

type PayInput = VariablesOf<typeof PayDocument>["input"];

function payment(amount: string, more: Partial<PayInput> = {}): { input: PayInput } {
  const [sourceAccountId, destinationAccountId] = [ana.account, ben.account];
  return { input: { idempotencyKey: randomUUID(), sourceAccountId, destinationAccountId, amount: euros(amount), ...more } };
}

async function balance(person: Person): Promise<string | undefined> {
  const { accounts } = await person.client.request(AccountsDocument, { first: 1 });
  return accounts?.nodes[0]?.balance.posted.amount;
}

describe("commands and queries", () => {
  test("a payment moves money", async () => {
    const { transferCreate } = await ana.client.request(PayDocument, payment("10.00", { waitFor: "COMPLETED" }));
    const { transaction } = accepted(transferCreate);
    assert.equal(transaction?.status, "COMPLETED");
    const found = await ben.client.request(TransactionDocument, { id: transaction.id });
    assert.deepEqual(found.transaction?.amount, euros("10.00"));
  });

  test("a refusal is data until it is asked for", async () => {
    const { transferCreate } = await ana.client.request(PayDocument, payment("1.00", { destinationAccountId: ana.account }));
    assert.equal(transferCreate?.userErrors[0]?.code, "TXN_SELF_TRANSFER");
    assert.throws(() => accepted(transferCreate), (error) => error instanceof RefusedError && error.code === "TXN_SELF_TRANSFER");
  });

  test("a fault says its code, whether it passes, and how the bank's logs name it", async () => {
    const error = await ana.client.request(TrialBalanceDocument).catch((error: unknown) => error);
    assert(error instanceof FaultError, String(error));
    assert.equal(error.code, "FORBIDDEN");
    assert.equal(error.retryable, false);
    assert.match(error.traceId ?? "", /^[0-9a-f-]{32,36}$/);
  });

  test("a document of one's own is typed by whoever writes it", async () => {
    const names = new Document<{ me: { displayName: string } | null }, Record<string, never>>("query", "Name", "query Name { me { displayName } }");
    const { me } = await ana.client.request(names);
    assert.equal(me?.displayName, "ana");
  });

  test("staff see the books and what is on record", async () => {
    const { trialBalance } = await (await operator()).request(TrialBalanceDocument);
    assert(trialBalance?.every(({ balanced }) => balanced));
    const { auditVerification } = await (await officer()).request(VerifyAuditDocument);
    assert.equal(auditVerification?.ok, true);
    const { auditTrail } = await (await officer()).request(AuditTrailDocument, { aggregateId: ana.account });
    assert(auditTrail?.every(({ position }) => position > 0));
  });

  test("a document is kept with what the rules found", async () => {
    const rich = await customer("carla");
    await deposit(rich.account, "20000.00");
    const client = await officer();
    let violationId: string | undefined;
    while (!violationId) {
      const { violations } = await client.request(ViolationsDocument, { first: 100 });
      violationId = violations?.nodes.find(({ subjectId }) => subjectId === rich.account)?.id;
      if (!violationId) await setTimeout(50);
    }
    const file = new File(["She sold a house."], "note.txt", { type: "text/plain" });
    const { complianceEvidenceAttach } = await client.request(AttachEvidenceDocument, { input: { violationId, file } });
    const { evidence } = accepted(complianceEvidenceAttach);
    assert.equal(evidence?.fileName, "note.txt");
    assert.equal(evidence.sha256, createHash("sha256").update("She sold a house.").digest("hex"));
    const { evidenceContent } = await client.request(EvidenceContentDocument, { id: evidence.id });
    assert.equal(Buffer.from(evidenceContent ?? "", "base64").toString(), "She sold a house.");
  });

  test("a list is read from its end as from its beginning", async () => {
    const entries = async (page: Omit<VariablesOf<typeof EntriesDocument>, "accountId">) => {
      const { account } = await ana.client.request(EntriesDocument, { accountId: ana.account, ...page });
      return account!.entries;
    };
    for (const amount of ["1.00", "2.00"]) {
      accepted((await ana.client.request(PayDocument, payment(amount, { waitFor: "COMPLETED" }))).transferCreate);
    }
    const last = await entries({ last: 2 });
    assert.equal(last.pageInfo.hasPreviousPage, true);
    const before = await entries({ last: 1, before: last.pageInfo.startCursor ?? "" });
    const onwards = await entries({ first: 2, after: before.pageInfo.endCursor ?? "" });
    assert.deepEqual(onwards.nodes, last.nodes);
    assert.equal(onwards.pageInfo.hasNextPage, false);
  });

  test("what the caller gives up is given up", async () => {
    const reason = new Error("enough");
    const asked = ana.client.request(MeDocument, {}, { signal: AbortSignal.abort(reason) });
    await assert.rejects(asked, reason);
  });
});

describe("the session", () => {
  test("an expired token is exchanged once, however many requests need it", async () => {
    const kept: (Tokens | undefined)[] = [];
    const carol = await customer("carol");
    const stale = { ...carol.tokens, expiresAt: new Date(0).toISOString() };
    const client = new Client({ url, tokens: stale, onTokens: (tokens) => kept.push(tokens) });
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.request(MeDocument)));
    assert(answers.every(({ me }) => me?.displayName === "carol"));
    assert.equal(kept.length, 1);
    assert.notEqual(client.tokens?.refreshToken, stale.refreshToken);
  });

  test("a token that the bank does not take is exchanged, and the request repeated", async () => {
    const dan = await customer("dan");
    const client = new Client({ url, tokens: { ...dan.tokens, accessToken: `${dan.tokens.accessToken.slice(0, -8)}AAAAAAAA` } });
    const { accounts } = await client.request(AccountsDocument, { first: 1 });
    assert.equal(accounts?.nodes[0]?.id, dan.account);
  });

  test("a session that has ended is over", async () => {
    const kept: (Tokens | undefined)[] = [];
    const eve = await customer("eve");
    await eve.client.logOut();
    assert.equal(eve.client.tokens, undefined);
    const client = new Client({ url, tokens: { ...eve.tokens, expiresAt: new Date(0).toISOString() }, onTokens: (tokens) => kept.push(tokens) });
    await assert.rejects(client.request(AccountsDocument), RefusedError);
    assert.deepEqual(kept, [undefined]);
    assert.equal((await client.request(MeDocument)).me, null);
  });

  test("a wrong password is refused", async () => {
    const login = new Client({ url }).logIn({ email: ana.email, password: "not the one I chose" });
    await assert.rejects(login, (error) => error instanceof RefusedError && error.code === "AUTH_INVALID_CREDENTIALS");
  });
});

describe("behind a bad connection", () => {
  let proxy: Proxy;
  let client: Client;

  before(async () => {
    proxy = await Proxy.before(url);
    client = new Client({ url: proxy.url, tokens: ana.client.tokens! });
  });
  after(() => proxy.close());

  test("a payment whose answer is lost is made once", async () => {
    const before = await balance(ben);
    proxy.loseAnswer();
    const { transferCreate } = await client.request(PayDocument, payment("7.00", { waitFor: "COMPLETED" }));
    assert.equal(accepted(transferCreate).replayed, true);
    assert.equal(Number(await balance(ben)) - Number(before), 7);
  });

  test("a command without a key is sent once", async () => {
    const frank = await customer("frank");
    const session = new Client({ url: proxy.url, tokens: frank.tokens });
    const sent = proxy.requests.length;
    proxy.loseAnswer();
    await assert.rejects(session.request(LogOutDocument), ConnectionError);
    assert.equal(proxy.requests.length, sent + 1);
  });

  test("what passes is waited for, as long as the bank asks", async () => {
    const errors = [{ message: "Later.", extensions: { code: "RATE_LIMITED", retryable: true, retryAfterMs: 20 } }];
    const sent = proxy.requests.length;
    proxy.answer(429, "application/graphql-response+json", JSON.stringify({ errors }));
    proxy.answer(502, "text/html", "<h1>Bad gateway</h1>");
    assert.equal((await client.request(MeDocument)).me?.displayName, "ana");
    assert.equal(proxy.requests.length, sent + 3);
  });

  test("what does not pass is told at once", async () => {
    const sent = proxy.requests.length;
    proxy.answer(404, "text/html", "<h1>Not found</h1>");
    await assert.rejects(client.request(MeDocument), (error) => error instanceof ConnectionError && error.status === 404);
    assert.equal(proxy.requests.length, sent + 1);
  });

  /** Pays a euro so many times, and cuts every connection after each payment. */
  async function payAndCut(times: number, payee = ben): Promise<void> {
    for (let paid = 0; paid < times; paid++) {
      await toKnownAccounts(async () => {
        const input = payment("1.00", { waitFor: "COMPLETED", destinationAccountId: payee.account });
        return accepted((await ana.client.request(PayDocument, input)).transferCreate);
      });
      proxy.cut();
    }
  }

  test("a balance is followed over connections that break: each change once, in order", async () => {
    const changes = client.subscribe(BalanceChangedDocument, { accountId: ana.account });
    const heard: { sequence: number; kind: string }[] = [];
    let paying = Promise.resolve();
    for await (const { balanceChanged } of changes) {
      if (heard.length === 0) paying = payAndCut(6);
      heard.push(balanceChanged);
      if (balanceChanged.sequence === heard[0]!.sequence + 6) break;
    }
    await paying;
    const start = heard[0]!.sequence;
    assert.deepEqual(heard.map(({ sequence }) => sequence), Array.from({ length: 7 }, (_, more) => start + more));
    assert.deepEqual(heard.map(({ kind }) => kind), ["SNAPSHOT", ...Array<string>(6).fill("CHANGE")]);
  });

  test("payments are followed over connections that break: each state once, each payment in its order", async () => {
    const updates = client.subscribe(TransactionUpdatedDocument, { accountId: ana.account });
    const heard: string[] = [];
    const ended = new Set<string>();
    let paying: Promise<void> | undefined;
    for await (const { transactionUpdated: { transaction, sequence, kind } } of updates) {
      paying ??= payAndCut(6);
      heard.push(`${transaction.id} ${sequence}`);
      if (kind === "CHANGE" && sequence === 2) ended.add(transaction.id);
      if (ended.size === 6) break;
    }
    await paying;
    assert.equal(new Set(heard).size, heard.length, "nothing twice");
    for (const id of ended) {
      const states = heard.filter((update) => update.startsWith(id));
      assert.deepEqual(states, [...states].sort(), "in order");
    }
  });

  test("notifications are followed over connections that break: each once", async () => {
    const gil = await customer("gil");
    const arrivals = new Client({ url: proxy.url, tokens: gil.tokens }).subscribe(NotificationArrivedDocument, {});
    const heard: string[] = [];
    const received = new Set<string>();
    await payAndCut(1, gil);
    let paying: Promise<void> | undefined;
    for await (const { notificationArrived: { notification } } of arrivals) {
      heard.push(notification.id);
      paying ??= payAndCut(6, gil);
      if (notification.topic === "PAYMENT_RECEIVED") received.add(notification.id);
      if (received.size === 7) break;
    }
    await paying;
    assert.equal(new Set(heard).size, heard.length, "nothing twice");
  });

  const ticks = new Document<{ tick: { cursor: string } }, { after?: string }>(
    "subscription", "Ticks", "subscription Ticks($after: String) { tick(after: $after) { cursor } }",
  );
  const tick = (cursor: string) => `event: next\ndata: ${JSON.stringify({ data: { tick: { cursor } } })}\n\n`;
  const complete = "event: complete\ndata:\n\n";

  test("an operation with a cursor goes on behind the last event by itself", async () => {
    proxy.bodies.length = 0;
    proxy.answer(200, "text/event-stream", tick("one") + tick("two")); // and then the connection is gone
    proxy.answer(200, "text/event-stream", tick("three") + complete);
    const heard: string[] = [];
    for await (const { tick } of client.subscribe(ticks)) heard.push(tick.cursor);
    assert.deepEqual(heard, ["one", "two", "three"]);
    const asked = proxy.bodies.map((body) => (JSON.parse(body) as { variables: unknown }).variables);
    assert.deepEqual(asked, [{}, { after: "two" }]);
  });

  test("a subscription that has begun outlasts a bank that is away", async () => {
    const impatient = new Client({ url: proxy.url, retries: 0 });
    proxy.answer(200, "text/event-stream", tick("one"));
    proxy.answer(502, "text/html", "<h1>Bad gateway</h1>");
    proxy.answer(200, "text/event-stream", tick("two") + complete);
    const heard: string[] = [];
    for await (const { tick } of impatient.subscribe(ticks)) heard.push(tick.cursor);
    assert.deepEqual(heard, ["one", "two"]);
    proxy.answer(502, "text/html", "<h1>Bad gateway</h1>");
    await assert.rejects(first(impatient.subscribe(ticks)), ConnectionError);
  });
});

describe("a program with a name", () => {
  const named = { clientName: "teller", clientVersion: "2.1.0" };
  const headers = { "graphql-client-name": "teller", "graphql-client-version": "2.1.0" };
  let proxy: Proxy;

  before(async () => {
    proxy = await Proxy.before(url);
  });
  after(() => proxy.close());

  /** Under which names the requests since the last call were sent. */
  function told(): (string | string[] | undefined)[][] {
    return proxy.requests.splice(0).map((request) => Object.keys(headers).map((name) => request.headers[name]));
  }

  test("says it with every request, files and streams among them", async () => {
    const hal = await customer("hal", { ...named, url: proxy.url });
    await first(hal.client.subscribe(BalanceChangedDocument, { accountId: hal.account }));
    const file = new File(["A letter."], "note.txt", { type: "text/plain" });
    const violationId = `vio_${randomUUID()}`;
    await assert.rejects(hal.client.request(AttachEvidenceDocument, { input: { violationId, file } }), FaultError);
    const contents = proxy.requests.map((request) => request.headers["content-type"]?.split(";")[0]);
    assert(contents.includes("multipart/form-data"), String(contents));
    const accepts = proxy.requests.map((request) => request.headers.accept);
    assert(accepts.includes("text/event-stream"), String(accepts));
    const all = told();
    assert.deepEqual(all, all.map(() => Object.values(headers)));
  });

  test("says it where a token is exchanged, too", async () => {
    const ida = await customer("ida");
    const stale = { ...ida.tokens, expiresAt: new Date(0).toISOString() };
    await new Client({ url: proxy.url, tokens: stale, ...named }).request(MeDocument);
    assert.deepEqual(told(), [Object.values(headers), Object.values(headers)]);
  });

  test("is free not to have one, or no version", async () => {
    await new Client({ url: proxy.url }).request(MeDocument);
    await new Client({ url: proxy.url, clientName: "teller" }).request(MeDocument);
    assert.deepEqual(told(), [[undefined, undefined], ["teller", undefined]]);
  });

  test("is told at once of a name that cannot be sent", () => {
    for (const wrong of ["", " teller", "teller\n", "Schalter für alle"]) {
      assert.throws(() => new Client({ url, clientName: wrong }), TypeError, JSON.stringify(wrong));
    }
    assert.throws(() => new Client({ url, clientVersion: "2" }), TypeError);
  });

  test("says it in the first message over a WebSocket, with the token of who is logged in", async () => {
    const client = new Client({ url, tokens: ana.client.tokens!, ...named });
    assert.deepEqual(await client.connectionParams(), { ...headers, authorization: `Bearer ${ana.client.tokens!.accessToken}` });
    const socket = createClient({
      url: url.replace("http", "ws"),
      webSocketImpl: WebSocket,
      connectionParams: () => client.connectionParams(),
    });
    const changes = socket.iterate(await ana.client.socketOperation(BalanceChangedDocument, { accountId: ana.account }));
    for await (const { data } of changes) {
      assert.equal((data as { balanceChanged: { accountId: string } }).balanceChanged.accountId, ana.account);
      break;
    }
    await socket.dispose();
  });

  test("has nothing but its name to say over a WebSocket when nobody is logged in", async () => {
    assert.deepEqual(await new Client({ url, ...named }).connectionParams(), headers);
    assert.deepEqual(await new Client({ url }).connectionParams(), {});
  });
});

describe("subscriptions", () => {
  test("a payment is followed to its end, which ends the stream", async () => {
    const { transaction } = accepted((await ana.client.request(PayDocument, payment("3.00"))).transferCreate);
    const heard: string[] = [];
    for await (const { transactionUpdated } of ana.client.subscribe(TransactionUpdatedDocument, { transactionId: transaction!.id })) {
      heard.push(transactionUpdated.transaction.status);
    }
    assert.equal(heard.at(-1), "COMPLETED");
  });

  test("whoever stops listening ends the subscription", async () => {
    const over = new AbortController();
    const heard: unknown[] = [];
    for await (const event of ana.client.subscribe(BalanceChangedDocument, { accountId: ana.account }, { signal: over.signal })) {
      heard.push(event);
      over.abort();
    }
    assert.equal(heard.length, 1);
  });

  test("an expired token ends nothing", async () => {
    const gina = await customer("gina");
    const client = new Client({ url, tokens: { ...gina.tokens, expiresAt: new Date(0).toISOString() } });
    const { balanceChanged } = await first(client.subscribe(BalanceChangedDocument, { accountId: gina.account }));
    assert.equal(balanceChanged.accountId, gina.account);
  });

  test("somebody who may not listen is told so", async () => {
    const stream = new Client({ url }).subscribe(NotificationArrivedDocument, {});
    await assert.rejects(first(stream), (error) => error instanceof FaultError && error.code === "UNAUTHENTICATED");
  });
});

/** The first event of a stream, which is left after it. */
async function first<T>(stream: AsyncGenerator<T>): Promise<T> {
  for await (const event of stream) return event;
  throw new Error("the stream ended without an event");
}
