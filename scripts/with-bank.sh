#!/usr/bin/env bash
# Runs a command that needs a bank to talk to: tests of clients and pages, or your own.
#
# Usage: scripts/with-bank.sh COMMAND [ARGUMENT...]
#
# The bank runs on the stack that PORT_BASE and VOSTRO_LOCAL name (that of `make run` by default) and is stopped with
# the command; one that runs there already is used and goes on. The command finds in its environment
#
#   VOSTRO_URL                            where the API is
#   VOSTRO_OPERATOR, VOSTRO_OFFICER       e-mail addresses of an operator and a compliance officer
#   VOSTRO_STAFF_PASSWORD                 their password

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

# hire ROLE ADDRESS
hire() {
  printf '%s\n' "$STAFF_PASSWORD" | "$(bank_program)" staff add --email "$2" --name "$2" --role "$1" >/dev/null
}

case ${1:-} in
  '' | -*) print_help "$0" >&2; exit 2 ;;
esac
set_ports
build_bank
settings=$("$ROOT/scripts/stack.sh" up && "$ROOT/scripts/stack.sh" env)
eval "$settings"
if ! alive bank; then
  trap stop_bank EXIT
  trap 'exit 130' INT TERM
  open_bank
  start_bank
fi
add_missing_secrets "$VOSTRO_LOCAL/secrets" STAFF_PASSWORD
# shellcheck source=/dev/null
. "$VOSTRO_LOCAL/secrets"
export VOSTRO_URL=http://127.0.0.1:$HTTP_PORT/graphql VOSTRO_STAFF_PASSWORD=$STAFF_PASSWORD
export VOSTRO_OPERATOR=operator@bank.example VOSTRO_OFFICER=officer@bank.example
hire OPERATOR "$VOSTRO_OPERATOR"
hire COMPLIANCE_OFFICER "$VOSTRO_OFFICER"
"$@" 8>&- 9>&-
