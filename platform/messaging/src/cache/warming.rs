use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tracing::{debug, info};
use uuid::Uuid;

use super::{Entity, EntityCache, count};

/// Entities that were kept before anybody asked for them, by cache.
pub(super) const WARMED: &str = "vostro_cache_warmed_total";
/// How many are read at once…
const BATCH: i64 = 200;
/// …and how long the database is left to others between two readings.
const PAUSE: Duration = Duration::from_millis(50);

impl<E: Entity> EntityCache<E> {
    /// Keeps what has settled of the newest entities, up to [`Caching::warm`](super::Caching::warm) of them, and says
    /// how many it has kept. Whoever asks for another meanwhile reads it as ever.
    ///
    /// `ask` reads so many of the newest from below an id, by descending ids. When that fails, what is not warm is read
    /// when it is asked for.
    pub async fn warm<F: Display, A>(&self, ask: impl Fn(Option<Uuid>, i64) -> A) -> u64
    where
        A: Future<Output = Result<Vec<E>, F>>,
    {
        Self::show();
        if let Some(shared) = &self.inner.shared {
            shared.open();
        }
        let (mut warmed, mut before, mut left) = (0, None, self.inner.warm);
        while left > 0 {
            let limit = left.min(BATCH);
            let page = match ask(before, limit).await {
                Ok(page) if page.is_empty() => break,
                Ok(page) => page,
                Err(error) => {
                    debug!(cache = E::NAME, %error, "cannot read ahead");
                    break;
                }
            };
            before = page.last().map(Entity::id);
            let settled: Vec<Arc<E>> = page.into_iter().filter(Entity::is_settled).map(Arc::new).collect();
            self.keep_settled(&settled);
            counter!(WARMED, "cache" => E::NAME).increment(count(settled.len()));
            warmed += count(settled.len());
            left -= limit;
            tokio::time::sleep(PAUSE).await;
        }
        info!(cache = E::NAME, warmed, "read ahead what may be asked for");
        warmed
    }
}
