#!/usr/bin/env node
// Runs the GraphQL-over-HTTP audit against a bank. No error and no warning is allowed.
//
//   node audit.mjs URL
import { auditServer } from "graphql-http";

const [url] = process.argv.slice(2);
if (!url) {
  console.error("usage: audit.mjs URL");
  process.exit(2);
}
const results = await auditServer({ url });
const bad = results.filter(({ status }) => status === "error" || status === "warn");
for (const { status, id, name, reason } of bad) console.error(`${status} ${id} ${name}: ${reason}`);
const count = (wanted) => results.filter(({ status }) => status === wanted).length;
console.log(`${results.length} checks: ${count("ok")} ok, ${count("notice")} notices, ${bad.length} errors and warnings`);
process.exitCode = results.length > 50 && bad.length === 0 ? 0 : 1;
