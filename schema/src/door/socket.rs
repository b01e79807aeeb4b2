//! Operations over a WebSocket: `graphql-transport-ws`, over the same engine.
//!
//! One task reads and writes the connection; every operation is a task of its own that hands its messages over through
//! a bounded channel. A client that reads slowly therefore slows its own event streams down, and what to drop is the
//! module's decision.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use metrics::gauge;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout, timeout_at};
use uuid::Uuid;

use super::auth::{bearer, by_headers};
use super::caller::Caller;
use super::envelope::Envelope;
use super::socket_messages::{ACKNOWLEDGE, ClientMessage, Close, Hello, PONG, PROTOCOL, complete, with_payload};
use super::{AuthFault, Connected, Door, Principal, TooMany};
use crate::faults::FaultCode;
use crate::scope::RequestScope;
use crate::stitch::{Engine, OperationKind, Prepared, Reply, RequestError};

/// Messages of all operations of a connection that may wait to be written.
const WAITING_MESSAGES: usize = 64;

/// Pings without an answer after which a client has gone.
const UNANSWERED_PINGS: u32 = 3;

/// How long a closing handshake may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A far away instant, for a deadline that does not exist.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Upgrades a request to a connection.
pub fn accept(door: Arc<Door>, upgrade: WebSocketUpgrade, headers: HeaderMap, caller: Caller) -> Response {
    let limit = door.config.body_limit;
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(limit)
        .max_frame_size(limit)
        // A connection mostly waits; large buffers per connection would be the bank's largest use of memory.
        .read_buffer_size(4 * 1024)
        .write_buffer_size(4 * 1024)
        .on_upgrade(move |socket| async move {
            gauge!("vostro_graphql_connections").increment(1.0);
            let accepted = socket.protocol() == Some(&HeaderValue::from_static(PROTOCOL));
            let (sink, stream) = socket.split();
            let caller = Caller { is_connection: true, ..caller };
            let mut connection = Connection::new(door, sink, headers, caller);
            let end = if accepted { connection.serve(stream).await } else { refused(stream) };
            connection.close(end).await;
            gauge!("vostro_graphql_connections").decrement(1.0);
        })
}

const fn refused(stream: SplitStream<WebSocket>) -> End {
    End { stream, close: Some(Close::SubprotocolNotAcceptable) }
}

/// How a connection ended: with a code to send, or because the client has gone.
struct End {
    stream: SplitStream<WebSocket>,
    close: Option<Close>,
}

/// A message of an operation on its way to the client.
struct Outgoing {
    id: String,
    generation: u64,
    text: String,
    last: bool,
}

/// An operation that runs. Dropping it ends it.
struct Running {
    /// Tells it from an earlier operation with the same id, whose last messages may still be waiting.
    generation: u64,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        gauge!("vostro_graphql_socket_operations").decrement(1.0);
    }
}

struct Connection {
    door: Arc<Door>,
    sink: SplitSink<WebSocket, Message>,
    headers: HeaderMap,
    caller: Caller,
    principal: Option<Principal>,
    /// Counts it among its caller's.
    connected: Option<Connected>,
    /// The `Authorization` of the first message; without one that of the headers counts.
    authorization: Option<String>,
    /// By when the client must have introduced itself, and afterwards when its token expires.
    deadline: Instant,
    operations: HashMap<String, Running>,
    generation: u64,
    sender: mpsc::Sender<Outgoing>,
    waiting: mpsc::Receiver<Outgoing>,
}

/// What to do after a message: go on, or close.
type Step = Result<(), Option<Close>>;

impl Connection {
    fn new(door: Arc<Door>, sink: SplitSink<WebSocket, Message>, headers: HeaderMap, caller: Caller) -> Self {
        let deadline = Instant::now() + door.config.init_timeout;
        let (sender, waiting) = mpsc::channel(WAITING_MESSAGES);
        let operations = HashMap::new();
        let (principal, authorization) = (None, None);
        Self {
            door,
            sink,
            headers,
            caller,
            principal,
            connected: None,
            authorization,
            deadline,
            operations,
            generation: 0,
            sender,
            waiting,
        }
    }

