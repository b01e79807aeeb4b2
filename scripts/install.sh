#!/usr/bin/env bash
# Makes sure the programs the bank stands on are there, and installs from the distribution what is missing.
#
# Usage: scripts/install.sh [PROGRAM...]
#
# Always wanted: PostgreSQL 15 or newer, RabbitMQ, a C compiler, make, curl and the CA certificates.
# PROGRAM adds one of the tools that some checks use: redis-server, shellcheck, promtool, npm (with Node), chromium.
#
# Says what it installs and asks for nothing. Needs root, or sudo, only when something is missing. No service is
# started and none is left to start at the next boot: the bank runs private instances (see scripts/stack.sh).
# VOSTRO_PG_BIN and VOSTRO_RABBITMQ_HOME name installations that are not where distributions put them.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/postgresql.sh
. "$ROOT/scripts/lib/postgresql.sh"
# shellcheck source=scripts/lib/rabbitmq.sh
. "$ROOT/scripts/lib/rabbitmq.sh"

# Distributions may be behind what the tests need; a release with long-term support, by npm's name for a plain Node.
NODE_VERSION=24.21.0

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# put here for a moment by scripts/install.sh of Vostro'
NO_CLUSTER=/etc/postgresql-common/createcluster.d/vostro-install.conf

# missing_packages [PROGRAM...]: Debian's names of what is not there.
missing_packages() {
  local program
  find_postgresql || echo postgresql
  find_rabbitmq || echo rabbitmq-server
  has cc || echo gcc libc6-dev
  has make || echo make
  has curl || echo curl
  [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -d /etc/pki/tls/certs ] || echo ca-certificates
  for program; do
    case $program in
      redis-server) has redis-server || echo redis-server ;;
      shellcheck) has shellcheck || echo shellcheck ;;
      promtool) has promtool || echo prometheus ;;
      npm) has npm || echo nodejs npm ;;
      chromium) has chromium || echo chromium ;;
      *) die "nothing is known about installing '$program'" 'known: redis-server, shellcheck, promtool, npm, chromium' ;;
    esac
  done
}

# --- as root ---------------------------------------------------------------------------------------------------

# A package's service would start on its default port, beside whatever uses that port. While packages are installed
# a policy says no; an existing policy is put back afterwards, also after an interrupted earlier run.
forbid_service_starts() {
  trap allow_service_starts EXIT
  trap 'exit 130' INT TERM
  allow_service_starts
  [ ! -e $POLICY ] || mv $POLICY $POLICY.before-vostro
  printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >$POLICY
  chmod 755 $POLICY
  mkdir -p "$(dirname $NO_CLUSTER)"
  echo 'create_main_cluster = false' >$NO_CLUSTER
}
allow_service_starts() {
  if grep -qsF "$POLICY_MARK" $POLICY; then rm -f $POLICY; fi
  if [ -e $POLICY.before-vostro ]; then mv $POLICY.before-vostro $POLICY; fi
  rm -f $NO_CLUSTER
}

install_as_root() {
  local apt=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -qq)
  export DEBIAN_FRONTEND=noninteractive
  forbid_service_starts
  # One unreachable source among several is not fatal; if it was the needed one, the installation says so.
  "${apt[@]}" update || true
  "${apt[@]}" install -y --no-install-recommends "$@"
  keep_services_off "$@"
}

# Enabled services would start at the next boot; only those this run brought are switched off.
keep_services_off() {
  has systemctl || return 0
  local package
  for package; do
    case $package in
      rabbitmq-server) systemctl disable rabbitmq-server.service epmd.service epmd.socket || true ;;
      redis-server) systemctl disable redis-server.service || true ;;
      prometheus) systemctl disable prometheus.service || true ;;
    esac
  done
}

# --- as whoever calls ------------------------------------------------------------------------------------------

