# shellcheck shell=bash
# PostgreSQL of the private stack: find it, initialise it, start it, stop it. Sourced by stack.sh after lib.sh.

PG_DIR=$VOSTRO_LOCAL/pg
PG_DATA=$PG_DIR/data
PG_READY=$PG_DIR/initialised # written last: without it an earlier set-up died half-way and is redone
PG_MINIMUM=15
PG_BIN=
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

# PostgreSQL refuses to run as root: use its own account, or "nobody". When that account cannot reach the folder
# (a clone under /root), a user namespace lets root's files be used under another number instead.
pg_choose_account() {
  PG_AS=()
  [ "$(id -u)" = 0 ] || return 0
  local account
  account=$(id -un postgres 2>/dev/null || echo nobody)
  PG_AS=(setpriv "--reuid=$account" "--regid=$(id -g "$account")" --clear-groups)
  if "${PG_AS[@]}" test -x "$PG_DIR" 2>/dev/null; then
    chown -R "$account" "$PG_DIR"
    return 0
  fi
  PG_AS=(unshare --user --map-user=65534 --map-group=65534)
  if "${PG_AS[@]}" true 2>/dev/null; then
    chown -R 0:0 "$PG_DIR"
    return 0
  fi
  die "PostgreSQL will not run as root, and the account '$account' cannot reach $VOSTRO_LOCAL" \
    'keep the data elsewhere: VOSTRO_LOCAL=/var/tmp/vostro'
}

# Runs a PostgreSQL program without the caller's PG* variables; host, port and password are given here.
pg_run() {
  local program=$1
  shift
  env -i PATH="$PATH" LC_ALL=C.UTF-8 PGCONNECT_TIMEOUT=5 PGPASSWORD="$POSTGRES_PASSWORD" \
    VOSTRO_OWNER_PASSWORD="$OWNER_PASSWORD" "$PG_BIN/$program" -h 127.0.0.1 -p "$PG_PORT" -U postgres "$@"
}
pg_sql() { pg_run psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
pg_answers() { pg_sql -d postgres -c 'select 1'; }

pg_initialise() {
  [ ! -e "$PG_READY" ] || return 0
  if [ -e "$PG_DATA" ]; then
    say 'postgresql: an earlier set-up did not finish; starting over'
    rm -rf "$PG_DATA"
  fi
  say 'postgresql: creating the data folder'
  # A real file, because the account initdb runs as cannot read a pipe that root opened.
  (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >"$PG_DIR/password")
  pg_choose_account
  "${PG_AS[@]}" env -i PATH="$PATH" LC_ALL=C.UTF-8 "$PG_BIN/initdb" -D "$PG_DATA" -U postgres -A scram-sha-256 \
    --pwfile="$PG_DIR/password" -E UTF8 --locale=C.UTF-8 --data-checksums >"$VOSTRO_LOCAL/log/initdb.log" 2>&1 ||
    die 'initdb failed' "see $VOSTRO_LOCAL/log/initdb.log" "$(tail -n 1 "$VOSTRO_LOCAL/log/initdb.log")"
  rm -f "$PG_DIR/password"
}

# A lock file left by a killed server names a pid that anything may have by now; PostgreSQL would refuse to start.
pg_drop_stale_lock() {
  local pid
  pid=$(head -n 1 "$PG_DATA/postmaster.pid" 2>/dev/null) || return 0
  if [ -n "$pid" ] && exists "$pid" && [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$PG_DATA" ]; then
    record_pid postgresql "$pid" # our own server, whose pid file was lost
  else
    rm -f "$PG_DATA/postmaster.pid"
  fi
}

pg_launch() {
  cp "$ROOT/scripts/postgresql.conf" "$PG_DIR/postgresql.conf"
  chmod 644 "$PG_DIR/postgresql.conf"
  # No socket file: a deep folder would exceed the length such a path may have.
  spawn postgresql "${PG_AS[@]}" env -i PATH="$PATH" LC_ALL=C.UTF-8 "$PG_BIN/postgres" -D "$PG_DATA" \
    -c "config_file=$PG_DIR/postgresql.conf" -c "port=$PG_PORT" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c "cluster_name=vostro-$PORT_BASE"
}

pg_start() {
  mkdir -p "$PG_DIR"
  chmod 711 "$PG_DIR"
  pg_drop_stale_lock
  if alive postgresql; then return 0; fi
  require_free_port "$PG_PORT" PostgreSQL
  pg_initialise
  pg_choose_account
  pg_launch
}

# After a kill -9 the old server's children hold its shared memory a moment longer, and a new one gives up at once.
pg_ready_or_relaunch() {
  if pg_answers; then return 0; fi
  if ! alive postgresql; then
    tail -n 20 "$VOSTRO_LOCAL/log/postgresql.log" | grep -q 'shared memory block' || exit 3
    rm -f "$PG_DATA/postmaster.pid"
    pg_launch
  fi
  return 1
}

pg_wait() {
  local status=0
  (wait_until 60 pg_ready_or_relaunch) || status=$?
  case $status in
    0) ;;
    3) die 'PostgreSQL ended while starting' "see $VOSTRO_LOCAL/log/postgresql.log" \
      "$(tail -n 2 "$VOSTRO_LOCAL/log/postgresql.log")" ;;
    *) pg_explain_silence ;;
  esac
  if [ ! -e "$PG_READY" ]; then
    pg_sql -d postgres -f "$ROOT/scripts/database.sql" >/dev/null
    touch "$PG_READY"
  fi
  say "postgresql: ready on port $PG_PORT"
}

pg_explain_silence() {
  if pg_answers 2>&1 | grep -q 'password authentication failed'; then
    die 'PostgreSQL does not know the password in the secrets file' \
      "the data in $VOSTRO_LOCAL belong to other secrets; 'scripts/stack.sh clean' starts afresh (and deletes them)"
  fi
  die 'PostgreSQL is not ready after 60 s' "see $VOSTRO_LOCAL/log/postgresql.log"
}

# SIGINT is "fast": open transactions are rolled back, everything is flushed.
pg_stop() { stop_service postgresql INT 60; }
