#!/usr/bin/env bash
# Writes the passwords and keys that docker-compose.yml wants into .env: random, readable by you only, never in git.
#
# Usage: scripts/compose-env.sh [--print]
#
#   --print   print a fresh set instead of writing it
#
# The names are those of .env.example. An existing .env stays as it is; names that it lacks are added.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mapfile -t NAMES < <(sed -n 's/^\([A-Z_]*\)=.*/\1/p' "$ROOT/.env.example")

case ${1:-} in
  --print)
    for name in "${NAMES[@]}"; do printf '%s=%s\n' "$name" "$(random_secret)"; done
    exit
    ;;
  '') ;;
  -h | --help) print_help "$0"; exit ;;
  *) print_help "$0" >&2; exit 2 ;;
esac

add_missing_secrets "$ROOT/.env" "${NAMES[@]}"
say "$ROOT/.env is complete"
