#!/usr/bin/env bash
# Measures the bank on this machine beside a yardstick, on an empty stack of its own.
#
# Usage: scripts/bench.sh [OPTION...]     options of `vostro bench transfers`, for example --clients 64 --hot-account
#
# The stack lives in .local/bench with ports from PORT_BASE+3000. Nothing else should run on the machine meanwhile.

# shellcheck source=scripts/lib.sh
. "/work/main/scripts/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

case ${1:-} in -h | --help) print_help "$0"; exit ;; esac

"$ROOT/scripts/install.sh"

own_stack bench
open_bank
"$(bank_program)" bench transfers "$@"
