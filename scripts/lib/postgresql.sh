# shellcheck shell=bash
# PostgreSQL of the private stack: find it, initialise it, start it, stop it. Sourced by stack.sh after lib.sh.

PG_DIR=$VOSTRO_LOCAL/pg
PG_DATA=$PG_DIR/data
PG_READY=$PG_DIR/initialised # written last: without it an earlier set-up died half-way and is redone
PG_MINIMUM=15
PG_BIN=
PG_PRIMARY_PORT=$((${VOSTRO_JOIN_PORT_BASE:-0} + 432))
PG_AS=() # how to become the account the server runs as

# find_postgresql: sets PG_BIN to the newest installation that is new enough; status 1 when there is none.
find_postgresql() {
  local dir version
  for dir in ${VOSTRO_PG_BIN:+"$VOSTRO_PG_BIN"} \
    $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV) \
    "$(dirname "$(command -v postgres || echo /nonexistent/postgres)")"; do
    if [ ! -x "$dir/postgres" ] || [ ! -x "$dir/initdb" ] || [ ! -x "$dir/psql" ]; then continue; fi
    version=$("$dir/postgres" --version | sed -n 's/^[^0-9]*\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge $PG_MINIMUM ] || continue
    PG_BIN=$dir
    return 0
  done
  return 1
}

# PostgreSQL refuses to run as root: use its own account, or "nobody". When that account cannot reach the folder (a
# clone under /root), its data alone are kept under /var/lib.
pg_choose_account() {
  [ "$(id -u)" = 0 ] || return 0
  local account
  account=$(id -un postgres 2>/dev/null || echo nobody)
  PG_AS=(setpriv "--reuid=$account" "--regid=$(id -g "$account")" --clear-groups)
  "${PG_AS[@]}" test -x "$VOSTRO_LOCAL" || PG_DIR=/var/lib/vostro/$(printf '%s' "$VOSTRO_LOCAL" | cksum | tr -d ' ')
  PG_DATA=$PG_DIR/data PG_READY=$PG_DIR/initialised
}

# The server's account owns its files, whoever made them.
pg_give_files() { [ "$(id -u)" != 0 ] || chown -R "$("${PG_AS[@]}" id -u)" "$PG_DIR"; }

