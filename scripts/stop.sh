#!/usr/bin/env bash
# Stops the bank and every private PostgreSQL and RabbitMQ of this project: those of run, demo, test, bench and gen.
#
# Usage: scripts/stop.sh [--clean]
#
#   --clean   also delete their data, logs and secrets

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

case ${1:-} in
  '') verb=down ;;
  --clean) verb=clean ;;
  -h | --help) print_help "$0"; exit ;;
  *) print_help "$0" >&2; exit 2 ;;
esac

for name in "${STACKS[@]}"; do
  (
    use_stack "$name"
    [ -d "$VOSTRO_LOCAL/run" ] || exit 0
    stop_bank
    "$ROOT/scripts/stack.sh" "$verb"
    [ "$verb" != clean ] || rm -f "$VOSTRO_LOCAL.lock"
  )
done
[ "$verb" != clean ] || rmdir "$VOSTRO_LOCAL" 2>/dev/null || true
