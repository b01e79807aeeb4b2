#!/usr/bin/env node
// Writes the manifest of the operations that modules export (each a `Document`), for `vostro documents import`:
//
//   vostro-manifest MODULE... > persisted.json      a file, or the name of a package
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { manifestOf } from "@vostro/client";

/** What is sent as a `Document`, also of another copy of this package that a bundler made. */
const isDocument = (value) =>
  ["query", "mutation", "subscription"].includes(value?.kind) && typeof value.name === "string" && typeof value.text === "string";

async function documentsOf(name) {
  const file = resolve(name);
  const found = Object.values(await import(existsSync(file) ? pathToFileURL(file).href : name)).filter(isDocument);
  if (found.length === 0) throw new Error(`${name} exports no Document`);
  return found;
}

const modules = process.argv.slice(2);
if (modules.length === 0 || modules[0].startsWith("-")) {
  console.error("usage: vostro-manifest MODULE... > persisted.json");
  process.exit(2);
}
try {
  const documents = (await Promise.all(modules.map(documentsOf))).flat();
  console.log(JSON.stringify(await manifestOf(documents), null, 2));
} catch (error) {
  console.error(`vostro-manifest: ${error.message}`);
  process.exitCode = 1;
}
