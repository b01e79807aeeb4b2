#!/usr/bin/env bash
# Runs the GraphQL-over-HTTP audit against the bank of the environment: scripts/with-bank.sh schema/http-audit/run.sh
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
node audit.mjs "$VOSTRO_URL"
