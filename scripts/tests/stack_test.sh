#!/usr/bin/env bash
# What scripts/stack.sh promises, on real servers in a folder of its own.
#
# Usage: scripts/tests/stack_test.sh      ports from PORT_BASE+50, beside the tests' own servers

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=scripts/tests/lib.sh
. "$ROOT/scripts/tests/lib.sh"

case ${1:-} in -h | --help) print_help "$0"; exit ;; esac

stack() { "$ROOT/scripts/stack.sh" "$@"; }
# another COMMAND...: a stack beside the first.
another() { VOSTRO_LOCAL=$VOSTRO_LOCAL/another PORT_BASE=$((PORT_BASE + 50)) stack "$@"; }
sql() {
  # shellcheck source=/dev/null
  . "$VOSTRO_LOCAL/secrets"
  PGPASSWORD=$OWNER_PASSWORD "$PG_BIN/psql" -XAtq -h 127.0.0.1 -p $((PORT_BASE + 432)) -U vostro_owner -d vostro -c "$1"
}

PORT_BASE=$((PORT_BASE + 50)) VOSTRO_LOCAL=$VOSTRO_LOCAL/stack-test
export PORT_BASE VOSTRO_LOCAL
# shellcheck source=scripts/lib/postgresql.sh
. "$ROOT/scripts/lib/postgresql.sh"
find_postgresql
clean_up() {
  another clean
  stack clean
} >/dev/null 2>&1
trap clean_up EXIT
clean_up

starts_from_nothing() {
  run stack up
  expect 'both servers start' succeeded
  run stack status
  expect 'status finds both running' succeeded
  run sql 'create table kept (); show fsync'
  expect 'the owner can work, and commits are durable' says on
  run stat -c %a "$VOSTRO_LOCAL/secrets"
  expect 'only the owner can read the passwords' says 600
}

starts_again_at_once() {
  local started=$SECONDS
  run stack up
  expect 'a second start finds everything there' succeeded
  expect 'within two seconds' [ $((SECONDS - started)) -le 2 ]
}

survives_kill_9() {
  run stack kill9 postgresql
  expect 'PostgreSQL can be killed' succeeded
  run stack kill9 rabbitmq
  expect 'RabbitMQ can be killed' succeeded
  run stack status
  expect 'status notices' failed
  run stack up
  expect 'both come back' succeeded
  run sql "select 'still ' || count(*) from pg_tables where tablename = 'kept'"
  expect 'with their data' says 'still 1'
}

# On the other stack's ports, so that nothing of the first is asked to stop.
names_a_port_in_use() {
  run env VOSTRO_LOCAL="$VOSTRO_LOCAL/another" "$ROOT/scripts/stack.sh" up
  expect 'a second stack on the same ports is refused' failed
  expect 'naming the port' says "port $((PORT_BASE + 672))"
  expect 'and the way out' says 'PORT_BASE='
  run stack status
  expect 'and the first one runs on' succeeded
}

# A pid file that names a stranger, as after a reboot.
spares_strangers() {
  local file=$VOSTRO_LOCAL/run/postgresql.pid kept
  kept=$(cat "$file")
  sleep 300 &
  printf '%s 1\n' $! >"$file"
  run stack down postgresql
  expect 'a stranger with the old number lives' kill -0 $!
  kill $!
  printf '%s\n' "$kept" >"$file"
}

finds_its_server_again() {
  rm "$VOSTRO_LOCAL/run/postgresql.pid"
  run stack up postgresql
  expect 'a lost pid file is written again' succeeded
  run stack status
  expect 'for the server that runs' succeeded
}

redoes_a_half_finished_setup() {
  mkdir -p "$VOSTRO_LOCAL/another/pg/data/base"
  run another up postgresql
  expect 'a data folder that was not finished is made again' succeeded
  expect 'and that is said' says 'did not finish'
  run another clean
  expect 'a stack can be deleted' succeeded
  expect 'completely' [ ! -e "$VOSTRO_LOCAL/another" ]
}

misses_its_secrets() {
  mv "$VOSTRO_LOCAL/secrets" "$VOSTRO_LOCAL/kept"
  run stack up
  expect 'data without their passwords are not touched' failed
  expect 'and the way out is named' says 'stack.sh clean'
  mv "$VOSTRO_LOCAL/kept" "$VOSTRO_LOCAL/secrets"
}

refuses_what_cannot_work() {
  run env PORT_BASE=32500 "$ROOT/scripts/stack.sh" status
  expect 'ports the kernel hands out are refused' failed
  expect 'with the reason' says 'outgoing connections'
  run env VOSTRO_LOCAL="$VOSTRO_LOCAL/a b" "$ROOT/scripts/stack.sh" up
  expect 'a space in the folder is refused' says 'space'
  run stack up redis
  expect 'an unknown service is refused' says 'postgresql and rabbitmq'
}

stops() {
  run stack down
  expect 'both stop' succeeded
  run stack status
  expect 'and are gone' failed
  expect 'from their ports too' not port_open $((PORT_BASE + 672))
}

starts_from_nothing
starts_again_at_once
survives_kill_9
names_a_port_in_use
spares_strangers
finds_its_server_again
redoes_a_half_finished_setup
misses_its_secrets
refuses_what_cannot_work
stops
[ "$BROKEN" = 0 ]
