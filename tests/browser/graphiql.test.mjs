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

test("customers are shown what is for customers", async () => {
  const operators = page.getByRole("listitem").filter({ hasText: "depositRecord(" });
  await page.getByRole("button", { name: "customers" }).click();
  await operators.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "everything" }).click();
  await operators.waitFor();
});

test("a query is answered", async () => {
  await example("Who am I?");
  await run();
  assert.equal(JSON.parse(await shown('"me"')).data.me, null);
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
