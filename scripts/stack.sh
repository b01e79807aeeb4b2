#!/usr/bin/env bash
# The bank's private PostgreSQL and RabbitMQ: own folders, own ports, own accounts.
#
# Usage: scripts/stack.sh COMMAND [SERVICE]          SERVICE is postgresql or rabbitmq; without one, both
#
#   up [SERVICE]        start what is not running and wait until it answers
#   down [SERVICE]      stop cleanly
#   restart [SERVICE]   stop cleanly if it runs, start, wait
#   wait [SERVICE]      wait until it answers
#   kill9 SERVICE       end it without warning, as a power cut would
#   ctl ARGS...         rabbitmqctl on this stack's broker
#   promote             make this standby the server that commits
#   status              what runs where; status 1 unless everything runs
#   env                 shell lines that point the bank and its tests at this stack: eval "$(scripts/stack.sh env)"
#   clean               stop and delete this stack's data, logs and secrets
#
# Everything lives under VOSTRO_LOCAL (default .local in the project); ports start at PORT_BASE (default 21000).
# With different values of both, stacks run side by side. No server, account or file outside that folder is touched,
# and no process is stopped that this script did not start. Works as root and as an ordinary user.
# With VOSTRO_JOIN=<VOSTRO_LOCAL of another stack> and VOSTRO_JOIN_PORT_BASE=<its PORT_BASE> in the environment of every call,
# this stack's broker is one more node of the other's, and this PostgreSQL a standby without which the other commits nothing,
# until `promote`.
# With VOSTRO_TLS=<a folder with ca.pem, certificate.pem and key.pem> the broker speaks TLS too, and asks its clients for
# certificates of that authority; `env` then points there.
# VOSTRO_PG_BIN and VOSTRO_RABBITMQ_HOME name installations that are not where distributions put them.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/postgresql.sh
. "$ROOT/scripts/lib/postgresql.sh"
# shellcheck source=scripts/lib/rabbitmq.sh
. "$ROOT/scripts/lib/rabbitmq.sh"

# Passwords and keys are made once per stack and stay in one file that only its owner can read. What a newer release
# wants in addition is added.
load_secrets() {
  local file=$VOSTRO_LOCAL/secrets
  if [ -n "${VOSTRO_JOIN:-}" ] && [ ! -e "$file" ]; then
    (umask 077 && cp "$VOSTRO_JOIN/secrets" "$file") # a copy's users are those of the original
  fi
  if [ ! -s "$file" ] && { [ -e "$PG_READY" ] || [ -e "$RABBIT_READY" ]; }; then
    die "$file is missing, but there are data that were made with it" \
      "put it back, or start afresh with 'scripts/stack.sh clean' (which deletes the data)"
  fi
  add_missing_secrets "$file" POSTGRES_PASSWORD OWNER_PASSWORD BROKER_PASSWORD BROKER_MODULE_SECRET MODULE_SECRET \
    AUTH_SECRET CONTACT_SECRET
  # shellcheck source=/dev/null
  . "$file"
}

# locate: where this stack is; takes the lock. Enough to stop and delete it.
locate() {
  set_ports
  case $VOSTRO_LOCAL in *[[:space:]]*)
    die "the folder '$VOSTRO_LOCAL' has a space in its name, which RabbitMQ's scripts cannot cope with" \
      'keep the data elsewhere: VOSTRO_LOCAL=/var/tmp/vostro' ;;
  esac
  if ! mkdir -p "$VOSTRO_LOCAL"/{run,log} 2>/dev/null || [ ! -w "$VOSTRO_LOCAL/run" ]; then
    die "$(id -un) cannot write in $VOSTRO_LOCAL" \
      'use the account that created it, or another folder: VOSTRO_LOCAL=/var/tmp/vostro'
  fi
  chmod 711 "$VOSTRO_LOCAL" # the database's account must pass through, but not look
  pg_choose_account
  # One change at a time; the servers do not inherit the lock (see spawn).
  exec 9>"$VOSTRO_LOCAL/run/lock"
  flock -w 300 9 || die "another scripts/stack.sh has held $VOSTRO_LOCAL for 5 minutes" 'wait for it, or end it'
}

# prepare: everything that starting and using it needs.
prepare() {
  locate
  find_postgresql || die "PostgreSQL $PG_MINIMUM or newer is not installed" "run 'scripts/install.sh'"
  find_rabbitmq || die 'RabbitMQ is not installed' "run 'scripts/install.sh'"
  load_secrets
}

