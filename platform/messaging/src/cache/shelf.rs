use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::counter;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Caching, Entity};

/// Rows that were not kept because something newer was known, or might have been.
pub(super) const REFUSED: &str = "vostro_cache_stale_refused_total";
/// Entities that were taken out, by cache and cause (`changed` or `size`).
pub(super) const EVICTIONS: &str = "vostro_cache_evictions_total";

/// What is kept, and who reads and changes what just now.
pub(super) struct Shelf<E> {
    time_to_live: Duration,
    /// `None`: nothing is kept. Written under the lock of `traffic` only, so that what is put and what is taken away have
    /// an order.
    kept: Option<Cache<Uuid, Kept<E>>>,
    traffic: Mutex<Traffic>,
}

struct Kept<E> {
    entity: Arc<E>,
    until: Instant,
}

impl<E> Clone for Kept<E> {
    fn clone(&self) -> Self {
        Self { entity: Arc::clone(&self.entity), until: self.until }
    }
}

/// The entities that are being read from the database or changed just now: few, and none is left when nobody does.
#[derive(Default)]
struct Traffic {
    /// Counts what was said.
    clock: u64,
    places: HashMap<Uuid, Place>,
}

#[derive(Default)]
struct Place {
    readers: u32,
    writers: u32,
    /// When it was last said to be changed. Whoever began to read before may have read what was before.
    changed_at: u64,
    /// The latest edition that somebody has read meanwhile.
    read: i64,
}

impl Place {
    const fn is_left(&self) -> bool {
        self.readers == 0 && self.writers == 0
    }
}

impl<E: Entity> Shelf<E> {
    pub(super) fn new(caching: &Caching) -> Self {
        let kept = (caching.entities > 0).then(|| {
            Cache::builder()
                .max_capacity(caching.entities)
                .eviction_listener(|_, _, cause| match cause {
                    RemovalCause::Size => counter!(EVICTIONS, "cache" => E::NAME, "cause" => "size").increment(1),
                    RemovalCause::Explicit => {
                        counter!(EVICTIONS, "cache" => E::NAME, "cause" => "changed").increment(1);
                    }
                    RemovalCause::Replaced | RemovalCause::Expired => {}
                })
                .build()
        });
        Self { time_to_live: caching.time_to_live, kept, traffic: Mutex::default() }
    }

    pub(super) const fn is_off(&self) -> bool {
        self.kept.is_none()
    }

    /// What is kept of these, and the ids of the others. Without hearing others, only what is settled.
    pub(super) fn look(&self, ids: &[Uuid], can_hear: bool) -> (Vec<Arc<E>>, Vec<Uuid>) {
        let (mut found, mut missing) = (Vec::with_capacity(ids.len()), Vec::new());
        let (now, traffic) = (Instant::now(), self.traffic());
        for id in ids {
            let is_changing = traffic.places.get(id).is_some_and(|place| place.writers > 0);
            let kept = self.kept.as_ref().filter(|_| !is_changing).and_then(|kept| kept.get(id));
            match kept.filter(|kept| kept.entity.is_settled() || (can_hear && now < kept.until)) {
                Some(kept) => found.push(kept.entity),
                None => missing.push(*id),
            }
        }
        (found, missing)
    }

    pub(super) fn begin_change(&self, ids: &[Uuid]) {
        if self.is_off() {
            return;
        }
        let mut traffic = self.traffic();
        for id in ids {
            traffic.places.entry(*id).or_default().writers += 1;
        }
    }

    pub(super) fn end_change(&self, ids: &[Uuid]) {
        if self.is_off() {
            return;
        }
        let mut traffic = self.traffic();
        self.forget_in(&mut traffic, ids);
        for id in ids {
            traffic.leave(id, |place| place.writers -= 1);
        }
    }

    /// Somebody else has changed these.
    pub(super) fn forget(&self, ids: &[Uuid]) {
        self.forget_in(&mut self.traffic(), ids);
    }

    /// Anything may have been changed.
    pub(super) fn forget_all(&self) {
        let mut traffic = self.traffic();
        traffic.clock += 1;
        let clock = traffic.clock;
        traffic.places.values_mut().for_each(|place| place.changed_at = clock);
        self.kept.as_ref().inspect(|kept| kept.invalidate_all());
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| {
            kept.run_pending_tasks();
            kept.entry_count()
        })
    }

    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        self.traffic().places.is_empty()
    }

    fn forget_in(&self, traffic: &mut Traffic, ids: &[Uuid]) {
        traffic.clock += 1;
        let clock = traffic.clock;
        for id in ids {
            if let Some(place) = traffic.places.get_mut(id) {
                place.changed_at = clock;
            }
            self.kept.as_ref().inspect(|kept| kept.invalidate(id));
        }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic {
    fn leave(&mut self, id: &Uuid, go: impl FnOnce(&mut Place)) {
        if let Entry::Occupied(mut entry) = self.places.entry(*id) {
            go(entry.get_mut());
            if entry.get().is_left() {
                entry.remove();
            }
        }
    }
}

/// Somebody reads these from the database.
pub(super) struct Flight<'a, E: Entity> {
    shelf: &'a Shelf<E>,
    ids: &'a [Uuid],
    began: u64,
}

impl<'a, E: Entity> Flight<'a, E> {
    pub(super) fn begin(shelf: &'a Shelf<E>, ids: &'a [Uuid]) -> Self {
        let mut traffic = shelf.traffic();
        for id in ids {
            traffic.places.entry(*id).or_default().readers += 1;
        }
        let began = traffic.clock;
        Self { shelf, ids, began }
    }

    /// Keeps what was read, as far as it may be.
    pub(super) fn land(self, read: &[Arc<E>], can_hear: impl FnOnce() -> bool) {
        let Some(kept) = &self.shelf.kept else { return };
        let mut traffic = self.shelf.traffic();
        // Under the lock: whoever stops hearing empties the shelf behind it.
        let (can_hear, mut refused) = (can_hear(), 0);
        for entity in read {
            let Some(place) = traffic.places.get_mut(&entity.id()) else { continue };
            let edition = entity.edition();
            // What somebody read before this reading began, it has read too: only those beside it can be ahead.
            let is_current = place.writers == 0 && place.changed_at <= self.began && edition >= place.read;
            place.read = place.read.max(edition);
            if entity.is_settled() || (can_hear && is_current) {
                let until = Instant::now() + self.shelf.time_to_live;
                kept.insert(entity.id(), Kept { entity: Arc::clone(entity), until });
                continue;
            }
            refused += u64::from(!is_current);
            // Whoever has seen this is not to be given what was before it.
            if kept.get(&entity.id()).is_some_and(|kept| kept.entity.edition() < edition) {
                kept.invalidate(&entity.id());
            }
        }
        counter!(REFUSED, "cache" => E::NAME).increment(refused);
    }
}

impl<E: Entity> Drop for Flight<'_, E> {
    /// Also when nothing came of it: the question failed, or nobody waits for the answer any more.
    fn drop(&mut self) {
        let mut traffic = self.shelf.traffic();
        for id in self.ids {
            traffic.leave(id, |place| place.readers -= 1);
        }
    }
}
