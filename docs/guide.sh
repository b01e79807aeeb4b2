#!/usr/bin/env bash
# The flows of docs/guide.md with curl. Needs VOSTRO_URL and a bank's staff, as scripts/with-bank.sh names them.
# shellcheck disable=SC2016 # what begins with $ in single quotes is a variable of GraphQL
set -euo pipefail
run=${RUN:-$$-$(date +%s)} # people and keys of this run

# --- helpers
# ask TOKEN DOCUMENT [VARIABLES]: the answer as JSON.
ask() {
  curl -sS --fail-with-body "$VOSTRO_URL" -H 'content-type: application/json' ${1:+-H "authorization: Bearer $1"} \
    -d "{\"query\": \"${2//$'\n'/ }\", \"variables\": ${3:-null}}"
}
# get KEY: the first text under this key. `jq` does this properly.
get() { grep -o "\"$1\":\"[^\"]*\"" | sed -n '1s/.*":"\(.*\)"/\1/p'; }
# ---

# register NAME: prints the access token of a new customer.
# --- register
register() {
  local email=$1-$run@example.org password='a few uncommon words, pickled'
  ask '' 'mutation Register($input: UserRegisterInput!) {
      userRegister(input: $input) { user { id } userErrors { code message field } } }' \
    "{\"input\": {\"email\": \"$email\", \"password\": \"$password\", \"displayName\": \"$1\",
      \"idempotencyKey\": \"register-$1-$run\"}}" >&2
  log_in "$email" "$password"
}

log_in() {
  ask '' 'mutation LogIn($input: LoginInput!) {
      login(input: $input) { tokens { accessToken refreshToken expiresAt } userErrors { code } } }' \
    "{\"input\": {\"email\": \"$1\", \"password\": \"$2\"}}" | get accessToken
}

# The bank opens the first account soon after the registration.
first_account() {
  local account
  until account=$(ask "$1" '{ accounts(first: 1) { nodes { id } } }' | get id) && [ -n "$account" ]; do sleep 0.2; done
  printf '%s' "$account"
}

ana=$(register ana) ben=$(register ben)
from=$(first_account "$ana") to=$(first_account "$ben")
# ---

# --- deposit
operator=$(log_in "$VOSTRO_OPERATOR" "$VOSTRO_STAFF_PASSWORD")
ask "$operator" 'mutation Deposit($input: DepositRecordInput!) {
    depositRecord(input: $input) { transaction { status } userErrors { code message } } }' \
  "{\"input\": {\"idempotencyKey\": \"deposit-$run\", \"accountId\": \"$from\", \"waitFor\": \"COMPLETED\",
    \"amount\": {\"amount\": \"100.00\", \"currency\": \"EUR\"}}}"
# ---

# --- pay
pay() {
  ask "$ana" 'mutation Pay($input: TransferCreateInput!) {
      transferCreate(input: $input) { transaction { id status } replayed userErrors { code message field } } }' \
    "{\"input\": {\"idempotencyKey\": \"rent-$run\", \"sourceAccountId\": \"$from\", \"destinationAccountId\": \"$to\",
      \"amount\": {\"amount\": \"$1\", \"currency\": \"EUR\"}, \"reference\": \"Rent for May\"}}"
}

payment=$(pay 42.00 | get id)
pay 42.00 | grep '"replayed":true'                      # the same command: the same payment, once
pay 43.00 | grep '"code":"IDEMPOTENCY_KEY_REUSED"'      # another command under its key
# ---

# --- subscribe
document='subscription Fate($id: ID!) { transactionUpdated(transactionId: $id) { sequence transaction { status } } }'
curl -sSN "$VOSTRO_URL" -H 'content-type: application/json' -H 'accept: text/event-stream' \
  -H "authorization: Bearer $ana" -d "{\"query\": \"$document\", \"variables\": {\"id\": \"$payment\"}}" |
  grep --line-buffered '^data: {'
# ---

# --- audit
officer=$(log_in "$VOSTRO_OFFICER" "$VOSTRO_STAFF_PASSWORD")
trail() {
  ask "$officer" 'query Trail($id: ID!) {
      auditTrail(aggregateId: $id) { position type actorId outcome occurredAt hash } }' "{\"id\": \"$payment\"}"
}
until trail | grep '"type":"transaction.completed.v1"'; do sleep 0.2; done
ask "$officer" '{ auditVerification { ok checked headHash } }' | grep '"ok":true'
# ---

manifest=$(dirname "$0")/../clients/typescript/src/generated/customer.json
# --- ids
# id_of NAME: the id of an operation in a manifest.
id_of() { sed -n "s/^ *\"\(sha256:[0-9a-f]*\)\": \"[a-z]* $1[ (].*/\1/p" "$manifest"; }

# ask_by_id TOKEN ID [VARIABLES]: the answer as JSON.
ask_by_id() {
  curl -sS --fail-with-body "$VOSTRO_URL" -H 'content-type: application/json' ${1:+-H "authorization: Bearer $1"} \
    -d "{\"documentId\": \"$2\", \"variables\": ${3:-null}}"
}

ask_by_id "$ana" "$(id_of Me)" | grep '"displayName":"ana"'
ask_by_id "$ana" sha256:0000 | grep '"code":"PERSISTED_DOCUMENT_NOT_FOUND"'
curl -sSN "$VOSTRO_URL" -H 'content-type: application/json' -H 'accept: text/event-stream' -H "authorization: Bearer $ana" \
  -d "{\"documentId\": \"$(id_of TransactionUpdated)\", \"variables\": {\"transactionId\": \"$payment\"}}" |
  grep --line-buffered '^data: {'
# ---
