#!/usr/bin/env node
// Compares the API of each audience with the one last released. Status 1 when a program written for that would break.
//
//   node compatibility.mjs             compares
//   node compatibility.mjs --release   makes today's API the released one: part of a release, see schema/README.md
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CriticalityLevel, diff } from "@graphql-inspector/core";
import { Kind, buildASTSchema, parse, visit } from "graphql";

const schemas = fileURLToPath(new URL("..", import.meta.url));
export const AUDIENCES = readdirSync(join(schemas, "sdl/api")).map((file) => file.replace(".graphql", ""));

const apiFile = (audience) => join(schemas, "sdl/api", `${audience}.graphql`);
const releasedFile = (audience) => join(schemas, "released", `${audience}.graphql`);

export const api = (audience) => readFileSync(apiFile(audience), "utf8");
export const released = (audience) => readFileSync(releasedFile(audience), "utf8");

/** What breaks a program that was written for the older text. */
export async function breaking(older, newer, today = new Date()) {
  const changes = await diff(buildASTSchema(withoutRetired(parse(older), today)), buildASTSchema(parse(newer)));
  return changes.filter(({ criticality }) => criticality.level === CriticalityLevel.Breaking).map(({ message }) => message);
}

/**
 * The schema without what may go: what its deprecation says is removed after a month that has passed, and the types that
 * only led there.
 */
function withoutRetired(document, today) {
  const month = today.toISOString().slice(0, 7);
  const isRetired = ({ directives }) => {
    const deprecated = directives?.find(({ name }) => name.value === "deprecated");
    const reason = deprecated?.arguments?.find(({ name }) => name.value === "reason")?.value.value ?? "";
    const [, last] = /remove after (\d{4}-\d{2})/.exec(reason) ?? [];
    return last !== undefined && month > last;
  };
  const retire = (node) => (isRetired(node) ? null : undefined);
  const rest = visit(document, { FieldDefinition: retire, InputValueDefinition: retire, EnumValueDefinition: retire });
  const used = reached(rest);
  const definitions = rest.definitions.filter((definition) => !definition.name || used.has(definition.name.value));
  return { ...rest, definitions };
}

/** The names of the types that the roots lead to. */
function reached({ definitions }) {
  const types = new Map(definitions.filter(({ name }) => name).map((definition) => [definition.name.value, definition]));
  const implementations = (name) =>
    definitions.filter(({ interfaces }) => interfaces?.some((one) => one.name.value === name)).map((one) => one.name.value);
  const roots = definitions.find(({ kind }) => kind === Kind.SCHEMA_DEFINITION).operationTypes.map(({ type }) => type.name.value);
  const found = new Set();
  const open = [...roots];
  while (open.length > 0) {
    const name = open.pop();
    if (found.has(name) || !types.has(name)) continue;
    found.add(name);
    visit(types.get(name), { NamedType: (type) => void open.push(type.name.value) });
    open.push(...implementations(name));
  }
  return found;
}

function release() {
  for (const audience of AUDIENCES) {
    copyFileSync(apiFile(audience), releasedFile(audience));
    writeFileSync(releasedFile(audience), released(audience).replace(/^(# .*?\.) .*/, "$1 As last released."));
  }
}

async function compare() {
  for (const audience of AUDIENCES) {
    const changes = await breaking(released(audience), api(audience));
    for (const change of changes) console.error(`breaks programs for ${audience}: ${change}`);
    if (changes.length > 0) process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === "--release") release();
  else await compare();
}
