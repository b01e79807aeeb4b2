#!/usr/bin/env node
// Runs the GraphQL-over-HTTP audit against a door. No error and no warning is allowed.
//
//   node audit.mjs URL                 a server that is there
//   node audit.mjs -- COMMAND...       starts COMMAND, whose first line on standard output is the URL
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { auditServer } from "graphql-http";

async function audit(url) {
  const results = await auditServer({ url });
  const bad = results.filter(({ status }) => status === "error" || status === "warn");
  for (const { status, id, name, reason } of bad) console.error(`${status} ${id} ${name}: ${reason}`);
  const count = (wanted) => results.filter(({ status }) => status === wanted).length;
  console.log(`${results.length} checks: ${count("ok")} ok, ${count("notice")} notices, ${bad.length} errors and warnings`);
  return results.length > 50 && bad.length === 0;
}

async function started(command) {
  const [program, ...rest] = command;
  const server = spawn(program, rest, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(server, "exit").then(() => {
    throw new Error("the server ended before it said where it listens");
  });
  const [url] = await Promise.race([once(createInterface(server.stdout), "line"), ended]);
  ended.catch(() => {});
  return { url, stop: () => server.stdin.end() };
}

const [first, ...command] = process.argv.slice(2);
if (!first) {
  console.error("usage: audit.mjs URL | -- COMMAND...");
  process.exit(2);
}
const { url, stop } = first === "--" ? await started(command) : { url: first, stop: () => {} };
try {
  process.exitCode = (await audit(url)) ? 0 : 1;
} finally {
  stop();
}
