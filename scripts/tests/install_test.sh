#!/usr/bin/env bash
# What scripts/install.sh says when it cannot do its work. Nothing is installed.
#
# Usage: scripts/tests/install_test.sh

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=scripts/tests/lib.sh
. "$ROOT/scripts/tests/lib.sh"

case ${1:-} in -h | --help) print_help "$0"; exit ;; esac

# A machine with the usual small programs and nothing else: no apt-get, no compiler, no curl.
machine=$(mktemp -d)
trap 'rm -rf "$machine"' EXIT
for program in bash env dirname id sort sed grep awk tr cat mkdir readlink; do
  ln -s "$(command -v "$program")" "$machine/$program"
done

nothing_to_do_when_all_is_there() {
  run "$ROOT/scripts/install.sh"
  expect 'nothing is missing after a set-up' succeeded
  expect 'and nothing is said' [ -z "$OUTPUT" ]
}

not_debian() {
  run env PATH="$machine" bash "$ROOT/scripts/install.sh"
  expect 'without apt-get nothing is tried' failed
  expect 'the reason is given' says 'not Debian'
  expect 'what is missing is named' says 'make'
  expect 'and the way out' says 'VOSTRO_PG_BIN'
}

unknown_tool() {
  run "$ROOT/scripts/install.sh" promtol
  expect 'a tool nobody knows is refused' failed
  expect 'with the names that are known' says 'promtool'
}

nothing_to_do_when_all_is_there
not_debian
unknown_tool
[ "$BROKEN" = 0 ]