    async fn serve(&mut self, mut stream: SplitStream<WebSocket>) -> End {
        let mut closing = self.door.closing.subscribe();
        let mut keep_alive = tokio::time::interval(self.door.config.keep_alive);
        keep_alive.reset();
        // Pings are counted, not seconds: a server that was itself held up must not blame its clients.
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        loop {
            let step = tokio::select! {
                () = closed(&mut closing) => Err(Some(Close::GoingAway)),
                message = stream.next() => {
                    unanswered = 0;
                    match message {
                        Some(Ok(message)) => self.incoming(message).await,
                        Some(Err(_)) | None => Err(None),
                    }
                }
                Some(outgoing) = self.waiting.recv() => self.outgoing(outgoing).await,
                () = sleep_until(self.deadline) => Err(Some(self.expired())),
                _ = keep_alive.tick() => {
                    unanswered += 1;
                    if unanswered > UNANSWERED_PINGS {
                        Err(None)
                    } else if self.principal.is_some() && self.authenticate().await.is_err_and(AuthFault::is_final) {
                        // Whoever has logged out may not go on hearing what the token was good for.
                        Err(Some(Close::Forbidden))
                    } else {
                        self.send(Message::Ping(axum::body::Bytes::new())).await
                    }
                }
            };
            if let Err(close) = step {
                return End { stream, close };
            }
        }
    }

    /// Writes one message.
    async fn send(&mut self, message: Message) -> Step {
        let until = self.patience();
        taken(until, self.sink.send(message)).await.map_err(|Untaken| self.given_up())
    }

    /// How long a client may take to read: until it would be given up anyway, and no longer than its token counts.
    fn patience(&self) -> Instant {
        (Instant::now() + self.door.config.keep_alive * UNANSWERED_PINGS).min(self.deadline)
    }

    fn given_up(&self) -> Option<Close> {
        (self.deadline <= Instant::now()).then(|| self.expired())
    }

    const fn expired(&self) -> Close {
        if self.principal.is_some() { Close::Forbidden } else { Close::InitTimeout }
    }

    async fn text(&mut self, text: impl Into<axum::extract::ws::Utf8Bytes>) -> Step {
        self.send(Message::Text(text.into())).await
    }

    async fn outgoing(&mut self, first: Outgoing) -> Step {
        let (mut next, mut room) = (Some(first), WAITING_MESSAGES);
        // What is waiting already goes out with one flush. There may always be something, and the token must be looked at.
        while let Some(Outgoing { id, generation, text, last }) = next {
            if self.operations.get(&id).is_some_and(|running| running.generation == generation) {
                if last {
                    self.operations.remove(&id);
                }
                let until = self.patience();
                let written = taken(until, self.sink.feed(Message::Text(text.into()))).await;
                written.map_err(|Untaken| self.given_up())?;
            }
            room -= 1;
            next = if room > 0 { self.waiting.try_recv().ok() } else { None };
        }
        let until = self.patience();
        taken(until, self.sink.flush()).await.map_err(|Untaken| self.given_up())
    }