# each VERB [SERVICE]: one service or both. RabbitMQ first: it takes longest to start, and PostgreSQL starts meanwhile.
each() {
  case ${2:-} in
    '') "rabbit_$1"; "pg_$1" ;;
    rabbitmq) "rabbit_$1" ;;
    postgresql) "pg_$1" ;;
    *) die "no service is called '$2'" 'the services are postgresql and rabbitmq' ;;
  esac
}

kill_hard() {
  local pid
  [ -n "${1:-}" ] || die 'kill9 needs a service' 'postgresql or rabbitmq'
  pid=$(pid_of "$1") || die "$1 is not running"
  kill -KILL "$pid"
  wait_until 10 not exists "$pid" || die "$1 (process $pid) does not go away"
  rm -f "$(pid_file "$1")"
  say "$1: killed (process $pid)"
}

status() {
  local service pid missing=0
  printf 'folder %s\n' "$VOSTRO_LOCAL"
  for service in "postgresql $PG_PORT" "rabbitmq $AMQP_PORT" "bank $HTTP_PORT"; do
    if pid=$(pid_of "${service% *}"); then
      printf '%-11s running, process %s, port %s\n' "${service% *}" "$pid" "${service#* }"
    else
      printf '%-11s not running\n' "${service% *}"
      [ "${service% *}" = bank ] || missing=1
    fi
  done
  return $missing
}

# The stack is for development, on this machine only: a bank on it shows GraphiQL, which it does not by itself.
print_env() {
  local database=postgres://vostro_owner:$OWNER_PASSWORD@127.0.0.1:$PG_PORT/vostro
  local amqp=amqp://vostro:$BROKER_PASSWORD@127.0.0.1:$AMQP_PORT
  local management=http://vostro:$BROKER_PASSWORD@127.0.0.1:$MGMT_PORT
  if [ -n "${VOSTRO_TLS:-}" ]; then
    amqp=amqps://vostro:$BROKER_PASSWORD@localhost:$AMQPS_PORT
    management=https://vostro:$BROKER_PASSWORD@localhost:$MGMT_TLS_PORT
  fi
  cat <<ENV
export VOSTRO__DATABASE__URL=$database
export VOSTRO__DATABASE__MODULE_SECRET=$MODULE_SECRET
export VOSTRO__BROKER__URL=$amqp/vostro
export VOSTRO__BROKER__MANAGEMENT_URL=$management
export VOSTRO__BROKER__MODULE_SECRET=$BROKER_MODULE_SECRET
export VOSTRO__AUTH__SECRET=$AUTH_SECRET
export VOSTRO__AUTH__CONTACT_SECRET=$CONTACT_SECRET
export VOSTRO__NOTIFICATION__EMAIL__FOLDER=$VOSTRO_LOCAL/mail
export VOSTRO__HTTP__ADDRESS=127.0.0.1:$HTTP_PORT
export VOSTRO__HTTP__GRAPHIQL=true
export VOSTRO_TEST_DATABASE_URL=$database
export VOSTRO_TEST_AMQP_URL=$amqp
export VOSTRO_TEST_MANAGEMENT_URL=$management
export VOSTRO_LOCAL=$VOSTRO_LOCAL
export PORT_BASE=$PORT_BASE
ENV
}

# Nothing of it is wanted any more, so there is nothing to wait for.
clean() {
  local service
  for service in bank rabbitmq postgresql; do
    ! alive "$service" || kill_hard "$service"
  done
  wait_until 10 pg_unused || true
  each stop
  rm -rf "$PG_DIR" "$RABBIT_DIR" "$VOSTRO_LOCAL"/{log,mail,run,secrets}
  rmdir "$VOSTRO_LOCAL" "$(dirname "$PG_DIR")" 2>/dev/null || true
  say "deleted the stack in $VOSTRO_LOCAL"
}

command=${1:-}
service=${2:-}
case $command in
  up) prepare; each check "$service"; each start "$service"; each wait "$service" ;;
  down) locate; each stop "$service" ;;
  restart) prepare; each stop "$service"; each check "$service"; each start "$service"; each wait "$service" ;;
  wait) prepare; each wait "$service" ;;
  kill9) locate; kill_hard "$service" ;;
  status) set_ports; status ;;
  ctl) prepare; rabbit_tool "${@:2}" ;;
  promote) prepare; pg_sql -d postgres -c 'select pg_promote()' >/dev/null ;;
  env) prepare; print_env ;;
  clean) if [ -d "$VOSTRO_LOCAL" ]; then locate; clean; fi ;;
  -h | --help | help) print_help "$0" ;;
  *) print_help "$0" >&2; exit 2 ;;
esac
