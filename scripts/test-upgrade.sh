#!/usr/bin/env bash
# Replaces a bank of an earlier release by this one, instance by instance, under load, and proves that nothing was lost.
#
# Usage: scripts/test-upgrade.sh COMMIT      builds the bank of that commit first (some minutes), in .local/upgrade
#        scripts/test-upgrade.sh PROGRAM     a bank's program that was built before
#
# The servers live in .local/upgrade with ports from PORT_BASE+4600 and are stopped at the end.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"

# build_earlier COMMIT: prints the program
build_earlier() {
  local commit folder=$ROOT/.local/upgrade-build
  commit=$(git -C "$ROOT" rev-parse --verify --quiet "$1^{commit}") ||
    die "$1 is neither a program nor a commit" 'name a commit of an earlier release, or the path of its program'
  rm -rf "$folder/source"
  mkdir -p "$folder/source"
  git -C "$ROOT" archive "$commit" | tar -x -C "$folder/source"
  say "building the bank of $commit (the first time takes some minutes)" >&2
  (cd "$folder/source" && env -u DATABASE_URL SQLX_OFFLINE=true CARGO_TARGET_DIR="$folder/target" \
    cargo build --locked --bin vostro) >&2 || die "the bank of $commit does not build" 'the compiler says why, above'
  printf '%s' "$folder/target/debug/vostro"
}

case ${1:-} in
  -h | --help) print_help "$0"; exit ;;
  '') die 'which release is to be replaced?' 'make test-upgrade FROM=<commit or program>' ;;
esac
need_rust
if [ -f "$1" ] && [ -x "$1" ]; then
  VOSTRO_EARLIER_PROGRAM=$(realpath "$1")
else
  VOSTRO_EARLIER_PROGRAM=$(build_earlier "$1")
fi
export VOSTRO_EARLIER_PROGRAM
run_proof upgrade failure::upgrade::a_release_takes_the_place_of_an_earlier_one_under_load
