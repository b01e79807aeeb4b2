# shellcheck shell=bash
# RabbitMQ of the private stack: find it, configure it, start it, stop it. Sourced by stack.sh after lib.sh.
#
# The server's own scripts under its installation folder are used, not Debian's wrappers in /usr/sbin, which insist
# on the system's rabbitmq user and folders. Topology is not set here: `vostro topology apply` does that.

RABBIT_DIR=$VOSTRO_LOCAL/rabbit
RABBIT_READY=$RABBIT_DIR/initialised # written last: without it an earlier set-up died half-way and is redone
RABBIT_HOME=
RABBIT_NODE=vostro${VOSTRO_JOIN:+$PORT_BASE}

# find_rabbitmq: sets RABBIT_HOME to the newest installation; status 1 when there is none.
find_rabbitmq() {
  local dir
  for dir in ${VOSTRO_RABBITMQ_HOME:+"$VOSTRO_RABBITMQ_HOME"} \
    $(printf '%s\n' /usr/lib/rabbitmq/lib/rabbitmq_server-* | sort -rV) /opt/rabbitmq; do
    if [ -x "$dir/sbin/rabbitmq-server" ] && has erl; then
      RABBIT_HOME=$dir
      return 0
    fi
  done
  return 1
}

# The same environment for the server and its tools, and nothing of the caller's.
rabbit_environment() {
  # Schedulers that spin while idle would take the processor from the bank on a small machine.
  local quiet='+sbwt none +sbwtdcpu none +sbwtdio none'
  RABBIT_ENVIRONMENT=(
    PATH="$PATH" HOME="$RABBIT_DIR" LC_ALL=C.UTF-8
    RABBITMQ_CONF_ENV_FILE="$RABBIT_DIR/env.conf" # empty: keeps /etc/rabbitmq/rabbitmq-env.conf out
    RABBITMQ_CONFIG_FILE="$RABBIT_DIR/rabbitmq.conf"
    RABBITMQ_ADVANCED_CONFIG_FILE="$RABBIT_DIR/advanced.config"
    RABBITMQ_ENABLED_PLUGINS_FILE="$RABBIT_DIR/enabled_plugins"
    RABBITMQ_PLUGINS_DIR="$RABBIT_HOME/plugins"
    RABBITMQ_NODENAME="$RABBIT_NODE@localhost" # independent of the machine's name
    RABBITMQ_NODE_PORT="$AMQP_PORT" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_DIST_PORT="$DIST_PORT"
    RABBITMQ_MNESIA_BASE="$RABBIT_DIR/data" RABBITMQ_LOG_BASE="$VOSTRO_LOCAL/log/rabbitmq"
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$quiet -kernel inet_dist_use_interface {127,0,0,1}"
    ERL_EPMD_PORT="$EPMD_PORT" ERL_EPMD_ADDRESS=127.0.0.1 ERL_MAX_PORTS=4096
    # Lets the start script become the server instead of staying in between: one pid, known at once.
    RUNNING_UNDER_SYSTEMD=true
  )
}

rabbit_configure() {
  mkdir -p "$RABBIT_DIR" "$VOSTRO_LOCAL/log/rabbitmq"
  : >"$RABBIT_DIR/env.conf"
  printf '[].\n' >"$RABBIT_DIR/advanced.config"
  cp "$ROOT/rabbitmq/enabled_plugins" "$RABBIT_DIR/enabled_plugins"
  chmod 644 "$RABBIT_DIR/enabled_plugins"
  if [ ! -s "$RABBIT_DIR/.erlang.cookie" ]; then
    (umask 077 && if [ -n "${VOSTRO_JOIN:-}" ]; then
      cat "$VOSTRO_JOIN/rabbit/.erlang.cookie"
    else
      random_secret
    fi >"$RABBIT_DIR/.erlang.cookie")
    chmod 400 "$RABBIT_DIR/.erlang.cookie"
  fi
  rm -f "$RABBIT_DIR/rabbitmq.conf"
  (umask 077 && {
    cat "$ROOT/rabbitmq/rabbitmq.conf"
    cat <<CONF

# Added by scripts/stack.sh for the private stack on this machine.
listeners.tcp.1 = 127.0.0.1:$AMQP_PORT
management.tcp.ip = 127.0.0.1
management.tcp.port = $MGMT_PORT
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $RABBIT_METRICS_PORT
default_vhost = vostro
default_user = vostro
default_pass = $BROKER_PASSWORD
default_user_tags.administrator = true
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 200MB
CONF
    [ -z "${VOSTRO_TLS:-}" ] || cat <<CONF
listeners.ssl.1 = 127.0.0.1:$AMQPS_PORT
ssl_options.cacertfile = $VOSTRO_TLS/ca.pem
ssl_options.certfile = $VOSTRO_TLS/certificate.pem
ssl_options.keyfile = $VOSTRO_TLS/key.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
management.ssl.ip = 127.0.0.1
management.ssl.port = $MGMT_TLS_PORT
management.ssl.cacertfile = $VOSTRO_TLS/ca.pem
management.ssl.certfile = $VOSTRO_TLS/certificate.pem
management.ssl.keyfile = $VOSTRO_TLS/key.pem
CONF
    if [ -n "${VOSTRO_JOIN:-}" ]; then
      cat <<CONF
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = vostro@localhost
cluster_formation.classic_config.nodes.2 = $RABBIT_NODE@localhost
CONF
    fi
  } >"$RABBIT_DIR/rabbitmq.conf")
}

