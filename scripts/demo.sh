#!/usr/bin/env bash
# Plays a banking day from nothing: installs what is missing, starts private servers, builds and starts the bank,
# drives it through its public API, prints the report and stops everything. Exit status 0 means that all proofs hold.
#
# Usage: scripts/demo.sh [OPTION...]      options of `vostro demo`, for example --data ../shared/data/berka --seed 7
#
# Every run begins with an empty bank, on a stack of its own in .local/demo with ports from PORT_BASE+1000, so it
# disturbs neither a running bank nor an earlier result; the data stay there until the next run.
# PROFILE=dev uses the quicker build.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

case ${1:-} in -h | --help) print_help "$0"; exit ;; esac

"$ROOT/scripts/install.sh"
build_bank
own_stack demo
open_bank
"$(bank_program)" demo "$@"
