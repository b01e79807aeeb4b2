#!/usr/bin/env node
// Copies the browser builds of GraphiQL and what it needs from node_modules into dist/, compressed. The bank serves
// dist/ from inside its binary; nothing is loaded from elsewhere.
//
//   npm ci && npm run vendor
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const dist = join(here, "dist");

const files = {
  "react.js": "react/umd/react.production.min.js",
  "react-dom.js": "react-dom/umd/react-dom.production.min.js",
  "graphiql.js": "graphiql/graphiql.min.js",
  "graphiql.css": "graphiql/graphiql.min.css",
  "graphql-ws.js": "graphql-ws/umd/graphql-ws.min.js",
  "explorer.js": "@graphiql/plugin-explorer/dist/index.umd.js",
  "explorer.css": "@graphiql/plugin-explorer/dist/style.css",
};

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
let notices = "The files in this folder are builds of these packages, compressed with gzip and otherwise unchanged.\n";
const seen = new Set();
for (const [name, source] of Object.entries(files)) {
  // A source map would be a request to a file that is not there.
  const text = readFileSync(join(modules, source), "utf8").replace(/^\/\/# sourceMappingURL=.*$/m, "");
  writeFileSync(join(dist, `${name}.gz`), gzipSync(text, { level: constants.Z_BEST_COMPRESSION }));
  const owner = source.startsWith("@") ? source.split("/", 2).join("/") : source.split("/", 1)[0];
  if (seen.has(owner)) continue;
  seen.add(owner);
  const { version, license } = JSON.parse(readFileSync(join(modules, owner, "package.json"), "utf8"));
  const licence = ["LICENSE", "LICENSE.md"].map((file) => join(modules, owner, file)).find(existsSync);
  notices += `\n${"=".repeat(80)}\n${owner} ${version} (${license})\n`;
  if (licence) notices += `\n${readFileSync(licence, "utf8").trim()}\n`;
}
writeFileSync(join(dist, "NOTICE"), notices);