# Our port mapper, told from others by its port. Whatever else listens there may never answer.
epmd_tool() {
  local program
  program=$(command -v epmd || printf '%s\n' /usr/lib/erlang/erts-*/bin/epmd | tail -n 1)
  ERL_EPMD_PORT=$EPMD_PORT timeout 5 "$program" "$@" >/dev/null 2>&1
}
epmd_answers() { port_open "$EPMD_PORT" && epmd_tool -names; }

# rabbit_check: what would keep it from starting, before anything is started.
rabbit_check() {
  if alive rabbitmq; then return 0; fi
  require_free_port "$AMQP_PORT" "RabbitMQ (AMQP)"
  require_free_port "$MGMT_PORT" "RabbitMQ's management API"
  require_free_port "$RABBIT_METRICS_PORT" "RabbitMQ's metrics"
  if [ -n "${VOSTRO_TLS:-}" ]; then
    require_free_port "$AMQPS_PORT" "RabbitMQ (AMQP with TLS)"
    require_free_port "$MGMT_TLS_PORT" "RabbitMQ's management API with TLS"
  fi
  require_free_port "$DIST_PORT" "Erlang's distribution"
  # Erlang's port mapper outlives a killed node; one that still runs is used again.
  epmd_answers || require_free_port "$EPMD_PORT" "Erlang's port mapper"
}

rabbit_start() {
  if alive rabbitmq; then return 0; fi
  if [ ! -e "$RABBIT_READY" ] && [ -e "$RABBIT_DIR/data" ]; then
    say 'rabbitmq: an earlier set-up did not finish; starting over'
    rm -rf "$RABBIT_DIR/data"
  fi
  rabbit_configure
  rabbit_environment
  spawn rabbitmq env -i "${RABBIT_ENVIRONMENT[@]}" "$RABBIT_HOME/sbin/rabbitmq-server"
}

# The password goes through a file descriptor: arguments are visible to every user of the machine.
rabbit_api() {
  curl -sS -f --max-time 5 -K <(printf 'user = "vostro:%s"\n' "$BROKER_PASSWORD") "http://127.0.0.1:$MGMT_PORT/api/$1"
}
rabbit_answers() { port_open "$AMQP_PORT" && rabbit_api health/checks/alarms; }
rabbit_answers_or_gone() { rabbit_answers || ! alive rabbitmq; }

rabbit_wait() {
  wait_until 120 rabbit_answers_or_gone || {
    case $(rabbit_api whoami 2>&1) in
      *401*) die 'RabbitMQ does not know the password in the secrets file' \
        "the data in $VOSTRO_LOCAL belong to other secrets; 'scripts/stack.sh clean' starts afresh (and deletes them)" ;;
    esac
    die 'RabbitMQ is not ready after 120 s' "see $VOSTRO_LOCAL/log/rabbitmq.log and $VOSTRO_LOCAL/log/rabbitmq/"
  }
  alive rabbitmq || die 'RabbitMQ is not running' "see $VOSTRO_LOCAL/log/rabbitmq.log and $VOSTRO_LOCAL/log/rabbitmq/" \
    "$(tail -n 3 "$VOSTRO_LOCAL/log/rabbitmq.log" 2>/dev/null)"
  touch "$RABBIT_READY"
  say "rabbitmq: ready on port $AMQP_PORT, dashboard on http://127.0.0.1:$MGMT_PORT"
}

# rabbit_tool ARGS...: rabbitmqctl.
rabbit_tool() {
  rabbit_environment
  env -i "${RABBIT_ENVIRONMENT[@]}" "$RABBIT_HOME/sbin/rabbitmqctl" "$@"
}

# SIGTERM lets the node finish; rabbitmqctl would start a second virtual machine for the same effect. A node that has
# only just been started loses the signal, so it is sent again.
rabbit_stop() {
  stop_service rabbitmq TERM 10 50
  # It refuses while a node is still registered.
  if epmd_answers; then epmd_tool -kill || true; fi
}
