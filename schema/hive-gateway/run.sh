#!/usr/bin/env bash
# Compares the answers of Hive Gateway over the bank's subgraphs with those of the bank. Needs npm, the network, and the
# servers of `make test`.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
VOSTRO_TEST_HIVE_GATEWAY=$PWD/gateway.mjs
export VOSTRO_TEST_HIVE_GATEWAY
cd ../..
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --locked -p vostro --test proofs --cargo-profile "${PROFILE:-dev}" --run-ignored only -E 'test(/^federation::hive::/)'
else
  cargo test --locked -p vostro --test proofs --profile "${PROFILE:-dev}" federation::hive:: -- --ignored
fi
