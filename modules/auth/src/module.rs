use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use vostro_messaging::rpc::Responder;
use vostro_messaging::{BoundHandler, Manifest, Module, StartError};

use crate::manifest::{MODULE, manifest};
use crate::{Auth, AuthError, respond, store};

/// How often keys are tended and leftovers are swept.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

#[async_trait]
impl Module for Auth {
    fn manifest(&self) -> Manifest {
        manifest()
    }

    fn handlers(&self) -> Vec<BoundHandler> {
        Vec::new()
    }

    fn responders(&self) -> Vec<Arc<dyn Responder>> {
        respond::responders(&self.inner)
    }

    /// Makes the signing keys when there are none, and learns which sessions have ended.
    async fn start(&self) -> Result<(), StartError> {
        let failed = |error: AuthError| StartError { module: MODULE, reason: in_full(&error) };
        self.inner.tend_keys(false).await.map_err(failed)?;
        self.inner.look().await.map_err(failed)
    }

    fn background(&self, stop: CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        let (watching, keeping) = (self.clone(), self.clone());
        let watch = every(Duration::from_millis(self.inner.config.poll_ms), stop.clone(), move || {
            let auth = watching.clone();
            async move { auth.inner.look().await }
        });
        let hear = self.inner.seen.clone().hear(self.inner.foundation.pool.clone(), stop.clone());
        let keep = every(HOUSEKEEPING, stop, move || {
            let auth = keeping.clone();
            async move { auth.keep_house().await }
        });
        vec![Box::pin(watch), Box::pin(keep), Box::pin(hear)]
    }
}

impl Auth {
    /// Replaces keys that are old and deletes what nobody needs any more.
    async fn keep_house(&self) -> Result<(), AuthError> {
        self.inner.tend_keys(false).await?;
        let foundation = &self.inner.foundation;
        store::sweep(&foundation.pool, foundation.clock.now()).await?;
        Ok(())
    }
}

/// Does `work` again and again until `stop`. What fails is tried again the next time, and said once per series of
/// failures.
async fn every<F, Fut>(period: Duration, stop: CancellationToken, work: F)
where
    F: Fn() -> Fut + Send,
    Fut: Future<Output = Result<(), AuthError>> + Send,
{
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let result = tokio::select! {
            result = work() => result,
            () = stop.cancelled() => return,
        };
        if let (Err(error), false) = (&result, failing) {
            warn!(module = MODULE, error = in_full(error), "work in the background failed and will be tried again");
        }
        failing = result.is_err();
    }
}

/// The error and what is behind it, for a person.
fn in_full(error: &AuthError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
