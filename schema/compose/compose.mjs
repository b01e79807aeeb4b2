#!/usr/bin/env node
// Composes every subgraph of a folder into `supergraph.graphql` beside them.
//
//   node compose.mjs [folder ...]      default: ../sdl
//
// The first line of the result carries a SHA-256 over the subgraphs, so that a Rust test can tell a stale supergraph
// without Node (`vostro_schema::stitch::sdl`). Keep the two computations the same.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { assertCompositionSuccess, composeServices } from "@theguild/federation-composition";
import { parse } from "graphql";

const SUPERGRAPH = "supergraph.graphql";
const EXTENSION = ".graphql";

function subgraphs(folder) {
  return readdirSync(folder)
    .filter((file) => file.endsWith(EXTENSION) && file !== SUPERGRAPH)
    .sort()
    .map((file) => ({ name: basename(file, EXTENSION), sdl: readFileSync(join(folder, file), "utf8") }));
}

function fingerprint(services) {
  const hash = createHash("sha256");
  for (const { name, sdl } of services) hash.update(name).update("\0").update(sdl).update("\0");
  return hash.digest("hex");
}

function compose(folder) {
  const services = subgraphs(folder);
  if (services.length === 0) throw new Error(`${folder}: no subgraphs (*.graphql) here`);
  const result = composeServices(
    services.map(({ name, sdl }) => ({ name, url: `in-process://${name}`, typeDefs: parse(sdl) })),
  );
  if (result.errors?.length) {
    for (const error of result.errors) console.error(`${error.extensions?.code ?? "ERROR"}: ${error.message}`);
    throw new Error(`${folder}: the subgraphs do not compose`);
  }
  assertCompositionSuccess(result);
  const text = `# subgraphs sha256:${fingerprint(services)}\n${result.supergraphSdl.trim()}\n`;
  writeFileSync(join(folder, SUPERGRAPH), text);
  console.log(`${relative(process.cwd(), join(folder, SUPERGRAPH))}: ${services.map(({ name }) => name).join(", ")}`);
}

try {
  const here = dirname(fileURLToPath(import.meta.url));
  const folders = process.argv.slice(2);
  for (const folder of folders.length ? folders : [join(here, "..", "sdl")]) compose(folder);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
