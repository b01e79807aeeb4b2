#!/usr/bin/env node
// Hive Gateway over the bank's subgraphs, on a free port of the loopback interface. Prints its address and serves until its
// standard input ends.
//
//   vostro --config gateway.toml federation supergraph > supergraph.graphql
//   GATEWAY_SECRET=… node gateway.mjs supergraph.graphql http://127.0.0.1:21080
//
// The second argument is the base address of the process with the auth module, the secret is `federation.signing_key`.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createGatewayRuntime } from "@graphql-hive/gateway-runtime";
import { unifiedGraphHandler } from "@graphql-hive/router-runtime";
import { GraphQLError } from "graphql";
import { useVostro } from "./identity.mjs";

const [supergraph, auth] = process.argv.slice(2);
const secret = process.env.GATEWAY_SECRET;
if (!supergraph || !auth || !secret) {
  console.error("usage: GATEWAY_SECRET=… gateway.mjs SUPERGRAPH AUTH");
  process.exit(2);
}
const onUnauthenticated = (fault) => new GraphQLError(`The access token does not count: ${fault}.`, { extensions: { code: "UNAUTHENTICATED" } });
const gateway = createGatewayRuntime({
  supergraph: readFileSync(supergraph, "utf8"),
  unifiedGraphHandler,
  // Subscriptions too: Hive Gateway would ask for events with GET, which has no body to sign and which no subgraph takes.
  transportEntries: { "*.http": { options: { method: "POST" } } },
  plugins: () => [useVostro({ name: process.env.GATEWAY_NAME ?? "gateway", secret, auth, onUnauthenticated })],
  // The bank's own limits stand before its own gateway; here nothing may stand between the planner and the subgraphs.
  maskedErrors: false,
  graphiql: false,
  landingPage: false,
  logging: process.env.GATEWAY_LOG ?? false,
});
const server = createServer(gateway);
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/graphql`));
process.stdin.resume().on("end", () => process.exit(0));
