use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use metrics::{counter, gauge};
use rand::Rng as _;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::Endpoint;
use crate::endpoint::host_and_port;
use crate::line::Line;
use crate::session::Session;

/// Keeps one connection to the broker: makes it, watches it, and replaces it after any failure.
///
/// lapin could recover a connection in place; that feature is young and has lost messages silently, so it stays off.
/// Here a failed connection is dropped whole, with its channels, and a new one gets the next epoch.
/// Clones share the connection; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Supervisor {
    name: Arc<str>,
    endpoint: Endpoint,
    state: watch::Receiver<State>,
    stop: CancellationToken,
    _stop_when_unused: Arc<DropGuard>,
}

/// What an operator wants to know about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionHealth {
    Connected,
    /// Connected, but the broker accepts no messages: a memory or disk alarm, with its reason.
    Blocked(String),
    /// Not connected, with the last failure; it is being tried again.
    Down(String),
}

#[derive(Clone)]
enum State {
    Down(String),
    Up(Arc<Session>),
    Closed,
}

impl Supervisor {
    /// How long a caller waits for a connection before it is told that there is none.
    const PATIENCE: Duration = Duration::from_secs(5);
    const CLOSE: Duration = Duration::from_secs(3);

    /// Starts connecting in the background; `name` is shown in the broker's dashboard.
    pub fn start(endpoint: Endpoint, name: &str) -> Self {
        let (sender, state) = watch::channel(State::Down("not connected yet".to_owned()));
        let stop = CancellationToken::new();
        let name: Arc<str> = name.into();
        let task = Task { endpoint: endpoint.clone(), name: name.clone(), state: sender, stop: stop.clone() };
        tokio::spawn(task.run());
        Self { name, endpoint, state, _stop_when_unused: Arc::new(stop.clone().drop_guard()), stop }
    }

    /// The name given to [`Self::start`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it connects to, and as whom.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn health(&self) -> ConnectionHealth {
        match &*self.state.borrow() {
            State::Up(session) if session.is_over() => ConnectionHealth::Down(session.reason()),
            State::Up(session) => session.blocked().map_or(ConnectionHealth::Connected, ConnectionHealth::Blocked),
            State::Down(reason) => ConnectionHealth::Down(reason.clone()),
            State::Closed => ConnectionHealth::Down("closed".to_owned()),
        }
    }

    /// Closes the connection for good. What is unacknowledged goes back to its queue.
    pub async fn close(&self) {
        self.stop.cancel();
        let mut state = self.state.clone();
        let closed = state.wait_for(|state| matches!(state, State::Closed));
        if tokio::time::timeout(Self::CLOSE, closed).await.is_err() {
            debug!(connection = &*self.name, "the connection did not close in time");
        }
    }

    /// The live connection; waits a bounded time for one. The error says why there is none.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, String> {
        let mut state = self.state.clone();
        let live = state.wait_for(|state| match state {
            State::Up(session) => !session.is_over(),
            State::Down(_) => false,
            State::Closed => true,
        });
        match tokio::time::timeout(Self::PATIENCE, live).await {
            Ok(Ok(state)) => match &*state {
                State::Up(session) => Ok(session.clone()),
                State::Down(reason) => Err(reason.clone()),
                State::Closed => Err("the connection is closed".to_owned()),
            },
            Ok(Err(_)) => Err("the connection is closed".to_owned()),
            Err(_) => match self.health() {
                ConnectionHealth::Down(reason) => Err(reason),
                _ => Err("not connected".to_owned()),
            },
        }
    }
}

/// The background half.
struct Task {
    endpoint: Endpoint,
    name: Arc<str>,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

impl Task {
    const CONNECT: Duration = Duration::from_secs(10);
    /// lapin reports the end of a connection as an event; this is for the case that it does not.
    const CHECK: Duration = Duration::from_millis(500);
    /// A connection that lived this long was a good one: the next is tried for without delay.
    const GOOD: Duration = Duration::from_secs(5);

    async fn run(self) {
        let mut epoch = 0;
        let mut failures = 0;
        // The connections of a bank spread over a cluster; one that fails is tried at the next node.
        let mut number = rand::rng().random_range(0..self.endpoint.nodes());
        // What was said of each node since the last connection.
        let mut said = vec![String::new(); self.endpoint.nodes()];
        loop {
            let node = self.endpoint.node(number);
            let said_of_it = number % said.len();
            number = number.wrapping_add(1);
            let address = host_and_port(&node);
            let connected = tokio::select! {
                connected = self.connect(node) => connected,
                () = self.stop.cancelled() => break,
            };
            match connected {
                Ok((connection, line)) => {
                    epoch += 1;
                    let session = Arc::new(Session::new(connection, epoch));
                    said.fill(String::new());
                    let since = Instant::now();
                    self.keep(&session, &address).await;
                    line.cut();
                    if self.stop.is_cancelled() {
                        break;
                    }
                    failures = if since.elapsed() > Self::GOOD { 0 } else { failures + 1 };
                }
                Err(reason) => {
                    failures += 1;
                    if said[said_of_it] != reason {
                        warn!(connection = &*self.name, address, reason, "no broker");
                        said[said_of_it].clone_from(&reason);
                    } else {
                        debug!(connection = &*self.name, address, failures, reason, "still no broker");
                    }
                    counter!("vostro_broker_connects_total", "connection" => self.name.to_string(), "outcome" => "failed")
                        .increment(1);
                    self.state.send_replace(State::Down(reason));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff(failures / self.nodes())) => {}
                () = self.stop.cancelled() => break,
            }
        }
        self.state.send_replace(State::Closed);
    }

