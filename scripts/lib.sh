# shellcheck shell=bash
# What every script here shares: messages, where things are, which ports are used, and whether a process of ours lives.
# Sourced, never run. Sets strict mode for the script that sources it.
#
# Inputs, all optional:
#   PORT_BASE     first of the ports to use (default 21000); a script's own stack may add a fixed step, see use_stack
#   VOSTRO_LOCAL  folder for data, logs, sockets and secrets (default <project>/.local, ignored by git)

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PORT_BASE=${PORT_BASE:-21000}
VOSTRO_LOCAL=${VOSTRO_LOCAL:-$ROOT/.local}
case $VOSTRO_LOCAL in /*) ;; *) VOSTRO_LOCAL=$PWD/$VOSTRO_LOCAL ;; esac

say() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# die MESSAGE [WAY_OUT]: every failure names what to do next.
die() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '       %s\n' "${@:2}" >&2
  exit 1
}

# The header of a script is its help: the comment lines after the interpreter line.
print_help() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"; }

has() { command -v "$1" >/dev/null 2>&1; }

# The Node that the folders with a package.json need, with its npm.
NODE_MINIMUM=20
has_node() {
  local major
  major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p')
  has npm && [ "${major:-0}" -ge $NODE_MINIMUM ]
}

random_secret() { head -c 64 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 40; }

# add_missing_secrets FILE NAME...: each name gets a random value, once; only the file's owner can read it.
add_missing_secrets() {
  local file=$1 name
  shift
  (umask 077 && touch "$file") 2>/dev/null || die "$(id -un) cannot use $file" 'it belongs to another user'
  for name; do
    grep -q "^$name=." "$file" || printf '%s=%s\n' "$name" "$(random_secret)" >>"$file"
  done
}

# use_stack NAME: a stack of its own (folder and ports) so that demonstrations, tests and benchmarks never meet
# the bank somebody is running. Exports what the scripts called from here need.
STACKS=(main demo test bench gen crash upgrade)
use_stack() {
  local step
  case $1 in
    main) return 0 ;;
    demo) step=1000 ;;
    test) step=2000 ;;
    bench) step=3000 ;;
    gen) step=4000 ;;
    crash) step=4500 ;;
    upgrade) step=4600 ;;
    *) die "no stack is called '$1'" "the stacks are ${STACKS[*]}" ;;
  esac
  PORT_BASE=$((PORT_BASE + step)) VOSTRO_LOCAL=$VOSTRO_LOCAL/$1
  export PORT_BASE VOSTRO_LOCAL
}

# own_stack NAME: the same, empty, and for one run at a time, because that run deletes what the last one left.
own_stack() {
  use_stack "$1"
  mkdir -p "$(dirname "$VOSTRO_LOCAL")"
  exec 8>"$VOSTRO_LOCAL.lock"
  flock -n 8 || die "another run uses $VOSTRO_LOCAL" 'wait until it is over'
  "$ROOT/scripts/stack.sh" clean
  trap '"$ROOT/scripts/stack.sh" down' EXIT
  trap 'exit 130' INT TERM
}

# Ports follow from PORT_BASE. The kernel hands out 32768 and above to outgoing connections, so a fixed port up
# there collides at random; below 1024 only root may listen.
set_ports() {
  case $PORT_BASE in '' | *[!0-9]*) die "PORT_BASE must be a number, not '$PORT_BASE'" ;; esac
  if [ "$PORT_BASE" -lt 1024 ] || [ "$PORT_BASE" -ge $((32768 - 700)) ]; then
    die "PORT_BASE=$PORT_BASE is outside 1024..32067" \
      'the ports reach up to PORT_BASE+699; from 32768 on the kernel picks ports for outgoing connections' \
      "make's targets other than 'run' add up to 4600 to it: choose for example PORT_BASE=25000"
  fi
  HTTP_PORT=$((PORT_BASE + 80)) EPMD_PORT=$((${VOSTRO_JOIN_PORT_BASE:-$PORT_BASE} + 369)) PG_PORT=$((PORT_BASE + 432))
  AMQP_PORT=$((PORT_BASE + 672)) MGMT_PORT=$((PORT_BASE + 673)) DIST_PORT=$((PORT_BASE + 674))
  RABBIT_METRICS_PORT=$((PORT_BASE + 692)) AMQPS_PORT=$((PORT_BASE + 671)) MGMT_TLS_PORT=$((PORT_BASE + 670))
  export HTTP_PORT EPMD_PORT PG_PORT AMQP_PORT MGMT_PORT DIST_PORT RABBIT_METRICS_PORT AMQPS_PORT MGMT_TLS_PORT
}

# --- processes -------------------------------------------------------------------------------------------------
# A pid file holds "pid start-time". The start time tells our process from another that got the same number later.

pid_file() { printf '%s/run/%s.pid' "$VOSTRO_LOCAL" "$1"; }

# start_time PID: clock ticks since boot; empty when there is no such process.
start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  stat=${stat##*) } # the command name, in brackets, may hold anything
  # shellcheck disable=SC2086 # split on purpose: state is field 3 of the file, the start time field 22
  set -- $stat
  printf '%s' "${20}"
}

# A zombie still answers kill -0, so the state is read instead.
exists() { [ -r "/proc/$1/status" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; }

record_pid() { printf '%s %s\n' "$2" "$(start_time "$2")" >"$(pid_file "$1")"; }

# pid_of SERVICE: the pid when our process lives, otherwise nothing and status 1.
pid_of() {
  local pid started
  read -r pid started 2>/dev/null <"$(pid_file "$1")" || return 1
  [ -n "$started" ] && exists "$pid" && [ "$(start_time "$pid")" = "$started" ] || return 1
  printf '%s' "$pid"
}
alive() { pid_of "$1" >/dev/null; }

# spawn SERVICE COMMAND...: in a session of its own, so that it outlives this script and its terminal.
spawn() {
  local service=$1
  shift
  (cd "$VOSTRO_LOCAL" && exec setsid "$@") >>"$VOSTRO_LOCAL/log/$service.log" 2>&1 </dev/null 8>&- 9>&- &
  record_pid "$service" $!
  disown $!
}

# wait_until SECONDS COMMAND...: polls; status 1 when the time is over.
wait_until() {
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$limit" ] || return 1
    sleep 0.1
  done
}

# stop_service SERVICE SIGNAL SECONDS...: asks politely and waits, once per number of seconds, then insists.
# Watches the process, not the pid file.
stop_service() {
  local service=$1 signal=$2 pid seconds
  shift 2
  if ! pid=$(pid_of "$service"); then
    rm -f "$(pid_file "$service")"
    return 0
  fi
  for seconds; do
    kill "-$signal" "$pid" 2>/dev/null || true
    if wait_until "$seconds" not exists "$pid"; then break; fi
  done
  if exists "$pid"; then
    warn "$service does not react to SIG$signal; killing it"
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 10 not exists "$pid" || die "$service (process $pid) does not go away"
  fi
  rm -f "$(pid_file "$service")"
  say "$service: stopped"
}

not() { ! "$@"; }

# The redirection must happen in a subshell: a failing 'exec' would end the script.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# require_free_port PORT PURPOSE
require_free_port() {
  port_open "$1" || return 0
  local owner=''
  ! has ss || owner=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:((\("[^)]*\)).*/ (\1)/p' | head -n 1)
  die "port $1, wanted for $2, is in use by something else$owner" \
    "stop that program, or choose other ports: PORT_BASE=25000 (now $PORT_BASE)"
}
