#!/usr/bin/env bash
# Asks Relay, GraphQL-ESLint, graphql-schema-linter, GraphQL Inspector and the client graphql-ws what they make of the API. Needs npm and the network.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
cargo build --quiet --locked -p vostro-schema --example bare_door
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
BARE_DOOR=$target/debug/examples/bare_door npm test --silent