# Runs a PostgreSQL program without the caller's PG* variables; host, port and password are given here.
pg_run() {
  local program=$1
  shift
  env -i PATH="$PATH" LC_ALL=C.UTF-8 PGCONNECT_TIMEOUT=5 PGPASSWORD="$POSTGRES_PASSWORD" \
    VOSTRO_OWNER_PASSWORD="$OWNER_PASSWORD" "$PG_BIN/$program" -h 127.0.0.1 -p "$PG_PORT" -U postgres "$@"
}
pg_sql() { pg_run psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

pg_initialise() {
  [ ! -e "$PG_READY" ] || return 0
  if [ -e "$PG_DATA" ]; then
    say 'postgresql: an earlier set-up did not finish; starting over'
    rm -rf "$PG_DATA"
  fi
  if [ -n "${VOSTRO_JOIN:-}" ]; then
    pg_copy_primary
    return 0
  fi
  say "postgresql: creating the data folder $PG_DATA"
  # A real file, because the account initdb runs as cannot read a pipe that root opened.
  (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >"$PG_DIR/password")
  pg_give_files
  "${PG_AS[@]}" env -i PATH="$PATH" LC_ALL=C.UTF-8 "$PG_BIN/initdb" -D "$PG_DATA" -U postgres -A scram-sha-256 \
    --pwfile="$PG_DIR/password" -E UTF8 --locale=C.UTF-8 --data-checksums >"$VOSTRO_LOCAL/log/initdb.log" 2>&1 ||
    die 'initdb failed' "see $VOSTRO_LOCAL/log/initdb.log" "$(tail -n 1 "$VOSTRO_LOCAL/log/initdb.log")"
  rm -f "$PG_DIR/password"
  printf "include '%s'\n" "$PG_DIR/vostro.conf" >>"$PG_DATA/postgresql.conf"
}

# pg_copy_primary: the data folder as a copy of another stack's, which it follows from then on.
pg_copy_primary() {
  say "postgresql: copying the server on port $PG_PRIMARY_PORT to $PG_DATA"
  pg_give_files
  "${PG_AS[@]}" env -i PATH="$PATH" LC_ALL=C.UTF-8 PGPASSWORD="$POSTGRES_PASSWORD" "$PG_BIN/pg_basebackup" \
    -h 127.0.0.1 -p "$PG_PRIMARY_PORT" -U postgres -D "$PG_DATA" -R -X stream -c fast \
    >"$VOSTRO_LOCAL/log/basebackup.log" 2>&1 ||
    die 'pg_basebackup failed' "see $VOSTRO_LOCAL/log/basebackup.log" "$(tail -n 1 "$VOSTRO_LOCAL/log/basebackup.log")"
  sed -i "s#^include '.*'#include '$PG_DIR/vostro.conf'#" "$PG_DATA/postgresql.conf"
}

# pg_finish_set_up: what is done once, when the server answers for the first time.
pg_finish_set_up() {
  [ ! -e "$PG_READY" ] || return 0
  if [ -n "${VOSTRO_JOIN:-}" ]; then
    # From now on a commit is one when it is on both disks.
    pg_sql -p "$PG_PRIMARY_PORT" -d postgres -c "alter system set synchronous_standby_names = '*'" \
      -c 'select pg_reload_conf()' >/dev/null
  else
    pg_sql -d postgres -f "$ROOT/scripts/database.sql" >/dev/null
  fi
  touch "$PG_READY"
}

# Every process of a server works in its data folder; after a kill -9 of the parent its children live a moment longer.
pg_processes() {
  local link
  for link in /proc/[0-9]*/cwd; do
    [ "$(readlink "$link" 2>/dev/null)" != "$PG_DATA" ] || printf '%s\n' "${link//[!0-9]/}"
  done
}
pg_unused() { [ -z "$(pg_processes)" ]; }

# Two servers on one data folder would destroy it, so a new one starts only when nothing of an old one is left.
# Then the old lock file may go: it names a pid that anything may have by now, and PostgreSQL would refuse to start.
pg_clear_leftovers() {
  local pid
  if pid=$(head -n 1 "$PG_DATA/postmaster.pid" 2>/dev/null) && [ "$(readlink "/proc/$pid/cwd")" = "$PG_DATA" ]; then
    record_pid postgresql "$pid" # our own server, whose pid file was lost
    return 0
  fi
  if ! wait_until 10 pg_unused; then
    pg_processes | xargs -r kill -QUIT 2>/dev/null || true
    wait_until 10 pg_unused ||
      die "processes of an earlier PostgreSQL still use $PG_DATA: $(pg_processes | xargs)" 'end them'
  fi
  rm -f "$PG_DATA/postmaster.pid"
}

pg_launch() {
  cp "$ROOT/scripts/postgresql.conf" "$PG_DIR/vostro.conf"
  chmod 644 "$PG_DIR/vostro.conf"
  pg_give_files
  # No socket file: a deep folder would exceed the length such a path may have.
  spawn postgresql "${PG_AS[@]}" env -i PATH="$PATH" LC_ALL=C.UTF-8 "$PG_BIN/postgres" -D "$PG_DATA" \
    -c "port=$PG_PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c "cluster_name=vostro-$PORT_BASE"
}

# pg_check: what would keep it from starting, before anything is started.
pg_check() {
  alive postgresql || pg_clear_leftovers
  alive postgresql || require_free_port "$PG_PORT" PostgreSQL
}

pg_start() {
  if alive postgresql; then return 0; fi
  mkdir -p "$PG_DIR"
  chmod 711 "$PG_DIR"
  pg_initialise
  pg_launch
}

pg_accepts_or_gone() { pg_run pg_isready -q || ! alive postgresql; }

pg_wait() {
  local log=$VOSTRO_LOCAL/log/postgresql.log answer
  wait_until 60 pg_accepts_or_gone || die 'PostgreSQL is not ready after 60 s' "see $log"
  alive postgresql || die 'PostgreSQL is not running' "see $log" "$(tail -n 2 "$log" 2>/dev/null)"
  if ! answer=$(pg_sql -d postgres -c 'select 1' 2>&1); then
    case $answer in
      *'password authentication failed'*) die 'PostgreSQL does not know the password in the secrets file' \
        "the data in $PG_DIR belong to other secrets; 'scripts/stack.sh clean' starts afresh (and deletes them)" ;;
      *) die "PostgreSQL does not answer: $answer" "see $log" ;;
    esac
  fi
  pg_finish_set_up
  say "postgresql: ready on port $PG_PORT"
}

# SIGINT is "fast": open transactions are rolled back, everything is flushed.
pg_stop() { stop_service postgresql INT 60; }
