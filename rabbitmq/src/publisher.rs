use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use lapin::Channel;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use metrics::counter;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::error;
use uuid::Uuid;
use vostro_messaging::{Confirms, Frame, PublishError, Publisher, crash};

use crate::confirms::{Verdict, Window, collect, verdict};
use crate::message::{Outgoing, outgoing, short};
use crate::session::Session;
use crate::{ConnectionHealth, Supervisor};

/// Publishes the frames of one module, on a channel of its own, in the order in which they are given to it.
///
/// Messages are written without waiting for each other; one background task per channel (not per message) does it and
/// resolves their confirms. After any failure the connection is given up, and the next [`Publisher::send`] uses a new one.
/// After a refusal it uses a new channel: RabbitMQ (seen on 3.10) remembers for a channel where the leader of each quorum
/// queue was, and where that node is lost, it refuses everything on that channel, also after another was elected.
pub struct AmqpPublisher {
    supervisor: Supervisor,
    app_id: ShortString,
    /// The broker accepts no other name here than the one we logged in with: consumers can believe it.
    user_id: ShortString,
    channel: Mutex<Option<Open>>,
}

/// Why a message was not confirmed, in metrics.
const UNAVAILABLE: &str = "unavailable";
const REFUSED: &str = "refused";
const UNROUTABLE: &str = "unroutable";

type Publication = BoxFuture<'static, Verdict>;

/// A channel and the way to the task that publishes on it and waits for confirms.
struct Open {
    session: Arc<Session>,
    channel: Arc<Channel>,
    windows: mpsc::Sender<Window<Publication>>,
    /// Ends when every confirm has come, once nobody can send any more.
    collecting: JoinHandle<()>,
    /// Whether the broker has refused something on it.
    has_refused: Arc<AtomicBool>,
}

impl AmqpPublisher {
    /// Windows that may wait to be published while others wait for their confirms.
    const QUEUED: usize = 4;

    /// `module` is shown to consumers as the message's `app_id`.
    ///
    /// # Panics
    /// When the module's name or that of its user is longer than 255 bytes.
    pub fn new(supervisor: Supervisor, module: &str) -> Self {
        let app_id = short(module).expect("a module's name is short");
        let user_id = short(supervisor.endpoint().user()).expect("a user's name is short");
        // A counter that appears with its first failure has not increased, as Prometheus sees it.
        for outcome in [UNAVAILABLE, REFUSED, UNROUTABLE] {
            counter!("vostro_publish_failed_total", "module" => module.to_owned(), "outcome" => outcome).increment(0);
        }
        Self { supervisor, app_id, user_id, channel: Mutex::default() }
    }

    /// The connection it publishes on.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    async fn open(&self) -> Result<Open, String> {
        let session = self.supervisor.session().await?;
        let channel = session.open_channel().await?;
        session.demand("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let channel = Arc::new(channel);
        let (windows, receiver) = mpsc::channel(Self::QUEUED);
        let used = session.clone();
        // What has been sent is waited for even when the publisher is dropped meanwhile.
        let kept_open = (self.supervisor.clone(), channel.clone());
        let collecting = tokio::spawn(async move {
            tokio::select! {
                failure = collect(receiver) => if let Some(reason) = failure {
                    used.give_up(&reason);
                },
                // The windows are dropped, which tells their owners.
                () = used.over() => {}
            }
            drop(kept_open);
        });
        Ok(Open { session, channel, windows, collecting, has_refused: Arc::default() })
    }
}

#[async_trait]
impl Publisher for AmqpPublisher {
    async fn send(&self, frames: Vec<Frame>) -> Result<Confirms, PublishError> {
        if frames.is_empty() {
            return Ok(Box::pin(ready(Vec::new())));
        }
        let messages = frames
            .iter()
            .map(|frame| Ok((frame.message_id, outgoing(frame, &self.app_id, &self.user_id)?)))
            .collect::<Result<Vec<_>, String>>()
            .map_err(PublishError::Unavailable)?;
        let mut channel = self.channel.lock().await;
        if let Some(refused) = channel.take_if(|open| open.has_refused.load(Ordering::Relaxed)) {
            refused.settle().await;
        }
        if channel.as_ref().is_none_or(|open| open.session.is_over()) {
            *channel = None;
            *channel = Some(self.open().await.map_err(PublishError::Unavailable)?);
        }
        let open = channel.as_ref().expect("just opened");
        if let Some(reason) = open.session.blocked() {
            return Err(PublishError::Unavailable(format!("the broker accepts no messages: {reason}")));
        }
        let publications: Vec<(Uuid, Publication)> =
            messages.into_iter().map(|(id, message)| (id, open.publication(message))).collect();
        let expected = publications.len();
        let (answer, answered) = oneshot::channel();
        let taken = open.windows.send(Window::new(publications, answer)).await;
        taken.map_err(|_| PublishError::Unavailable(open.session.reason()))?;
        let session = open.session.clone();
        let module = self.app_id.to_string();
        let has_refused = open.has_refused.clone();
        Ok(Box::pin(async move {
            let lost = |_| vec![Err(PublishError::Unavailable(session.reason())); expected];
            let results = answered.await.unwrap_or_else(lost);
            if results.contains(&Err(PublishError::Refused)) {
                has_refused.store(true, Ordering::Relaxed);
            }
            report_failures(&module, &results);
            results
        }))
    }

    fn is_reachable(&self) -> bool {
        !matches!(self.supervisor.health(), ConnectionHealth::Down(_))
    }
}

/// A returned message means that bindings or the alternate exchange are missing; nothing gets through until an operator
/// repairs the topology.
fn report_failures(module: &str, results: &[Result<(), PublishError>]) {
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        let outcome = match error {
            PublishError::Unavailable(_) => UNAVAILABLE,
            PublishError::Refused => REFUSED,
            PublishError::Unroutable { .. } => UNROUTABLE,
        };
        counter!("vostro_publish_failed_total", "module" => module.to_owned(), "outcome" => outcome).increment(1);
    }
    let unroutable = results.iter().find(|result| matches!(result, Err(PublishError::Unroutable { .. })));
    if let Some(Err(error)) = unroutable {
        error!(module, %error, "the broker's topology is broken");
    }
}

impl Open {
    /// Waits until nothing is on its way: on another channel, what follows could overtake it.
    async fn settle(self) {
        drop(self.windows);
        // It panics as little as it is aborted.
        let _ = self.collecting.await;
    }

    /// The message on its way to the broker and the answer on its way back; nothing happens before the first poll.
    fn publication(&self, message: Outgoing) -> Publication {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let channel = self.channel.clone();
        Box::pin(async move {
            // The body is freed as soon as it is written.
            let written = {
                let Outgoing { exchange, routing_key, properties, body } = message;
                crash::point(crash::SENDING, exchange.as_str().trim_start_matches("ev."));
                channel.basic_publish(exchange, routing_key, options, &body, properties).await
            };
            match written {
                Ok(confirm) => verdict(confirm.await),
                Err(error) => Verdict::Lost(error.to_string()),
            }
        })
    }
}
