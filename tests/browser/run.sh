#!/usr/bin/env bash
# Drives GraphiQL in headless Chromium against the bank of the environment: scripts/with-bank.sh tests/browser/run.sh
#
# CHROMIUM names another browser, SCREENSHOTS a folder for pictures of each step.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
CHROMIUM=${CHROMIUM:-$(command -v chromium)} npm test --silent
