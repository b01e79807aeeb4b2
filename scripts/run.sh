#!/usr/bin/env bash
# Keeps the bank serving on its private PostgreSQL and RabbitMQ and says where everything is.
#
# Usage: scripts/run.sh [--detach]
#
#   (nothing)   serve until Ctrl-C, which lets the bank finish its work; the servers stay up for a quick next start
#   --detach    return as soon as the bank is ready
#
# scripts/stop.sh stops what is left running. Data stay in .local between runs. PROFILE=dev uses the quicker build;
# PORT_BASE moves all ports.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

print_addresses() {
  local bank=http://127.0.0.1:$HTTP_PORT
  cat <<ADDRESSES

The bank is open.
  GraphiQL              $bank/graphiql
  GraphQL               $bank/graphql
  health                $bank/health
  metrics               $bank/metrics
  RabbitMQ's dashboard  http://127.0.0.1:$MGMT_PORT   user vostro, password: BROKER_PASSWORD in $VOSTRO_LOCAL/secrets
  log                   $VOSTRO_LOCAL/log/bank.log
Settings for vostro's other commands: eval "\$(scripts/stack.sh env)"
ADDRESSES
}

serve_until_told() {
  trap 'stop_bank; exit 0' INT TERM HUP
  say 'Ctrl-C stops the bank.'
  while alive bank; do
    sleep 1 &
    wait $! || true # a signal ends the wait at once, not the sleep
  done
  die 'the bank has ended by itself' "see $VOSTRO_LOCAL/log/bank.log" "$(tail -n 3 "$VOSTRO_LOCAL/log/bank.log")"
}

set_ports
case ${1:-} in
  '' | --detach) ;;
  -h | --help) print_help "$0"; exit ;;
  *) print_help "$0" >&2; exit 2 ;;
esac
"$ROOT/scripts/install.sh"
build_bank
if alive bank; then
  say 'the bank is running already'
else
  open_bank
  start_bank
fi
print_addresses
[ "${1:-}" = --detach ] || serve_until_told