    fn nodes(&self) -> u32 {
        u32::try_from(self.endpoint.nodes()).unwrap_or(u32::MAX)
    }

    async fn connect(&self, node: AMQPUri) -> Result<(Connection, Line), String> {
        let properties = ConnectionProperties::default()
            .with_connection_name(self.name.as_bytes().into())
            .with_client_property("product".into(), "Vostro".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        Line::connect(node, self.endpoint.tls(), properties, Self::CONNECT).await
    }

    /// Offers the session to its users until it ends, then closes the connection.
    async fn keep(&self, session: &Arc<Session>, address: &str) {
        let mut events = Box::pin(session.connection.events_listener());
        let mut check = tokio::time::interval(Self::CHECK);
        let connected = gauge!("vostro_broker_connected", "connection" => self.name.to_string());
        let blocked = gauge!("vostro_broker_blocked", "connection" => self.name.to_string());
        counter!("vostro_broker_connects_total", "connection" => self.name.to_string(), "outcome" => "connected")
            .increment(1);
        connected.set(1.0);
        blocked.set(0.0);
        info!(connection = &*self.name, address, epoch = session.epoch, "connected to the broker");
        self.state.send_replace(State::Up(session.clone()));
        let mut failure = None;
        while !session.is_over() {
            tokio::select! {
                () = session.over() => {}
                () = self.stop.cancelled() => session.end("closed"),
                Some(event) = events.next() => match event {
                    Event::ConnectionBlocked(reason) => {
                        warn!(connection = &*self.name, reason, "the broker accepts no messages");
                        blocked.set(1.0);
                        session.set_blocked(Some(reason));
                    }
                    Event::ConnectionUnblocked => {
                        info!(connection = &*self.name, "the broker accepts messages again");
                        blocked.set(0.0);
                        if session.is_stale() {
                            session.end("the broker had blocked it for too long");
                        }
                        session.set_blocked(None);
                    }
                    Event::Error(error) => failure = Some(error.to_string()),
                    _ => {}
                },
                _ = check.tick() => {}
            }
            // A channel's error is an event too; only the connection's state tells whether it is the end.
            if !session.connection.status().connected() {
                session.end(failure.take().unwrap_or_else(|| "the broker closed the connection".to_owned()));
            }
        }
        connected.set(0.0);
        blocked.set(0.0);
        let reason = session.reason();
        if self.stop.is_cancelled() {
            debug!(connection = &*self.name, "closing the connection");
        } else {
            warn!(connection = &*self.name, epoch = session.epoch, reason, "the connection is dropped");
        }
        self.state.send_replace(State::Down(reason));
        let close = session.connection.close(200, "bye".into());
        let _ = tokio::time::timeout(Duration::from_secs(1), close).await;
    }
}

/// Full jitter: a random wait below a ceiling that doubles with each failure, so that many clients of a broker that
/// comes back do not all arrive at the same moment.
fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(15);
    let ceiling = (FIRST * 2_u32.saturating_pow(failures.min(10))).min(LONGEST);
    rand::rng().random_range(Duration::ZERO..=ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_fifteen_seconds_and_no_further() {
        let longest = |failures| (0..200).map(|_| backoff(failures)).max().unwrap_or_default();
        assert!(longest(0) <= Duration::from_millis(200));
        assert!(longest(4) > Duration::from_millis(200));
        assert!(longest(u32::MAX) <= Duration::from_secs(15));
    }

    #[tokio::test]
    async fn without_a_broker_the_reason_is_told_and_closing_still_works() {
        let endpoint = Endpoint::parse("amqp://u:p@127.0.0.1:1").expect("valid");
        let supervisor = Supervisor::start(endpoint, "nobody");
        let mut state = supervisor.state.clone();
        let refused = |state: &State| matches!(state, State::Down(reason) if reason.contains("refused"));
        state.wait_for(refused).await.expect("running");
        assert!(matches!(supervisor.health(), ConnectionHealth::Down(reason) if reason.contains("refused")));
        supervisor.close().await;
        assert_eq!(supervisor.session().await.err().as_deref(), Some("the connection is closed"));
    }
}
