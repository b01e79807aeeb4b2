#!/usr/bin/env bash
# Tests the client by ids against a bank that takes registered documents only: makes the manifests, imports them, and opens
# such a bank on the stack that PORT_BASE and VOSTRO_LOCAL name (that of `make run` by default, which must not be running).
#
# Usage: clients/typescript/test-registered.sh

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

cd "$ROOT/clients/typescript"
set_ports
! alive bank || die 'a bank is running that takes other documents, too' 'scripts/stop.sh stops it'
npm ci --silent --no-audit --no-fund
npm run --silent check
build_bank
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bin/vostro-manifest.mjs ./build/test/registered/operations.js >"$folder/own"
for manifest in src/generated/customer.json src/generated/staff.json "$folder/own"; do
  "$(bank_program)" documents import "$manifest" --client tests --folder "$folder/documents"
done
export VOSTRO__GRAPHQL__DOCUMENTS=registered VOSTRO__GRAPHQL__DOCUMENTS_FOLDER=$folder/documents
"$ROOT/scripts/with-bank.sh" node --test build/test/registered/*.test.js
