# shellcheck shell=bash
# For tests of scripts: run a command, say what it must do, count. Sourced after scripts/lib.sh.

BROKEN=0
OUTPUT=''
STATUS=0

# run COMMAND...: keeps OUTPUT (both streams) and STATUS.
run() {
  STATUS=0
  OUTPUT=$("$@" 2>&1) || STATUS=$?
}

# expect DESCRIPTION COMMAND...: the command must succeed.
expect() {
  if "${@:2}"; then return 0; fi
  BROKEN=$((BROKEN + 1))
  printf 'not so: %s\n' "$1" >&2
  [ -z "$OUTPUT" ] || printf '  the last command ended with status %s and said:\n%s\n' "$STATUS" "$OUTPUT" >&2
}

succeeded() { [ "$STATUS" = 0 ]; }
failed() { [ "$STATUS" != 0 ]; }
says() { case $OUTPUT in *"$1"*) ;; *) return 1 ;; esac }
