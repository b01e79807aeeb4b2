// What somebody does who sees GraphiQL for the first time: looks at the modules, asks, registers, logs in, and watches
// a balance while money comes in.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const { VOSTRO_URL, VOSTRO_OPERATOR, VOSTRO_STAFF_PASSWORD, CHROMIUM, SCREENSHOTS } = process.env;
assert(VOSTRO_URL && VOSTRO_OPERATOR && VOSTRO_STAFF_PASSWORD, "run it with scripts/with-bank.sh tests/browser/run.sh");
const PATIENCE = 40_000;

let browser;
let page;
const problems = [];

before(async () => {
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  });
  page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
  page.setDefaultTimeout(PATIENCE);
  const own = new URL(VOSTRO_URL).host;
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== "data:" && protocol !== "blob:" && host !== own) problems.push(`asked ${request.url()}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(new URL("/graphiql", VOSTRO_URL).href);
});
after(() => browser?.close());

async function picture(name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

/** Replaces what is in one of the editors, as somebody who pastes would. */
async function paste(editor, text) {
  await page.locator(`${editor} .graphiql-editor:not(.hidden) .CodeMirror`).click();
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText(text);
}

async function example(title) {
  await page.getByRole("button", { name: title }).click();
}

async function tool(name) {
  await page.getByRole("button", { name, exact: true }).click();
}

async function run() {
  await page.getByRole("button", { name: /^Execute query/ }).click();
}

/** What the answer's pane shows, once it has what is looked for. */
async function shown(wanted) {
  const pane = page.locator(".result-window .CodeMirror-code");
  await pane.filter({ hasText: wanted }).waitFor().catch(async (error) => {
    await picture("failed");
    throw error;
  });
  return page.locator(".result-window .CodeMirror").evaluate((element) => element.CodeMirror.getValue());
}

/** The same API without the page. */
async function api(query, variables, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(VOSTRO_URL, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await response.json();
  assert(!errors, JSON.stringify(errors));
  return data;
}

const email = `ana-${randomUUID()}@example.org`;
const password = "a few uncommon words, pickled";
let account;

test("the page begins with the modules and who may ask for what", async () => {
  for (const module of ["auth", "account", "transaction", "notification", "compliance"]) {
    await page.getByRole("heading", { name: `Module ${module}` }).waitFor();
  }
  const deposit = page.getByRole("listitem").filter({ hasText: "depositRecord(" });
  assert.match(await deposit.innerText(), /mutation.*operator.*10 points/s);
  await picture("modules");
  const account = page.locator("details").filter({ has: page.getByText("Account", { exact: true }) });
  await account.locator("summary").first().click();
  await page.getByText("entries(first: Int, after: String, last: Int, before: String): EntryConnection!").waitFor();
  await picture("fields");
});

/** What the page says of a root field, in the section of its module. */
function entry(module, field) {
  const heading = page.getByRole("heading", { name: `Module ${module}`, exact: true });
  const name = page.locator("strong").filter({ hasText: new RegExp(`^${field}$`) });
  return page.locator("section").filter({ has: heading }).getByRole("listitem").filter({ has: name });
}

// A root field of each module: what it is, who may ask for it, and what it costs.
const FIELDS = [
  ["auth", "userRegister", "mutation", "anybody", "20 points"],
  ["auth", "roleAssign", "mutation", "admin", "10 points"],
  ["account", "trialBalance", "query", "compliance officer or operator or admin", "20 points, counted as 30 items"],
  ["transaction", "transferCreate", "mutation", "logged in", "10 points"],
  ["notification", "notifications", "query", "logged in", "1 point, per node of the page"],
  ["compliance", "auditVerification", "query", "compliance officer or admin", "500 points"],
  ["node", "nodes", "query", "logged in", "1 point, counted as 20 items"],
  ["operations", "operationsChanged", "subscription", "operator or admin", "5 points"],
];

for (const [module, field, kind, access, cost] of FIELDS) {
  test(`the page says of ${field} that module ${module} owns it, who may ask, and what it costs`, async () => {
    const chips = await entry(module, field).locator(".vostro-chip").allInnerTexts();
    assert.deepEqual(chips, [kind, access, cost]);
  });
}

test("the page says of an object's field who may ask, what it costs, and who else answers it", async () => {
  const chips = (module, type, signature) => {
    const heading = page.getByRole("heading", { name: `Module ${module}`, exact: true });
    const object = page.locator("section").filter({ has: heading }).locator("details").filter({ has: page.getByText(type, { exact: true }) });
    const field = object.locator("li").filter({ has: page.getByText(signature, { exact: true }) });
    return field.locator(".vostro-chip").allTextContents();
  };
  assert.deepEqual(await chips("account", "Statement", "part(number: Int!): String"), ["logged in", "20 points"]);
  assert.deepEqual(await chips("compliance", "Violation", "ruleId: String!"), []);
  assert.match((await chips("account", "Account", "id: ID!")).join(), /also node/);
});

test("a field that will go says until when and what takes its place", async () => {
  const old = entry("account", "statementProgress");
  assert.match(await old.innerText(), /Deprecated: since 2026-11; remove after 2027-05; use statementUpdated/);
  assert.equal(await old.locator("strong.vostro-deprecated").innerText(), "statementProgress");
  assert.equal(await entry("account", "statementUpdated").locator(".vostro-warning").count(), 0);
});

test("customers are shown what is for customers", async () => {
  const operators = page.getByRole("listitem").filter({ hasText: "depositRecord(" });
  await page.getByRole("button", { name: "customers" }).click();
  await operators.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "everything", exact: true }).click();
  await operators.waitFor();
});

test("a query is answered", async () => {
  await example("Who am I?");
  await run();
  assert.equal(JSON.parse(await shown('"me"')).data.me, null);
});

test("each example says who may carry it out", async () => {
  const access = (title) => {
    const button = page.getByRole("button", { name: new RegExp(`^${title.replace("?", "\\?")} `) });
    return button.locator(".vostro-access").innerText();
  };
  assert.equal(await access("Who am I?"), "anybody");
  assert.equal(await access("Pay"), "logged in");
  assert.equal(await access("A violation and its evidence"), "compliance officer or admin");
  assert.equal(await access("Violations, live"), "compliance officer or admin");
  assert.equal(await access("What is parked, and why?"), "operator or admin");
  assert.equal(await access("Operations, live"), "operator or admin");
  await picture("examples");
});

test("a mutation is carried out", async () => {
  await example("Become a customer");
  await tool("Variables");
  const input = { email, password, displayName: "Ana", idempotencyKey: randomUUID() };
  await paste(".graphiql-editor-tool", JSON.stringify({ input }, null, 2));
  await run();
  const { userRegister } = JSON.parse(await shown('"userRegister"')).data;
  assert.deepEqual([userRegister.user.displayName, userRegister.userErrors], ["Ana", []]);
});

test("a login's token opens what is one's own", async () => {
  await example("Log in");
  await tool("Variables");
  await paste(".graphiql-editor-tool", JSON.stringify({ input: { email, password } }));
  await run();
  const { accessToken } = JSON.parse(await shown('"accessToken"')).data.login.tokens;
  await tool("Headers");
  await paste(".graphiql-editor-tool", JSON.stringify({ Authorization: `Bearer ${accessToken}` }));
  await example("Who am I?");
  await run();
  assert.equal(JSON.parse(await shown("Ana")).data.me.displayName, "Ana");
});

test("a subscription shows what happens", async () => {
  await example("My accounts");
  do {
    await run();
    account = JSON.parse(await shown('"accounts"')).data.accounts.nodes[0]?.id;
  } while (!account);
  await example("A balance, live");
  await tool("Variables");
  await paste(".graphiql-editor-tool", JSON.stringify({ account }));
  await run();
  const before = JSON.parse(await shown('"balanceChanged"')).data.balanceChanged;
  assert.equal(before.balance.posted.amount, "0.00");
  const { login } = await api(
    "mutation LogIn($input: LoginInput!) { login(input: $input) { tokens { accessToken } } }",
    { input: { email: VOSTRO_OPERATOR, password: VOSTRO_STAFF_PASSWORD } },
  );
  const deposit = "mutation Deposit($input: DepositRecordInput!) { depositRecord(input: $input) { userErrors { code } } }";
  const input = { idempotencyKey: randomUUID(), accountId: account, amount: { amount: "12.50", currency: "EUR" } };
  await api(deposit, { input }, login.tokens.accessToken);
  await shown("12.50");
  await picture("subscription");
  await page.getByRole("button", { name: /^Stop query/ }).click();
});

test("nothing came from elsewhere, and the browser had nothing to complain about", () => {
  assert.deepEqual(problems, []);
});
