// What the tools say that people write programs for the API with.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { validate } from "@graphql-inspector/core";
import { ESLint } from "eslint";
import { Source, buildASTSchema, parse } from "graphql";
import { AUDIENCES, api, breaking, released } from "./compatibility.mjs";
import { SCHEMA } from "./eslint.config.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const schemas = join(here, "..");

describe("Relay", () => {
  test("compiles a program with refetched pages, a command and subscriptions", () => {
    const folder = join(here, "relay");
    const artifacts = join(folder, "generated");
    rmSync(artifacts, { recursive: true, force: true });
    mkdirSync(artifacts);
    const compiler = join(here, "node_modules/relay-compiler/cli.js");
    const { status, stdout, stderr } = spawnSync(process.execPath, [compiler, "relay.config.json"], { cwd: folder, encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
    // A page is asked for again at its account, by `node`.
    assert.match(readFileSync(join(artifacts, "AccountEntriesQuery.graphql.js"), "utf8"), /node\(id: \$id\)/);
  });
});

describe("GraphQL-ESLint", () => {
  const eslint = new ESLint({ cwd: schemas, overrideConfigFile: join(here, "eslint.config.mjs") });
  const findings = ([{ messages }]) => messages.map(({ line, ruleId, message }) => `${line}: ${ruleId}: ${message}`);

  test("finds nothing in the API", async () => {
    assert.deepEqual(findings(await eslint.lintFiles([SCHEMA])), []);
  });

  test("would find a list that is none of Relay's", async () => {
    const text = api("internal").replace("accounts(filter: AccountFilter, first: Int, after: String, last: Int, before: String)", "accounts(filter: AccountFilter)");
    const found = findings(await eslint.lintText(text, { filePath: SCHEMA }));
    assert.match(found.join("\n"), /relay-arguments/);
  });
});

describe("graphql-schema-linter", () => {
  // What it has beyond taste: not the alphabet, and no description of what says by its name what it is.
  const RULES = [
    "defined-types-are-used",
    "deprecations-have-a-reason",
    "descriptions-are-capitalized",
    "enum-values-all-caps",
    "fields-are-camel-cased",
    "input-object-values-are-camel-cased",
    "relay-connection-arguments-spec",
    "relay-connection-types-spec",
    "relay-page-info-spec",
    "types-are-capitalized",
  ];
  const linter = join(here, "node_modules/graphql-schema-linter/lib/cli.js");

  function findings(text) {
    const options = ["--stdin", "--format", "json", "--rules", RULES.join(",")];
    const { stdout, stderr } = spawnSync(process.execPath, [linter, ...options], { input: text, encoding: "utf8" });
    assert.notEqual(stdout, "", stderr);
    return JSON.parse(stdout).errors.map(({ rule, message }) => `${rule}: ${message}`);
  }

  for (const audience of AUDIENCES) {
    test(`finds nothing in the API for ${audience}`, () => assert.deepEqual(findings(api(audience)), []));
  }

  test("would find a page that is none of Relay's, and a type that nothing leads to", () => {
    const found = findings(api("internal").replace("type PageInfo", "type Unused { id: ID! }\n\ntype PageInfo").replace("hasNextPage: Boolean!", "hasNextPage: Int")).join("\n");
    assert.match(found, /relay-page-info-spec/);
    assert.match(found, /defined-types-are-used/);
  });
});

describe("GraphQL Inspector", () => {
  const internal = buildASTSchema(parse(api("internal")));

  /** Where operations are that we show people, with their texts. */
  function shown() {
    const examples = JSON.parse(readFileSync(join(schemas, "graphiql/examples.json"), "utf8"));
    const sources = examples.map(({ title, document }) => new Source(document, `GraphiQL: ${title}`));
    const folder = join(schemas, "../clients/typescript/src/operations");
    const files = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(".graphql"));
    return [...sources, ...files.map((file) => new Source(readFileSync(join(folder, file), "utf8"), file))];
  }

  test("finds every operation that we show valid, and without anything deprecated", () => {
    const sources = shown();
    assert(sources.length > 10, `only ${sources.length} documents`);
    const found = sources.flatMap((source) => validate(internal, [source]));
    assert.deepEqual(found.map(({ source, errors, deprecated }) => `${source.name}: ${[...errors, ...deprecated].join("; ")}`), []);
  });

  for (const audience of AUDIENCES) {
    test(`finds nothing that breaks a program for ${audience} written for the last release`, async () => {
      assert.deepEqual(await breaking(released(audience), api(audience)), []);
    });
  }
});

describe("the comparison with the last release", () => {
  const OLDER = `schema { query: Query }
    type Query { account(id: ID!, old: Int @deprecated(reason: "since 2026-11; remove after 2027-05; use \`id\`")): Account
      former: Former @deprecated(reason: "since 2026-11; remove after 2027-05; use \`account\`") }
    type Account { id: ID! status: Status! }
    type Former { id: ID! }
    enum Status { OPEN CLOSED }`;
  const FORMER = /former: Former.*/;
  const without = (text, ...parts) => parts.reduce((text, part) => text.replace(part, ""), text);

  const cases = {
    "a field that goes": [without(OLDER, "status: Status!"), true],
    "a value that may become null": [OLDER.replace("Status!", "Status"), true],
    "a value of an enum that goes": [OLDER.replace("OPEN CLOSED", "OPEN"), true],
    "an argument that must be given": [OLDER.replace("id: ID!,", "id: ID!, new: Int!,"), true],
    "a type that becomes another": [OLDER.replace("status: Status!", "status: String!"), true],
    "a field that comes": [OLDER.replace("id: ID! status", "id: ID! name: String status"), false],
    "an argument that may be given": [OLDER.replace("id: ID!,", "id: ID!, new: Int,"), false],
    "a value of an enum that comes": [OLDER.replace("OPEN CLOSED", "OPEN CLOSED FROZEN"), false],
  };
  for (const [change, [newer, breaks]] of Object.entries(cases)) {
    test(`${breaks ? "refuses" : "lets pass"} ${change}`, async () => {
      assert.equal((await breaking(OLDER, newer, new Date("2026-12-01"))).length > 0, breaks);
    });
  }

  test("lets pass what was deprecated when its time is over, with the types behind it, and not before", async () => {
    const newer = without(OLDER, FORMER, /, old: Int @deprecated\(.*?\)/, "type Former { id: ID! }").replace("Account\n", "Account }\n");
    assert.notDeepEqual(await breaking(OLDER, newer, new Date("2027-05-31")), []);
    assert.deepEqual(await breaking(OLDER, newer, new Date("2027-06-01")), []);
  });
});