    async fn incoming(&mut self, message: Message) -> Step {
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(None),
            Message::Binary(_) => return Err(Some(Close::BadMessage)),
        };
        match ClientMessage::parse(&text).map_err(|_| Some(Close::BadMessage))? {
            ClientMessage::Init(hello) => self.init(hello).await,
            ClientMessage::Ping => self.text(PONG).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
            ClientMessage::Subscribe { id, envelope } => self.subscribe(id, envelope).await,
        }
    }

    /// Token and client's name come with the first message, because a browser cannot send headers with a WebSocket; other
    /// clients may have sent the headers.
    async fn init(&mut self, hello: Hello) -> Step {
        if self.principal.is_some() {
            return Err(Some(Close::TooManyInits));
        }
        self.authorization = hello.authorization;
        if let Some(name) = hello.client {
            self.caller.client = self.door.config.registered.known().named(&name);
        }
        let principal = self.authenticate().await.map_err(|fault| Some(turned_away(fault)))?;
        let connected = self.door.connect(&principal, &self.caller);
        self.connected = connected.map_err(|TooMany(_)| Some(Close::TooManyConnections))?;
        let left = principal.expires_at.map_or(NEVER, |at| (at - self.door.clock.now()).to_std().unwrap_or_default());
        self.deadline = Instant::now() + left.min(NEVER);
        self.principal = Some(principal);
        self.text(ACKNOWLEDGE).await
    }

    async fn authenticate(&self) -> Result<Principal, AuthFault> {
        let authenticator = self.door.authenticator.as_ref();
        match &self.authorization {
            Some(value) => authenticator.authenticate(Some(bearer(value)?)).await,
            None => by_headers(authenticator, &self.headers).await,
        }
    }

    async fn subscribe(&mut self, id: String, envelope: Envelope<'_>) -> Step {
        let Some(principal) = self.principal else { return Err(Some(Close::Unauthorized)) };
        if self.operations.contains_key(&id) {
            return Err(Some(Close::DuplicateOperation));
        }
        let started = std::time::Instant::now();
        let correlation_id = self.door.ids.next();
        let allowed = self.door.config.operations_per_connection;
        let prepared = if self.operations.len() < allowed {
            self.door.prepare(&envelope, &self.caller)
        } else {
            let message = format!("At most {allowed} operations can run on one connection.");
            Err(vec![RequestError::new(FaultCode::RateLimited, message)])
        };
        match prepared {
            Ok(asked) => {
                let scope = Arc::new(self.door.scope(&principal, &self.caller, correlation_id, &asked));
                self.start(id, asked.prepared, envelope.variables, scope);
                Ok(())
            }
            Err(errors) => {
                self.door.engine.record_refusal(started, &errors);
                self.text(refusal(&id, &errors, correlation_id)).await
            }
        }
    }

    fn start(
        &mut self,
        id: String,
        prepared: Arc<Prepared>,
        variables: async_graphql::Variables,
        scope: Arc<RequestScope>,
    ) {
        self.generation += 1;
        let lane = Lane { id: id.clone(), generation: self.generation, sender: self.sender.clone() };
        let engine = self.door.engine.clone();
        let task = tokio::spawn(lane.carry_out(engine, prepared, variables, scope)).abort_handle();
        gauge!("vostro_graphql_socket_operations").increment(1.0);
        self.operations.insert(id, Running { generation: self.generation, task });
    }

    /// Says goodbye, and waits a moment for the client to say it too, so that it gets to read why.
    async fn close(mut self, end: End) {
        self.operations.clear();
        let End { mut stream, close: Some(close) } = end else { return };
        let frame = CloseFrame { code: close.code(), reason: close.reason().into() };
        let farewell = async {
            if self.sink.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// How a client is turned away whose token could not be taken. One that could not be looked at may be good.
fn turned_away(fault: AuthFault) -> Close {
    if fault.is_final() { Close::Forbidden } else { Close::TryAgainLater }
}

/// The client has not read it in time.
struct Untaken;

async fn taken(until: Instant, writing: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Untaken> {
    match timeout_at(until, writing).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Untaken),
    }
}

/// Waits until the door closes its connections, or is gone itself.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

fn refusal(id: &str, errors: &[RequestError], correlation_id: Uuid) -> String {
    let reply = Reply::refused(errors, correlation_id);
    with_payload("error", id, reply.errors.as_deref().unwrap_or(b"[]"))
}

/// The way from one operation to the client.
struct Lane {
    id: String,
    generation: u64,
    sender: mpsc::Sender<Outgoing>,
}

impl Lane {
    async fn carry_out(
        self,
        engine: Engine,
        prepared: Arc<Prepared>,
        variables: async_graphql::Variables,
        scope: Arc<RequestScope>,
    ) {
        if prepared.kind() != OperationKind::Subscription {
            let reply = engine.execute(&prepared, variables, scope).await;
            if self.first(&reply, false).await {
                self.send(complete(&self.id), true).await;
            }
            return;
        }
        let mut replies = engine.subscribe(prepared, variables, scope);
        let mut is_first = true;
        while let Some(reply) = replies.next().await {
            let goes_on = if is_first { self.first(&reply, true).await } else { self.event(&reply).await };
            if !goes_on {
                return;
            }
            is_first = false;
        }
        self.send(complete(&self.id), true).await;
    }

    /// An operation that could not be started ends with an `error` message, and no `complete` follows it. A subscription
    /// could not be started when already its first reply has no data; a query without data may have been executed.
    async fn first(&self, reply: &Reply, is_subscription: bool) -> bool {
        match &reply.errors {
            Some(errors) if !reply.executed || (is_subscription && !reply.has_data) => {
                self.send(with_payload("error", &self.id, errors), true).await;
                false
            }
            _ => self.event(reply).await,
        }
    }

    async fn event(&self, reply: &Reply) -> bool {
        self.send(with_payload("next", &self.id, &reply.body), false).await
    }

    async fn send(&self, text: String, last: bool) -> bool {
        let outgoing = Outgoing { id: self.id.clone(), generation: self.generation, text, last };
        self.sender.send(outgoing).await.is_ok()
    }
}
