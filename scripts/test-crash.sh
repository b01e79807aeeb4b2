#!/usr/bin/env bash
# Crashes the bank wherever it can crash, under load, and proves that nothing was lost and nothing doubled.
#
# Usage: scripts/test-crash.sh [SEEDS [FIRST]]
#
# Each seed (default: 100 of them, from 0) is a bank of its own on the real servers. It is ended at a third of all crash
# points, in an order of its own, while people use it; then everything has to add up. A line per seed says how it went; one
# that fails names the command that repeats it. The servers live in .local/crash with ports from PORT_BASE+4500 and are
# stopped at the end. The ordinary `make test` plays three seeds, which deal every blow.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

case ${1:-} in -h | --help) print_help "$0"; exit ;; esac
export VOSTRO_CRASH_SEEDS=${1:-100} VOSTRO_CRASH_FIRST_SEED=${2:-0}
case $VOSTRO_CRASH_SEEDS$VOSTRO_CRASH_FIRST_SEED in *[!0-9]*) die 'SEEDS and FIRST are numbers' ;; esac
[ -n "${VOSTRO_CRASH_SIDE_BY_SIDE:-}" ] || VOSTRO_CRASH_SIDE_BY_SIDE=$(nproc)
export VOSTRO_CRASH_SIDE_BY_SIDE

run_proof crash crash::wherever_the_bank_crashes_nothing_is_lost_and_nothing_is_doubled
