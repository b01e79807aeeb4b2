mod inbox;
mod preferences;
mod receipts;
mod received;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_kernel::{Refusal, RequestContext};
use vostro_messaging::{BoundHandler, ContactKey, Foundation, LiveFeed, Manifest, Module, Projection, StartError};

use crate::adapters::{self, MailTransport};
use crate::consume::{Arrived, BusinessEvents};
use crate::domain::{Backoff, Locale};
use crate::manifest::{BUSINESS_EVENTS, MODULE};
use crate::projection::{AccountProjection, RecipientProjection};
use crate::publish;
use crate::sender::Sender;
use crate::templates::Templates;
use crate::{Config, NotificationError, NotificationErrorCode};

pub use inbox::Filter;
pub use preferences::Preference;
use receipts::Receipts;
use received::ArrivedElsewhere;
pub use received::{Arrival, Start};

/// The notification module. Cheap to clone.
#[derive(Clone)]
pub struct Notifications(Arc<Inner>);

struct Inner {
    foundation: Foundation,
    templates: Arc<Templates>,
    arrivals: LiveFeed<Uuid, Arrived>,
    receipts: Receipts,
    handler: Arc<BusinessEvents>,
    transport: Arc<dyn MailTransport>,
    sender: Arc<Sender>,
}

impl Notifications {
    /// Sets the module up; must be called inside a Tokio runtime. `contact_key` is the one auth seals contacts with.
    ///
    /// # Errors
    /// [`StartError`] naming the configuration key that is wrong.
    pub fn new(foundation: Foundation, config: Config, contact_key: Arc<ContactKey>) -> Result<Self, StartError> {
        let wrong = |reason: String| StartError { module: MODULE, reason };
        config.validate().map_err(wrong)?;
        let default_locale: Locale = config.locale().map_err(wrong)?;
        let templates = Arc::new(Templates::new(&config.bank).map_err(|error| wrong(error.to_string()))?);
        let transport = adapters::transport(&config.email).map_err(wrong)?;
        let (arrivals, queued) = (LiveFeed::new(foundation.company.clone()), Arc::new(Notify::new()));
        let handler = Arc::new(BusinessEvents {
            foundation: foundation.clone(),
            default_locale,
            arrivals: arrivals.clone(),
            queued: Arc::clone(&queued),
        });
        let sender = Arc::new(Sender {
            foundation: foundation.clone(),
            transport: Arc::clone(&transport),
            templates: Arc::clone(&templates),
            key: contact_key,
            from: config.email.sender().map_err(wrong)?,
            backoff: Backoff {
                first: Duration::from_secs(config.email.retry_seconds),
                longest: Duration::from_secs(config.email.retry_max_seconds),
                attempts: config.email.max_attempts,
            },
            concurrency: config.email.concurrency,
            timeout: config.email.timeout(),
            contact_wait: Duration::from_secs(config.email.contact_wait_seconds),
            queued,
        });
        let receipts = Receipts::new(foundation.clone());
        Ok(Self(Arc::new(Inner { foundation, templates, arrivals, receipts, handler, transport, sender })))
    }

    /// Sends the e-mails that are due now, one bounded pass, and returns how many were taken from the queue. The
    /// background worker does this by itself; for operators and tests.
    ///
    /// # Errors
    /// Database faults.
    pub async fn send_due_emails(&self) -> Result<usize, NotificationError> {
        Ok(self.0.sender.pass().await?.claimed)
    }

    /// Records a refused command, in a transaction of its own as nothing else changes, and returns the refusal.
    async fn refuse(
        &self,
        context: &RequestContext,
        command: &'static str,
        refusal: Refusal<NotificationErrorCode>,
        subject: Option<Uuid>,
    ) -> NotificationError {
        let Foundation { pool, outbox, clock, ids, .. } = &self.0.foundation;
        let event = publish::refused(ids.as_ref(), context, command, refusal.code, subject, clock.now());
        let recorded = async {
            let mut connection = pool.acquire().await?;
            outbox.append_in_tx(&mut connection, vec![event]).await
        };
        match recorded.await {
            Ok(()) => {
                outbox.committed();
                refusal.into()
            }
            Err(error) => error.into(),
        }
    }
}

/// The person a request is from. Nobody has notifications but people who are logged in.
fn person(context: &RequestContext) -> Result<Uuid, NotificationError> {
    context.actor.id.ok_or_else(|| NotificationErrorCode::NotFound.into())
}

#[async_trait]
impl Module for Notifications {
    fn manifest(&self) -> Manifest {
        crate::manifest()
    }

    fn handlers(&self) -> Vec<BoundHandler> {
        vec![BoundHandler { subscription: BUSINESS_EVENTS, handler: Arc::clone(&self.0.handler) as _ }]
    }

    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        vec![Arc::new(RecipientProjection), Arc::new(AccountProjection)]
    }

    async fn start(&self) -> Result<(), StartError> {
        self.0.transport.prepare().await.map_err(|reason| StartError { module: MODULE, reason })
    }

    fn background(&self, stop: CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        let feed = self.0.arrivals.clone();
        let elsewhere = ArrivedElsewhere::new(self.0.foundation.pool.clone());
        vec![Box::pin(Arc::clone(&self.0.sender).run(stop.clone())), Box::pin(feed.look_around(elsewhere, stop))]
    }
}
