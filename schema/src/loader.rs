//! Many keys, one question: resolvers of one request that each need a row ask together.
//!
//! A query over twenty transfers resolves twenty accounts, each in a resolver of its own. With a [`Batch`] the first of
//! them waits a moment, takes the keys of all that came after it, and asks once for all. Unlike async-graphql's data
//! loader it has no timer and no task of its own: resolvers of a request are polled by one task, so giving way once is
//! enough for all of them to have named their keys.
//!
//! A query that takes several steps meets the same row again: its caller's account in a list at the first, and as the
//! source of a payment at the second. The request of such a query [remembers](RequestScope::remembers), so each row is
//! asked for once and looks the same wherever it is shown. Nothing else remembers: what a mutation read before it
//! changed something is over, and so is what an event of a subscription showed when the next one comes.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::{Error, Result};
use tokio::sync::watch;

use crate::scope::RequestScope;

type Answer<K, V> = Result<Arc<HashMap<K, V>>, Error>;

/// Collects keys and asks for them together. Lives as long as one request, whose scope [has](Batch::of) it: what one
/// caller may see is not for another.
///
/// ```
/// # use std::collections::HashMap;
/// # use vostro_schema::{guards, loader::Batch};
/// # use uuid::Uuid;
/// # #[derive(Clone)] struct Row;
/// # async fn rows_by_ids(ids: &[Uuid]) -> Result<HashMap<Uuid, Row>, String> { Ok(HashMap::new()) }
/// # async fn resolver(ctx: &async_graphql::Context<'_>, id: Uuid) -> async_graphql::Result<Option<Row>> {
/// Batch::<Uuid, Row>::of(guards::scope(ctx)?)
///     .load(id, async |ids| rows_by_ids(&ids).await.map_err(vostro_schema::faults::internal))
///     .await
/// # }
/// ```
///
/// One type of row has one `Batch` per request. Two questions that return the same type wrap it in types of their own,
/// and whatever an answer depends on (a page, say) is part of the key.
pub struct Batch<K, V> {
    /// Whether what was answered once is the answer to the same key later on.
    remembers: bool,
    rounds: Mutex<Rounds<K, V>>,
}

struct Rounds<K, V> {
    /// Whose keys are still being collected.
    open: Option<Round<K, V>>,
    /// Those that were asked for, by a request that remembers: one for each step of its plan, about.
    asked: Vec<Round<K, V>>,
    /// What was read past this, by a request that remembers. Goes before what was asked for.
    known: HashMap<K, V>,
}

/// The keys collected so far, and where the answer will be told.
struct Round<K, V> {
    keys: HashSet<K>,
    answer: watch::Receiver<Option<Answer<K, V>>>,
}

impl<K, V> Round<K, V> {
    /// A round whose leader has gone without an answer (its resolver was cancelled) is over.
    fn is_led(&self) -> bool {
        self.answer.has_changed().is_ok()
    }

    /// Whether its keys need not be asked for again: they were answered, or will be. A failure is no answer for later.
    fn answers(&self) -> bool {
        match &*self.answer.borrow() {
            Some(answer) => answer.is_ok(),
            None => self.is_led(),
        }
    }
}

