#!/usr/bin/env bash
# Runs the GraphQL-over-HTTP audit against the bank's own door, without any module behind it. Needs npm and the network.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
cargo build --quiet --locked -p vostro-schema --example bare_door
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
node audit.mjs -- "$target/debug/examples/bare_door"
