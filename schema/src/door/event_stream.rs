//! Operations over server-sent events: the "distinct connections" mode of `graphql-sse`, one request per operation.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::auth::by_headers;
use super::{AuthFault, Door, Principal};
use crate::stitch::{OperationKind, Reply, RequestError};

/// How a stream comes to an end.
enum Stage {
    Running,
    /// Everything has been said but the last word.
    Completing,
    Over,
}

struct Streaming {
    replies: BoxStream<'static, Reply>,
    keep_alive: Duration,
    expires: Instant,
    /// What the caller proved itself with, and to whom: looked at again from time to time; `None` for what runs to its
    /// end all the same.
    credentials: Option<(Arc<Door>, HeaderMap)>,
    look_at: Instant,
    /// Tells when the server closes; `None` for what runs to its end all the same.
    closing: Option<watch::Receiver<bool>>,
    correlation_id: Uuid,
    stage: Stage,
}

/// A far away instant, for a token that does not expire.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Events that are there when the token expires are still told, but no longer than this: a reader slower than the
/// events would otherwise keep a dead token alive.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// Writes replies as they come. A subscription is over with its events, its token's time or the server; a query or a
/// mutation that has begun is answered whatever happens meanwhile, as the client cannot know otherwise what it did.
/// Dropping the body ends the operation.
pub fn respond(
    door: &Arc<Door>,
    headers: &HeaderMap,
    principal: &Principal,
    kind: OperationKind,
    replies: BoxStream<'static, Reply>,
    correlation_id: Uuid,
) -> Response {
    let ends_early = kind == OperationKind::Subscription;
    let expires_at = principal.expires_at.filter(|_| ends_early);
    let left = expires_at.map_or(NEVER, |at| (at - door.clock.now()).to_std().unwrap_or_default());
    stream(Streaming {
        replies,
        keep_alive: door.config.keep_alive,
        expires: Instant::now() + left.min(NEVER),
        credentials: ends_early.then(|| (Arc::clone(door), headers.clone())),
        look_at: Instant::now() + door.config.keep_alive,
        closing: ends_early.then(|| door.closing.subscribe()),
        correlation_id,
        stage: Stage::Running,
    })
}

/// The same for whoever watches tokens itself: over with its events or the server.
pub fn until(
    replies: BoxStream<'static, Reply>,
    keep_alive: Duration,
    closing: watch::Receiver<bool>,
    correlation_id: Uuid,
) -> Response {
    let now = Instant::now();
    stream(Streaming {
        replies,
        keep_alive,
        expires: now + NEVER,
        credentials: None,
        look_at: now,
        closing: Some(closing),
        correlation_id,
        stage: Stage::Running,
    })
}

fn stream(streaming: Streaming) -> Response {
    let events = futures::stream::unfold(streaming, |mut streaming| async move {
        let event = streaming.next().await?;
        Some((Ok::<_, Infallible>(event), streaming))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // Otherwise a proxy may collect events until they are worth sending.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Streaming {
    async fn next(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::Running => {}
            Stage::Completing => {
                self.stage = Stage::Over;
                return Some(Bytes::from_static(b"event: complete\ndata:\n\n"));
            }
            Stage::Over => return None,
        }
        let overdue = Instant::now() >= self.expires + LAST_EVENTS;
        if let Err(fault) = self.look_again().await {
            self.stage = Stage::Completing;
            return Some(next_event(&Reply::refused(&[fault.into()], self.correlation_id)));
        }
        tokio::select! {
            biased;
            // Nothing is complete: without the last word the client knows that it has to come back.
            () = closed(self.closing.clone()) => {
                self.stage = Stage::Over;
                None
            }
            reply = self.replies.next(), if !overdue => match reply {
                Some(reply) => Some(next_event(&reply)),
                None => {
                    self.stage = Stage::Over;
                    Some(Bytes::from_static(b"event: complete\ndata:\n\n"))
                }
            },
            () = sleep_until(self.expires) => {
                self.stage = Stage::Completing;
                let error = RequestError::from(AuthFault::Expired);
                Some(next_event(&Reply::refused(&[error], self.correlation_id)))
            }
            () = tokio::time::sleep(self.keep_alive) => Some(Bytes::from_static(b":\n\n")),
        }
    }

    /// Whether the caller is still who it was: it may have logged out meanwhile.
    async fn look_again(&mut self) -> Result<(), AuthFault> {
        let due = self.credentials.as_ref().filter(|_| Instant::now() >= self.look_at);
        let Some((door, headers)) = due else { return Ok(()) };
        self.look_at = Instant::now() + self.keep_alive;
        match by_headers(door.authenticator.as_ref(), headers).await {
            Err(fault) if fault.is_final() => Err(fault),
            _ => Ok(()),
        }
    }
}

/// Waits until the server closes.
async fn closed(closing: Option<watch::Receiver<bool>>) {
    match closing {
        // An error is a door that is gone.
        Some(mut closing) => drop(closing.wait_for(|closing| *closing).await),
        None => futures::future::pending().await,
    }
}

/// JSON has no line breaks outside of strings, and in them they are escaped: a reply is one line.
fn next_event(reply: &Reply) -> Bytes {
    let mut event = Vec::with_capacity(reply.body.len() + 24);
    event.extend_from_slice(b"event: next\ndata: ");
    event.extend_from_slice(&reply.body);
    event.extend_from_slice(b"\n\n");
    event.into()
}
