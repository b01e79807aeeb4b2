//! Many keys, one question: resolvers of one request that each need a row ask together.
//!
//! A query over twenty transfers resolves twenty accounts, each in a resolver of its own. With a [`Batch`] the first of
//! them waits a moment, takes the keys of all that came after it, and asks once for all. Unlike async-graphql's data
//! loader it has no timer and no task of its own: resolvers of a request are polled by one task, so giving way once is
//! enough for all of them to have named their keys.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::{Error, Result};
use tokio::sync::watch;

use crate::faults::internal;

type Answer<K, V> = Result<Arc<HashMap<K, V>>, Error>;

/// Collects keys and asks for them together. Lives as long as one request, in
/// [`RequestScope::shared`](crate::scope::RequestScope::shared): what one caller may see is not for another.
///
/// ```
/// # use std::collections::HashMap;
/// # use vostro_schema::{guards, loader::Batch};
/// # use uuid::Uuid;
/// # #[derive(Clone)] struct Row;
/// # async fn rows_by_ids(ids: &[Uuid]) -> Result<HashMap<Uuid, Row>, String> { Ok(HashMap::new()) }
/// # async fn resolver(ctx: &async_graphql::Context<'_>, id: Uuid) -> async_graphql::Result<Option<Row>> {
/// guards::scope(ctx)?
///     .shared(Batch::<Uuid, Row>::default)
///     .load(id, async |ids| rows_by_ids(&ids).await.map_err(vostro_schema::faults::internal))
///     .await
/// # }
/// ```
///
/// One type of row has one `Batch` per request. Two questions that return the same type wrap it in types of their own.
pub struct Batch<K, V> {
    round: Mutex<Option<Round<K, V>>>,
}

/// The keys collected so far, and where the answer will be told.
struct Round<K, V> {
    keys: HashSet<K>,
    answer: watch::Receiver<Option<Answer<K, V>>>,
}

impl<K, V> Default for Batch<K, V> {
    fn default() -> Self {
        Self { round: Mutex::new(None) }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Batch<K, V> {
    /// The value of a key, or `None` when the answer has none. `ask` is called by one of the resolvers for all keys.
    ///
    /// # Errors
    /// The error of `ask`, for every key of the round.
    pub async fn load(&self, key: K, ask: impl AsyncFnOnce(Vec<K>) -> Result<HashMap<K, V>>) -> Result<Option<V>> {
        let answer = match self.join(key.clone()) {
            Role::Follower(mut answer) => {
                let told = answer.wait_for(Option::is_some).await;
                told.ok().and_then(|answer| answer.clone()).unwrap_or_else(|| Err(internal("the question was dropped")))
            }
            Role::Leader(tell) => {
                tokio::task::yield_now().await;
                let keys = self.lock().take().map(|round| round.keys).unwrap_or_default();
                let answer = ask(keys.into_iter().collect()).await.map(Arc::new);
                tell.send_replace(Some(answer.clone()));
                answer
            }
        };
        answer.map(|values| values.get(&key).cloned())
    }

    fn join(&self, key: K) -> Role<K, V> {
        let mut round = self.lock();
        // A round whose leader has gone (its request was cancelled) is over.
        if let Some(open) = round.as_mut().filter(|open| open.answer.has_changed().is_ok()) {
            open.keys.insert(key);
            return Role::Follower(open.answer.clone());
        }
        let (tell, answer) = watch::channel(None);
        *round = Some(Round { keys: HashSet::from([key]), answer });
        Role::Leader(tell)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Round<K, V>>> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Role<K, V> {
    /// Asks for all.
    Leader(watch::Sender<Option<Answer<K, V>>>),
    /// Waits for the leader.
    Follower(watch::Receiver<Option<Answer<K, V>>>),
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;

    async fn squares(
        batch: &Batch<u64, u64>,
        keys: impl Iterator<Item = u64>,
        asked: &AtomicUsize,
    ) -> Vec<Option<u64>> {
        let loads = keys.map(|key| {
            batch.load(key, async |keys: Vec<u64>| {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(keys.into_iter().filter(|key| *key != 13).map(|key| (key, key * key)).collect())
            })
        });
        join_all(loads).await.into_iter().map(|value| value.expect("an answer")).collect()
    }

    #[tokio::test]
    async fn keys_named_at_the_same_time_are_asked_for_once() {
        let (batch, asked) = (Batch::default(), AtomicUsize::new(0));
        let values = squares(&batch, (0..200).map(|n| n % 100), &asked).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!((values[7], values[107], values[13]), (Some(49), Some(49), None));
        squares(&batch, 0..3, &asked).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_error_is_everybodys() {
        let batch = Batch::<u64, u64>::default();
        let load = |key| batch.load(key, async |_| Err(crate::faults::module_unavailable()));
        let answers = join_all([load(1), load(2)]).await;
        assert!(answers.into_iter().all(|answer| answer.is_err()));
    }

    #[tokio::test]
    async fn a_leader_that_is_gone_does_not_hold_the_next_one_up() {
        let (batch, asked) = (Batch::default(), AtomicUsize::new(0));
        let first = batch.load(1, async |_| Ok(HashMap::new())).now_or_never();
        assert!(first.is_none(), "the leader was dropped while it waited");
        assert_eq!(squares(&batch, 2..3, &asked).await, [Some(4)]);
    }
}
