//! What was read a moment ago, for those who only want to look.
//!
//! An [`EntityCache`] keeps whole entities of one module by their id: facts, not answers. Who may see one is decided
//! with each read, from the entity itself, so neither a changed role nor a logout has to be heard of here. Commands
//! never read it.
//!
//! Two kinds of entities are kept. What is *settled* never changes again, and is right for ever. Everything else is kept
//!
//! - only while every other instance of the module can be heard ([`EntityCache::hear`]): they say what they change;
//! - never while somebody here changes it ([`EntityCache::changing`]): from before the commit until after it, readers go to
//!   the database, so that nobody sees after a commit of this instance what was before it;
//! - only when nothing was said about it since its reading began, and never in place of a later edition: a slow reader
//!   does not put back what is over;
//! - for [`Caching::time_to_live`] at most, which bounds what can be wrong when an instance ends between its commit and
//!   telling of it, or the outcome of a commit is not known.
//!
//! One reader after another in one instance therefore sees editions that only grow.
//!
//! What is settled needs none of this, so it may also lie in a Redis where all instances find it ([`SharedEntity`],
//! [`SharedStore`]), and be read before anybody asks for it ([`EntityCache::warm`]).

mod hearing;
mod shared;
mod shelf;
mod store;
#[cfg(test)]
mod tests;
mod warming;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use uuid::Uuid;

use hearing::Hearing;
use shared::SharedShelf;
use shelf::{EVICTIONS, Flight, REFUSED, Shelf};
use warming::WARMED;

pub use shared::SharedEntity;
pub use store::{SharedStore, UnknownAddress};

/// Entities looked up, by cache and result (`hit` or `miss`).
const REQUESTS: &str = "vostro_cache_requests_total";

/// How much is kept, and for how long.
#[derive(Debug, Clone)]
pub struct Caching {
    /// The most entities of one type; 0 to keep none.
    pub entities: u64,
    /// How long one that may change is kept at most, whatever is heard or not heard of it.
    pub time_to_live: Duration,
    /// Of how many of the newest entities [`EntityCache::warm`] keeps what has settled; 0 for none.
    pub warm: u32,
    /// Where instances share what is settled.
    pub shared: Option<SharedStore>,
}

impl Caching {
    /// Every read goes to the database.
    pub const OFF: Self = Self { entities: 0, time_to_live: Duration::ZERO, warm: 0, shared: None };
}

/// A type whose objects may be kept: says how.
pub trait Entity: Send + Sync + 'static {
    /// What the cache is called in metrics, and where its instances tell each other what they change.
    const NAME: &'static str;

    fn id(&self) -> Uuid;

    /// Grows with each change of it.
    fn edition(&self) -> i64;

    /// Whether it never changes again.
    fn is_settled(&self) -> bool;
}

/// Keeps entities of one type for one instance of the bank. Cheap to clone: clones are the same.
pub struct EntityCache<E> {
    inner: Arc<Inner<E>>,
}

struct Inner<E> {
    shelf: Shelf<E>,
    hearing: Hearing,
    warm: i64,
    shared: Option<SharedShelf<E>>,
}

impl<E> Clone for EntityCache<E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<E: SharedEntity> EntityCache<E> {
    /// One that also finds what is settled where instances share it, if the configuration names such a place.
    pub fn sharing(caching: &Caching) -> Self {
        let shared = caching.shared.clone().filter(|_| caching.entities > 0);
        Self::with(caching, shared.map(SharedShelf::new))
    }
}

impl<E: Entity> EntityCache<E> {
    pub fn new(caching: &Caching) -> Self {
        Self::with(caching, None)
    }

    fn with(caching: &Caching, shared: Option<SharedShelf<E>>) -> Self {
        // What there is no room for need not be read.
        let warm = i64::try_from(caching.entities).unwrap_or(i64::MAX).min(caching.warm.into());
        let shelf = Shelf::new(caching);
        Self { inner: Arc::new(Inner { shelf, hearing: Hearing::default(), warm, shared }) }
    }

