#!/usr/bin/env bash
# Measures the bank on this machine beside a yardstick, on an empty stack of its own.
#
# Usage: scripts/bench.sh [transfers|messaging|graphql] [OPTION...]     transfers unless said otherwise; options of `vostro
#                                                                       bench`, for example transfers --hot-account
#
# The stack lives in .local/bench with ports from PORT_BASE+3000. Nothing else should run on the machine meanwhile.

# shellcheck disable=SC2034 # read by lib/bank.sh
PROFILE=${PROFILE:-dist}
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

what=transfers
case ${1:-} in
  -h | --help) print_help "$0"; exit ;;
  transfers | messaging | graphql) what=$1; shift ;;
esac

"$ROOT/scripts/install.sh"
build_bank
own_stack bench
open_bank
# Ten thousand subscribers are as many open files, here and in the bank.
ulimit -n "$(ulimit -Hn)"
"$(bank_program)" bench "$what" "$@"