impl<K, V> Batch<K, V> {
    fn new(remembers: bool) -> Self {
        Self { remembers, rounds: Mutex::new(Rounds { open: None, asked: Vec::new(), known: HashMap::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Rounds<K, V>> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Send + Sync + 'static, V: Send + Sync + 'static> Batch<K, V> {
    /// The one of this request.
    pub fn of(scope: &RequestScope) -> Arc<Self> {
        scope.shared(|| Self::new(scope.remembers()))
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Batch<K, V> {
    /// The value of a key, or `None` when the answer has none. `ask` is called by one of the resolvers for all keys that
    /// were not answered before.
    ///
    /// # Errors
    /// The error of `ask`, for every key of the round.
    pub async fn load(&self, key: K, ask: impl AsyncFnOnce(Vec<K>) -> Result<HashMap<K, V>>) -> Result<Option<V>> {
        loop {
            match self.join(&key) {
                Role::Knower(value) => return Ok(Some(value)),
                Role::Follower(mut answer) => {
                    let told = answer.wait_for(Option::is_some).await;
                    // When the leader was cancelled there is nothing to wait for, and the key is named once more.
                    if let Some(answer) = told.ok().and_then(|answer| answer.clone()) {
                        return answer.map(|values| values.get(&key).cloned());
                    }
                }
                Role::Leader(tell) => {
                    tokio::task::yield_now().await;
                    let answer = ask(self.close()).await.map(Arc::new);
                    tell.send_replace(Some(answer.clone()));
                    return answer.map(|values| values.get(&key).cloned());
                }
            }
        }
    }

    /// Tells what was read past this, and later than what was answered before: from now on it is the answer.
    pub fn know(&self, key: K, value: V) {
        if self.remembers {
            self.lock().known.insert(key, value);
        }
    }

    /// Tells what a list showed, so that it need not be asked for again.
    pub fn learn(&self, rows: impl IntoIterator<Item = (K, V)>) {
        if self.remembers {
            let known = &mut self.lock().known;
            for (key, value) in rows {
                known.entry(key).or_insert(value);
            }
        }
    }

    fn join(&self, key: &K) -> Role<K, V> {
        let mut rounds = self.lock();
        if let Some(value) = rounds.known.get(key) {
            return Role::Knower(value.clone());
        }
        if let Some(round) = rounds.asked.iter().find(|round| round.keys.contains(key) && round.answers()) {
            return Role::Follower(round.answer.clone());
        }
        if let Some(open) = rounds.open.as_mut().filter(|open| open.is_led()) {
            open.keys.insert(key.clone());
            return Role::Follower(open.answer.clone());
        }
        let (tell, answer) = watch::channel(None);
        rounds.open = Some(Round { keys: HashSet::from([key.clone()]), answer });
        Role::Leader(tell)
    }

    /// Ends collecting, and returns the keys to ask for.
    fn close(&self) -> Vec<K> {
        let mut rounds = self.lock();
        let Some(round) = rounds.open.take() else { return Vec::new() };
        if !self.remembers {
            return round.keys.into_iter().collect();
        }
        let keys = round.keys.iter().cloned().collect();
        rounds.asked.push(round);
        keys
    }
}

enum Role<K, V> {
    /// Asks for all.
    Leader(watch::Sender<Option<Answer<K, V>>>),
    /// Waits for the leader.
    Follower(watch::Receiver<Option<Answer<K, V>>>),
    /// Need not ask.
    Knower(V),
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
                asked.fetch_add(keys.len(), Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(keys.into_iter().filter(|key| *key != 13).map(|key| (key, key * key)).collect())
            })
        });
        join_all(loads).await.into_iter().map(|value| value.expect("an answer")).collect()
    }

    fn asked(counter: &AtomicUsize) -> usize {
        counter.swap(0, Ordering::SeqCst)
    }

    #[tokio::test]
    async fn keys_named_at_the_same_time_are_asked_for_once() {
        let (batch, keys) = (Batch::new(false), AtomicUsize::new(0));
        let values = squares(&batch, (0..200).map(|n| n % 100), &keys).await;
        assert_eq!(asked(&keys), 100);
        assert_eq!((values[7], values[107], values[13]), (Some(49), Some(49), None));
    }

    #[tokio::test]
    async fn keys_are_named_together_in_one_question() {
        let (batch, questions) = (Batch::<u64, u64>::new(false), AtomicUsize::new(0));
        let load = |key| {
            batch.load(key, async |_| {
                questions.fetch_add(1, Ordering::SeqCst);
                Ok(HashMap::new())
            })
        };
        join_all((0..100).map(load)).await;
        assert_eq!(asked(&questions), 1);
    }

    #[tokio::test]
    async fn a_request_that_does_not_remember_asks_again() {
        let (batch, keys) = (Batch::new(false), AtomicUsize::new(0));
        batch.know(5, 0);
        batch.learn([(6, 0)]);
        for _ in 0..2 {
            assert_eq!(squares(&batch, 4..7, &keys).await, [Some(16), Some(25), Some(36)]);
            assert_eq!(asked(&keys), 3);
        }
    }

    #[tokio::test]
    async fn a_request_that_remembers_asks_for_each_key_once() {
        let (batch, keys) = (Batch::new(true), AtomicUsize::new(0));
        squares(&batch, 12..14, &keys).await;
        assert_eq!(asked(&keys), 2);
        assert_eq!(squares(&batch, 12..15, &keys).await, [Some(144), None, Some(196)]);
        assert_eq!(asked(&keys), 1, "what is not there was answered, too");
    }

    #[tokio::test]
    async fn a_key_that_is_being_asked_for_is_waited_for() {
        let (batch, keys) = (Batch::new(true), AtomicUsize::new(0));
        let mut first = squares(&batch, 1..2, &keys).boxed_local();
        // Once to let others name their keys, and once more while the answer is not there.
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut first).is_pending());
        assert_eq!(keys.load(Ordering::SeqCst), 1);
        let (first, second) = futures::join!(first, squares(&batch, 1..3, &keys));
        assert_eq!((first, second), (vec![Some(1)], vec![Some(1), Some(4)]));
        assert_eq!(asked(&keys), 2);
    }

    #[tokio::test]
    async fn what_was_read_past_it_is_the_answer_from_then_on() {
        let (batch, keys) = (Batch::new(true), AtomicUsize::new(0));
        squares(&batch, 3..4, &keys).await;
        batch.know(3, 10);
        batch.learn([(3, 11), (4, 17)]);
        assert_eq!(squares(&batch, 3..5, &keys).await, [Some(10), Some(17)]);
        assert_eq!(asked(&keys), 1);
    }

    #[tokio::test]
    async fn an_error_is_everybodys_and_not_remembered() {
        let (batch, keys) = (Batch::<u64, u64>::new(true), AtomicUsize::new(0));
        let load = |key| batch.load(key, async |_| Err(crate::faults::module_unavailable()));
        let answers = join_all([load(1), load(2)]).await;
        assert!(answers.into_iter().all(|answer| answer.is_err()));
        assert_eq!(squares(&batch, 1..3, &keys).await, [Some(1), Some(4)]);
    }

    #[tokio::test]
    async fn a_leader_that_is_gone_does_not_hold_the_next_one_up() {
        for remembers in [false, true] {
            let (batch, keys) = (Batch::new(remembers), AtomicUsize::new(0));
            let first = batch.load(1, async |_| Ok(HashMap::new())).now_or_never();
            assert!(first.is_none(), "the leader was dropped while it waited");
            assert_eq!(squares(&batch, 1..3, &keys).await, [Some(1), Some(4)]);
        }
    }

    #[tokio::test]
    async fn whoever_followed_a_leader_that_is_gone_asks_instead() {
        let (batch, keys) = (Batch::new(true), AtomicUsize::new(0));
        let mut leader = batch.load(1, async |_| futures::future::pending().await).boxed_local();
        assert!(futures::poll!(&mut leader).is_pending() && futures::poll!(&mut leader).is_pending());
        let mut follower = squares(&batch, 1..2, &keys).boxed_local();
        assert!(futures::poll!(&mut follower).is_pending());
        drop(leader);
        assert_eq!(follower.await, [Some(1)]);
    }
}