    /// The entities with these ids that exist, in no particular order: what is kept, and for the others what `ask` reads.
    /// Whether the caller may see them is not asked here.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn read<F>(
        &self,
        ids: &[Uuid],
        ask: impl AsyncFnOnce(Vec<Uuid>) -> Result<Vec<E>, F>,
    ) -> Result<Vec<Arc<E>>, F> {
        if self.inner.shelf.is_off() {
            return Ok(ask(ids.to_vec()).await?.into_iter().map(Arc::new).collect());
        }
        let (mut ids, can_hear) = (ids.to_vec(), self.inner.hearing.is_sound());
        ids.sort_unstable();
        ids.dedup();
        let (mut found, mut missing) = self.inner.shelf.look(&ids, can_hear);
        counter!(REQUESTS, "cache" => E::NAME, "result" => "hit").increment(count(found.len()));
        counter!(REQUESTS, "cache" => E::NAME, "result" => "miss").increment(count(missing.len()));
        if let Some(shared) = self.inner.shared.as_ref().filter(|_| !missing.is_empty()) {
            let settled = shared.find(&missing).await;
            self.keep_settled(&settled);
            let there: HashSet<Uuid> = settled.iter().map(|entity| entity.id()).collect();
            missing.retain(|id| !there.contains(id));
            found.extend(settled);
        }
        if !missing.is_empty() {
            found.extend(self.read_anew(&missing, ask).await?);
        }
        Ok(found)
    }

    /// The same past what is kept, for whoever knows that there is something newer. What is read is kept.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn read_anew<F>(
        &self,
        ids: &[Uuid],
        ask: impl AsyncFnOnce(Vec<Uuid>) -> Result<Vec<E>, F>,
    ) -> Result<Vec<Arc<E>>, F> {
        // Before the question: what is said from now on may be about something newer than its answer.
        let flight = Flight::begin(&self.inner.shelf, ids);
        let read: Vec<Arc<E>> = ask(ids.to_vec()).await?.into_iter().map(Arc::new).collect();
        flight.land(&read, || self.inner.hearing.is_sound());
        if let Some(shared) = &self.inner.shared {
            shared.put(&read);
        }
        Ok(read)
    }

    /// Keeps what is settled, wherever it was read and whenever: it is right for ever.
    fn keep_settled(&self, settled: &[Arc<E>]) {
        let ids: Vec<Uuid> = settled.iter().map(|entity| entity.id()).collect();
        Flight::begin(&self.inner.shelf, &ids).land(settled, || false);
    }

    /// Says that these are being changed here. Take it before the commit, and drop it when the outcome is there: until then
    /// nobody is given what is kept of them, and afterwards nothing is. Other instances are told then.
    #[must_use = "the change is over when this is dropped"]
    pub fn changing(&self, ids: Vec<Uuid>) -> Changing<E> {
        self.inner.shelf.begin_change(&ids);
        Changing { inner: Arc::clone(&self.inner), ids }
    }

    /// Counters are there from the start, at zero.
    fn show() {
        let counters = [(REQUESTS, "result", "hit"), (REQUESTS, "result", "miss"), (EVICTIONS, "cause", "changed")];
        for (name, label, value) in counters.into_iter().chain([(EVICTIONS, "cause", "size")]) {
            counter!(name, "cache" => E::NAME, label => value).increment(0);
        }
        for name in [REFUSED, WARMED] {
            counter!(name, "cache" => E::NAME).increment(0);
        }
    }
}

/// A change that is under way, see [`EntityCache::changing`].
pub struct Changing<E: Entity> {
    inner: Arc<Inner<E>>,
    ids: Vec<Uuid>,
}

impl<E: Entity> Drop for Changing<E> {
    fn drop(&mut self) {
        self.inner.shelf.end_change(&self.ids);
        self.inner.hearing.tell(&self.ids);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
