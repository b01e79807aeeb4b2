# shellcheck shell=bash
# Building the bank and running it on a private stack. Sourced after lib.sh.
#
# PROFILE is the Cargo profile: release (default), dev or dist. Tests use dev, so that they share their build with the
# program they start; what is shown uses release, what is measured uses what the image has, dist.

PROFILE=${PROFILE:-release}

need_rust() {
  local rustup=${HOME:-/root}/.cargo/bin
  has cargo || [ ! -x "$rustup/cargo" ] || PATH=$rustup:$PATH
  has cargo || die 'Rust is not installed' 'see https://rustup.rs, then open a new shell'
}

bank_program() {
  local folder=$PROFILE
  [ "$PROFILE" != dev ] || folder=debug
  printf '%s/%s/vostro' "${CARGO_TARGET_DIR:-$ROOT/target}" "$folder"
}

# Queries are checked against the recorded data in .sqlx, so building needs no database.
build_bank() {
  need_rust
  [ -x "$(bank_program)" ] || say "building the bank (profile $PROFILE; the first time takes some minutes)"
  (cd "$ROOT" && env -u DATABASE_URL SQLX_OFFLINE=true cargo build --locked --profile "$PROFILE" --bin vostro) ||
    die 'the bank does not build' 'the compiler says why, above'
}

# Starts the stack, points this shell at it, and brings database and broker up to this release.
open_bank() {
  local settings
  "$ROOT/scripts/stack.sh" up
  settings=$("$ROOT/scripts/stack.sh" env)
  eval "$settings"
  "$(bank_program)" migrate
  "$(bank_program)" topology apply
}

bank_is_ready() { curl -sf --max-time 2 "http://127.0.0.1:$HTTP_PORT/health/ready"; }
bank_is_ready_or_gone() { bank_is_ready || ! alive bank; }

# It knows the documents of @vostro/client by their ids, unless it is told of others.
start_bank() {
  local log=$VOSTRO_LOCAL/log/bank.log
  require_free_port "$HTTP_PORT" 'the bank'
  export VOSTRO__GRAPHQL__DOCUMENTS_FOLDER=${VOSTRO__GRAPHQL__DOCUMENTS_FOLDER:-$ROOT/clients/typescript/src/generated}
  spawn bank "$(bank_program)" serve
  wait_until 60 bank_is_ready_or_gone || die 'the bank is not ready after 60 s' "see $log" \
    "$(curl -s --max-time 5 "http://127.0.0.1:$HTTP_PORT/health/ready")"
  alive bank || die 'the bank ended while starting' "see $log" "$(tail -n 3 "$log")"
}

# SIGTERM drains: nothing new is accepted, what is in flight is finished and published.
stop_bank() { stop_service bank TERM 60; }

# run_proof STACK TEST: one test over the whole bank, on servers of its own. Crash points exist in builds with debug
# assertions only, and tests start the program they were built with.
run_proof() {
  local settings
  "$ROOT/scripts/install.sh"
  need_rust
  cd "$ROOT" || return
  own_stack "$1"
  "$ROOT/scripts/stack.sh" up
  settings=$("$ROOT/scripts/stack.sh" env | grep -v '^export VOSTRO__') # a test sets the bank's configuration itself
  eval "$settings"
  unset DATABASE_URL
  SQLX_OFFLINE=true RUST_BACKTRACE=${RUST_BACKTRACE:-0} cargo test --locked --profile dev --test proofs -- --exact --nocapture "$2"
}