# choose_root WHY COMMAND: sets AS_ROOT to how a command becomes root: not at all, sudo without a question, or sudo
# at a terminal, where it may ask for the user's password.
choose_root() {
  AS_ROOT=()
  [ "$(id -u)" != 0 ] || return 0
  if has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    AS_ROOT=(sudo '--preserve-env=http_proxy,https_proxy')
  else
    die "$1; installing needs root, and sudo is not available here" "run once as root: $2"
  fi
}

main() {
  local program
  install_from_distribution "$@"
  for program; do
    if [ "$program" = npm ] && ! has_node; then install_node; fi
  done
}

# npm has Node's own builds, checked against their digests, in packages that are named by platform.
install_node() {
  local platform package log=$VOSTRO_LOCAL/log/install-node.log
  case $(uname -m) in
    x86_64) platform=linux-x64 ;;
    aarch64) platform=linux-arm64 ;;
    *) die "Node is older than $NODE_MINIMUM, and there is no newer one for $(uname -m)" 'install one from https://nodejs.org/' ;;
  esac
  package=node-$platform@$NODE_VERSION
  choose_root "Node $NODE_MINIMUM or newer is missing" "npm install --global $package"
  mkdir -p "$(dirname "$log")"
  "${AS_ROOT[@]}" npm install --global --no-audit --no-fund "$package" >"$log" 2>&1 ||
    die "installing $package failed" "details: $log" 'or install Node from https://nodejs.org/'
  hash -r
  has_node || die "$package was installed, but another Node comes first in PATH" "put $(npm prefix --global)/bin before it"
  say "installed: Node $NODE_VERSION"
}

install_from_distribution() {
  local found packages log=$VOSTRO_LOCAL/log/install.log
  found=$(missing_packages "$@")
  read -r -d '' -a packages <<<"$found" || true
  [ ${#packages[@]} -gt 0 ] || return 0
  has apt-get || die "this is not Debian or a relative of it, and these are missing (Debian's names): ${packages[*]}" \
    "install PostgreSQL $PG_MINIMUM or newer and RabbitMQ 3.10 or newer with the system's own tools" \
    'if they are in unusual places, say where: VOSTRO_PG_BIN=<folder of initdb>, VOSTRO_RABBITMQ_HOME=<folder of sbin/>'
  choose_root "these are missing: ${packages[*]}" "apt-get install --no-install-recommends ${packages[*]}"
  mkdir -p "$(dirname "$log")"
  say "installing from the distribution: ${packages[*]} (about a minute; no service is started)"
  "${AS_ROOT[@]}" bash "$ROOT/scripts/install.sh" --as-root "${packages[@]}" >"$log" 2>&1 ||
    explain_failure "$log" "${packages[@]}"
  find_postgresql || die "the distribution's PostgreSQL is older than $PG_MINIMUM" \
    "use the PostgreSQL project's own packages (https://www.postgresql.org/download/), or name one with VOSTRO_PG_BIN"
  find_rabbitmq || die 'RabbitMQ was installed, but is not where it is looked for' \
    'say where: VOSTRO_RABBITMQ_HOME=<folder with sbin/>'
  say "installed: ${packages[*]}"
}

# explain_failure LOG PACKAGE...
explain_failure() {
  local log=$1
  shift
  sed -n 's/^E: /  apt: /p' "$log" | head -n 5 >&2
  if grep -qE 'failure resolving|Could not (resolve|connect)|Unable to (fetch|connect)|Failed to fetch|unreachable' "$log"; then
    die 'the packages could not be fetched: no network, or no package mirror' "details: $log" \
      "behind a proxy: set http_proxy; without any network: bring the packages and install them as root: $*"
  fi
  die "installing $* failed" "details: $log" "the same by hand, as root: apt-get install --no-install-recommends $*"
}

case ${1:-} in
  -h | --help) print_help "$0" ;;
  --as-root) shift; install_as_root "$@" ;;
  -*) print_help "$0" >&2; exit 2 ;;
  *) main "$@" ;;
esac
