import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import * as customer from "@vostro/client";
import { Client, Document, MeDocument, idOf, manifestOf } from "@vostro/client";
import * as staff from "@vostro/client/staff";

const hash = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const operations = (module: object) => Object.values(module).filter((value) => value instanceof Document);
const shipped = (audience: string) =>
  JSON.parse(readFileSync(new URL(import.meta.resolve(`@vostro/client/manifests/${audience}.json`)), "utf8")) as object;

const NAMES = new Document<unknown, Record<string, never>>("query", "Names", "query Names { me { displayName } }");

/** What a client sends of an operation to a bank that answers nothing of interest. */
async function sent(options: { documents?: "text" | "id" }, variables: Record<string, unknown>): Promise<Record<string, unknown>> {
  let body: unknown;
  const fetch = async (_: unknown, init?: RequestInit) => {
    body = init?.body;
    return Response.json({ data: {} });
  };
  const upload = new Document<unknown, Record<string, unknown>>("query", "Names", NAMES.text);
  await new Client({ url: "https://bank.example/graphql", fetch, ...options }).request(upload, variables);
  return JSON.parse(body instanceof FormData ? String(body.get("operations")) : String(body)) as Record<string, unknown>;
}

describe("manifests", () => {
  for (const [audience, module] of Object.entries({ customer, staff })) {
    test(`that of ${audience}s has every operation of the package, by the hash of exactly its text`, async () => {
      const manifest = shipped(audience);
      assert.deepEqual(manifest, await manifestOf(operations(module)));
      for (const [id, text] of Object.entries(manifest)) assert.equal(id, hash(text as string));
    });
  }

  test("an operation has the hash of its text as id, or the one it was given", async () => {
    const text = "query Ä { me { id } }";
    assert.equal(await idOf(new Document("query", "Ä", text)), hash(text));
    assert.equal(await idOf(new Document("query", "Ä", text, "mine")), "mine");
  });

  test("an id stands for one text", async () => {
    const [one, same, other] = [NAMES.text, NAMES.text, MeDocument.text].map((text) => new Document("query", "Names", text, "mine"));
    assert.deepEqual(await manifestOf([one!, same!]), { mine: NAMES.text });
    await assert.rejects(manifestOf([one!, other!]), /mine/);
  });

  const NAME = "query Name { me { displayName } }";
  const program = (...modules: string[]) => promisify(execFile)(process.execPath, ["bin/vostro-manifest.mjs", ...modules]);

  test("the program makes one of the operations that modules export", async () => {
    const { stdout } = await program("@vostro/client", "build/test/registered/operations.js");
    const own = { [hash(NAME)]: NAME, "roles-1": "query Roles { me { roles } }" };
    assert.deepEqual(JSON.parse(stdout), { ...shipped("customer"), ...own });
  });

  test("the program says which module has no operations", async () => {
    await assert.rejects(program("@vostro/client", "build/test/proxy.js"), /proxy\.js exports no Document/);
  });
});

describe("a client sends", () => {
  const rest = { operationName: "Names", variables: {} };

  test("the text of an operation unless told", async () => {
    assert.deepEqual(await sent({}, {}), { query: NAMES.text, ...rest });
  });

  test("the id alone when it is to send ids", async () => {
    assert.deepEqual(await sent({ documents: "id" }, {}), { documentId: hash(NAMES.text), ...rest });
  });

  test("the id alone with files, too", async () => {
    const { query, documentId } = await sent({ documents: "id" }, { file: new Blob(["a"]) });
    assert.deepEqual({ query, documentId }, { query: undefined, documentId: hash(NAMES.text) });
  });
});
