// What both composers say: The Guild's, which makes our supergraph, and Apollo's, so that no gateway is a surprise.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, test } from "node:test";
import * as apollo from "@apollo/composition";
import * as guild from "@theguild/federation-composition";
import { buildASTSchema, lexicographicSortSchema, parse, printSchema, validateSchema } from "graphql";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const sdl = join(here, "../sdl");
const API = ["customer", "staff", "internal"];

const composers = {
  guild: (services) => guild.composeServices(services),
  apollo: (services) => apollo.composeServices(services),
};

function graphqlFiles(folder) {
  return readdirSync(folder).filter((file) => file.endsWith(".graphql")).sort();
}

function subgraphs() {
  const files = graphqlFiles(sdl).filter((file) => file !== "supergraph.graphql");
  return files.map((file) => {
    const name = basename(file, ".graphql");
    return { name, url: `in-process://${name}`, typeDefs: parse(readFileSync(join(sdl, file), "utf8")) };
  });
}

describe("the bank's subgraphs", () => {
  for (const [name, compose] of Object.entries(composers)) {
    test(`compose with ${name}, without an error or a hint`, () => {
      const { supergraphSdl, errors, hints } = compose(subgraphs());
      assert.deepEqual((errors ?? []).map(String), []);
      assert.deepEqual((hints ?? []).map(String), []);
      assert(supergraphSdl?.includes("join__Graph"));
    });
  }

  test("compose to the supergraph that is committed, to the last character", () => {
    const folder = mkdtempSync(join(tmpdir(), "supergraph-"));
    try {
      for (const file of graphqlFiles(sdl).filter((file) => file !== "supergraph.graphql")) {
        copyFileSync(join(sdl, file), join(folder, file));
      }
      execFileSync(process.execPath, [join(here, "compose.mjs"), folder], { stdio: "ignore" });
      const [committed, composed] = [sdl, folder].map((at) => readFileSync(join(at, "supergraph.graphql"), "utf8"));
      assert.equal(committed, composed);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  for (const audience of API) {
    test(`have the API for ${audience} that the composer's own filter makes`, () => {
      // Everything is tagged with the smallest audience that has it, so an audience is what is left without the larger.
      const exclude = new Set(API.slice(API.indexOf(audience) + 1));
      const { publicSdl, errors } = guild.composeSchemaContract(subgraphs(), { include: new Set(), exclude }, true);
      assert.deepEqual((errors ?? []).map(String), []);
      assert.equal(written(readFileSync(join(sdl, "api", `${audience}.graphql`), "utf8")), written(publicSdl));
    });
  }
});

/** A schema in an order of its own, after it was found to be one. */
function written(text) {
  const schema = buildASTSchema(parse(text), { assumeValidSDL: true });
  assert.deepEqual(validateSchema(schema), []);
  return printSchema(lexicographicSortSchema(schema));
}

// --- broken variants: a file each, with what is wrong, the code both composers have for it, and the subgraphs

const HEADER = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: [
  "@key", "@shareable", "@external", "@requires", "@provides", "@override", "@inaccessible", "@interfaceObject", "@tag"])\n`;

/** `# rejected: CODE`, or `# rejected: CODE (guild), CODE (apollo)` where they call it differently. */
function variant(file) {
  const [head, ...parts] = readFileSync(join(here, "broken", file), "utf8").split(/^# subgraph: /m);
  const [, codes] = /^# rejected: (.*)$/m.exec(head);
  const expected = { guild: codes, apollo: codes };
  for (const [, code, composer] of codes.matchAll(/(\w+) \((\w+)\)/g)) expected[composer] = code;
  const services = parts.map((part) => {
    const [name, ...lines] = part.split("\n");
    return { name, url: `in-process://${name}`, typeDefs: parse(HEADER + lines.join("\n")) };
  });
  return { expected, services };
}

describe("a broken subgraph is rejected", () => {
  for (const file of graphqlFiles(join(here, "broken"))) {
    for (const [name, compose] of Object.entries(composers)) {
      test(`${basename(file, ".graphql").replaceAll("-", " ")} (${name})`, () => {
        const { expected, services } = variant(file);
        const errors = compose(services).errors ?? [];
        const codes = [...new Set(errors.map(({ extensions }) => extensions?.code))];
        assert(codes.includes(expected[name]), `expected ${expected[name]}, got ${codes}: ${errors.map(String).join("; ")}`);
      });
    }
  }
});
