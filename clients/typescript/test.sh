#!/usr/bin/env bash
# Tests the client and plays the guide against the bank of the environment: scripts/with-bank.sh clients/typescript/test.sh
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
npm test --silent
