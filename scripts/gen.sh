#!/usr/bin/env bash
# Makes again everything in the project that is generated and committed:
#
#   .sqlx                      what the database says about each query, so that building needs no database
#   schema/sdl                 the modules' GraphQL schemas, and the supergraph composed from them (needs Node)
#   events/schemas             the JSON Schema of each event version
#   rabbitmq/definitions.json  the broker's topology
#   docs/asyncapi              the AsyncAPI document of each module
#   docs/events.md             the map of events
#   docs/errors.md             every error code
#   docs/graphql-api.md        the reference of the API
#   clients/typescript/src/generated
#                              the client's operations with their types, and their manifests (needs Node; its own test
#                              compares them)
#
# Usage: scripts/gen.sh [--check]
#
#   --check   change nothing; status 1 when a file would change
#
# The queries are checked against an empty migrated database in .local/gen, with ports from PORT_BASE+4000.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PROFILE=dev
# shellcheck source=scripts/lib/bank.sh
. "$ROOT/scripts/lib/bank.sh"
# shellcheck source=scripts/lib/postgresql.sh
. "$ROOT/scripts/lib/postgresql.sh"

GENERATED=(
  .sqlx schema/sdl events/schemas rabbitmq/definitions.json
  docs/asyncapi docs/events.md docs/errors.md docs/graphql-api.md
)

# owner_sql ARGUMENT...: psql as the database's owner.
owner_sql() {
  env -i PATH="$PATH" LC_ALL=C.UTF-8 PGPASSWORD="$OWNER_PASSWORD" \
    PGOPTIONS="${SEARCH_PATH:+-c search_path=$SEARCH_PATH}" \
    "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PG_PORT" -U vostro_owner -d vostro "$@"
}

# The migrations are applied here and not by `vostro migrate`, because the program does not build while the data of a
# new query are missing.
migrate_for_recording() {
  local folder module file
  for folder in migrations/*/; do
    module=$(basename "$folder")
    owner_sql -c "create role vostro_$module" -c "create schema $module"
    for file in platform/messaging/migrations/*.sql "$folder"*.sql; do
      [ ! -e "$file" ] || SEARCH_PATH=$module owner_sql -f "$file"
    done
  done
  # Code that every module shares names its tables without a schema; any module's will do to check it.
  owner_sql -c 'alter database vostro set search_path = auth'
}

record_queries() {
  say 'recording what the database says about the queries'
  "$ROOT/scripts/stack.sh" up postgresql
  # shellcheck source=/dev/null
  . "$VOSTRO_LOCAL/secrets"
  set_ports
  find_postgresql
  migrate_for_recording
  rm -rf .sqlx
  mkdir .sqlx
  # The compiler must look at each query again, also where nothing changed.
  find . -name target -prune -o -name node_modules -prune -o -name '*.rs' -print0 | xargs -0 touch
  SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$ROOT/.sqlx \
    DATABASE_URL=postgres://vostro_owner:$OWNER_PASSWORD@127.0.0.1:$PG_PORT/vostro \
    cargo check --locked --workspace --all-targets
}

write_contracts() {
  build_bank
  "$(bank_program)" schema generate --root . && return
  # The supergraph is composed of other subgraphs than these. Composing needs Node and the network, so it is done only then.
  if has npm; then
    (cd schema/compose && npm ci --silent --no-audit --no-fund && npm run --silent compose)
    "$(bank_program)" schema generate --root .
  else
    warn 'Node is not installed: the supergraph was not composed again'
  fi
}

write_client() {
  if has npm; then
    (cd clients/typescript && npm ci --silent --no-audit --no-fund && npm run --silent generate)
  else
    warn 'Node is not installed: the TypeScript client was not generated again'
  fi
}

# save FOLDER: copies of what is generated; restore FOLDER: the way back.
save() {
  local path
  for path in "${GENERATED[@]}"; do
    [ ! -e "$path" ] || { mkdir -p "$1/$(dirname "$path")" && cp -a "$path" "$1/$path"; }
  done
}
restore() {
  local path
  for path in "${GENERATED[@]}"; do
    rm -rf "$path"
    [ ! -e "$1/$path" ] || cp -a "$1/$path" "$path"
  done
}
# changes FOLDER: names the files that differ from the copies there; status 1 when there are any.
changes() {
  local path status=0
  for path in "${GENERATED[@]}"; do
    if [ ! -e "$1/$path" ] && [ ! -e "$path" ]; then continue; fi
    diff -rqN "$1/$path" "$path" | sed 's/^Files .* and \(.*\) differ$/changed: \1/' >&2 || status=1
  done
  return $status
}

case ${1:-} in
  '' | --check) ;;
  -h | --help) print_help "$0"; exit ;;
  *) print_help "$0" >&2; exit 2 ;;
esac

cd "$ROOT"
"$ROOT/scripts/install.sh"
need_rust
own_stack gen
before=$(mktemp -d)
save "$before"
if [ "${1:-}" = --check ]; then trap 'restore "$before"; rm -rf "$before"; "$ROOT/scripts/stack.sh" clean' EXIT
else trap 'rm -rf "$before"; "$ROOT/scripts/stack.sh" clean' EXIT; fi

record_queries
write_contracts
[ "${1:-}" = --check ] || write_client
if changes "$before"; then
  say 'everything that is generated is fresh'
elif [ "${1:-}" = --check ]; then
  die 'generated files are not what the code makes of them now' "run 'make gen' and commit what it changes"
fi
