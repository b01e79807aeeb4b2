#!/usr/bin/env bash
# Runs every test of the project against real servers of its own and prints how many passed and failed.
#
# Usage: scripts/test.sh [OPTION...]      options of `cargo nextest run`, for example -p vostro-account
#
# Runs the Rust tests (with cargo-nextest if it is there), the documentation's examples, and the tests of schemas,
# clients and pages (with Node and Chromium), scripts, alert rules and compose file; what cannot be run because a tool is
# missing is named. With options, only the Rust tests they select. The servers live in .local/test with ports from
# PORT_BASE+2000 and are stopped at the end.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PROFILE=${PROFILE:-dev}
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

case ${1:-} in -h | --help) print_help "$0"; exit ;; esac

PASSED=0 FAILED=0 LEFT_OUT=()

# count_rust LOG STATUS: adds what cargo's runners say about themselves. A run that failed without a failed test did
# not build, which is a failure too.
count_rust() {
  local passed failed
  read -r passed failed < <(sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
    /^ *Summary \[/ || /^test result:/ {
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^failed/ || ($i ~ /^timed/)) failed += $(i - 1)
      }
    }
    END { print passed + 0, failed + 0 }')
  if [ "$2" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
}

# rust_tests COMMAND...
rust_tests() {
  local log=$VOSTRO_LOCAL/log/tests.log status=0
  say "== $*"
  [ ! -t 2 ] || export CARGO_TERM_COLOR=always
  "$@" 2>&1 | tee "$log" || status=$?
  count_rust "$log" "$status"
}

# check NAME COMMAND...: one test that is a command.
check() {
  local name=$1
  shift
  if "$@"; then
    say "ok      $name"
    PASSED=$((PASSED + 1))
  else
    say "FAILED  $name"
    FAILED=$((FAILED + 1))
  fi
}

# leave_out NAME WHY: on a build machine, which installs what it needs, a test that cannot be run is a failed one.
leave_out() {
  if [ -z "${CI:-}" ]; then
    LEFT_OUT+=("$1: $2")
  else
    say "FAILED  $1: $2"
    FAILED=$((FAILED + 1))
  fi
}

# check_with TOOL NAME COMMAND...: the same where TOOL is there.
check_with() {
  if has "$1"; then check "${@:2}"; else leave_out "$2" "$1 is not installed"; fi
}

# check_with_node NAME COMMAND...: the same where Node is there, and new enough.
check_with_node() {
  if has_node; then check "$@"; else leave_out "$1" "Node $NODE_MINIMUM or newer, with npm, is not installed"; fi
}

# npm_tests FOLDER: those of a folder that stands alone.
npm_tests() { (cd "$1" && npm ci --silent --no-audit --no-fund && npm test --silent); }

with_bank() { PROFILE=$PROFILE scripts/with-bank.sh "$@"; }

# What people meet: the schemas, the client, the page.
people_tests() {
  say '== GraphQL for people'
  check_with_node 'GraphQL over HTTP: the audit has no error and no warning' with_bank schema/http-audit/run.sh
  check_with_node 'Relay, ESLint, Inspector and graphql-ws take the API, and no released program breaks' schema/conformance/run.sh
  check_with_node 'Hive Gateway answers over the subgraphs as the bank does' schema/hive-gateway/run.sh
  check_with_node 'both composers take the subgraphs and refuse broken ones' npm_tests schema/compose
  check_with_node 'the TypeScript client works with a bank' with_bank clients/typescript/test.sh
  check_with_node 'and by ids with one that takes registered documents only' env PROFILE="$PROFILE" clients/typescript/test-registered.sh
  if has chromium; then
    check_with_node 'GraphiQL works in a browser' with_bank tests/browser/run.sh
  else
    leave_out 'GraphiQL works in a browser' 'chromium is not installed'
  fi
}

compose_accepts() {
  local secrets status=0
  secrets=$(mktemp)
  scripts/compose-env.sh --print >"$secrets"
  docker compose --env-file "$secrets" config --quiet || status=$?
  rm -f "$secrets"
  return $status
}

other_tests() {
  local file
  say '== scripts, alert rules, compose file'
  check_with shellcheck 'scripts are clean' shellcheck -x scripts/*.sh scripts/tests/*.sh docs/*.sh clients/*/*.sh tests/*/*.sh .ci/run
  for file in scripts/tests/*_test.sh; do check "$file" "$file"; done
  check_with promtool 'Prometheus accepts its configuration' promtool check config --syntax-only monitoring/prometheus.yml
  check_with promtool 'alert rules fire when they should' promtool test rules monitoring/rules_test.yml
  if has docker && docker compose version >/dev/null 2>&1; then
    check 'docker compose accepts the compose file' compose_accepts
  else
    # Not even on a build machine: the distribution's client comes without the plugin.
    LEFT_OUT+=('docker compose accepts the compose file: no docker client with the compose plugin')
  fi
}

"$ROOT/scripts/install.sh" redis-server
need_rust
cd "$ROOT"
own_stack test
"$ROOT/scripts/stack.sh" up
settings=$("$ROOT/scripts/stack.sh" env | grep -v '^export VOSTRO__') # a test sets the bank's configuration itself
eval "$settings"
export SQLX_OFFLINE=true
unset DATABASE_URL

if cargo nextest --version >/dev/null 2>&1; then
  rust_tests cargo nextest run --locked --workspace --cargo-profile "$PROFILE" --no-fail-fast "$@"
  [ $# -gt 0 ] || rust_tests cargo test --locked --workspace --profile "$PROFILE" --no-fail-fast --doc
else
  rust_tests cargo test --locked --workspace --profile "$PROFILE" --no-fail-fast "$@"
fi
[ $# -gt 0 ] || people_tests
[ $# -gt 0 ] || other_tests

[ ${#LEFT_OUT[@]} = 0 ] || printf 'left out: %s\n' "${LEFT_OUT[@]}" >&2
printf '%s passed, %s failed\n' "$PASSED" "$FAILED"
[ "$FAILED" = 0 ]
