use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use sqlx::{PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;
use vostro_kernel::{Clock, Ids};

use crate::rpc::{Asking, Responder};
use crate::{Caching, Company, Handler, Manifest, Outbox, Projection, Subscription};

/// What every module is given to stand on.
#[derive(Clone)]
pub struct Foundation {
    /// Connected as the module's own role: other modules' schemas cannot be seen through it.
    pub pool: PgPool,
    pub outbox: Outbox,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    /// The other instances of the bank.
    pub company: Company,
    /// How the module asks others.
    pub asking: Asking,
    /// What it may keep of what was read.
    pub caching: Caching,
}

impl Foundation {
    /// Begins a transaction in the module's schema, see [`begin`](crate::begin()).
    ///
    /// # Errors
    /// Database faults.
    pub async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        crate::begin(&self.pool).await
    }
}

/// A subscription and the code behind it.
pub struct BoundHandler {
    pub subscription: Subscription,
    pub handler: Arc<dyn Handler>,
}

/// A module cannot begin to work; the text tells an operator why.
#[derive(Debug, thiserror::Error)]
#[error("the {module} module cannot start: {reason}")]
pub struct StartError {
    pub module: &'static str,
    pub reason: String,
}

/// What the application needs of a module to run it. What clients need of it is its facade.
#[async_trait]
pub trait Module: Send + Sync + 'static {
    fn manifest(&self) -> Manifest;

    /// One handler for each subscription of the manifest.
    fn handlers(&self) -> Vec<BoundHandler>;

    /// One responder for each question the manifest says the module serves.
    fn responders(&self) -> Vec<Arc<dyn Responder>> {
        Vec::new()
    }

    /// What it keeps of others' events and can build again from the event store.
    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        Vec::new()
    }

    /// Prepares the module before it serves and consumes: creates what must exist, loads what must be known. Runs at
    /// every start, so it must do nothing the second time.
    ///
    /// # Errors
    /// [`StartError`]; the bank does not become ready.
    async fn start(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// Reads ahead what will soon be asked for. Once, when the instance is ready; it may be cut short at any point.
    async fn warm(&self) {}

    /// Work that goes on beside consuming, such as sending what is queued. It goes on in every instance of the bank, so it
    /// takes what it does by row (`for update skip locked`). Each future ends soon after `stop`.
    fn background(&self, _stop: CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        Vec::new()
    }
}
