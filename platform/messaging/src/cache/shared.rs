use std::sync::Arc;

use metrics::counter;
use uuid::Uuid;

use super::{Entity, SharedStore, count};

/// Entities looked for in Redis, by cache and result: `hit`, `miss`, `unreadable`, or `failed` when it did not answer
/// in time or was not asked because of that.
const REQUESTS: &str = "vostro_cache_shared_requests_total";
/// Entities for Redis, by cache and result: `written`, or `failed` when that is not known or was not tried.
const WRITES: &str = "vostro_cache_shared_writes_total";

/// A type whose settled objects instances of the bank share in a [`SharedStore`]: says how they are written there.
pub trait SharedEntity: Entity + Sized {
    /// The number of this form. Whoever changes the form, or what something in it means, takes the next: what was written in
    /// another is not found.
    const FORM: u16;

    fn write(&self) -> Vec<u8>;

    /// `None` for what [`SharedEntity::write`] does not write.
    fn read(written: &[u8]) -> Option<Self>;
}

/// The second level of a cache. It knows what is settled and nothing else, so nothing in it has to be taken back.
pub(super) struct SharedShelf<E> {
    store: SharedStore,
    form: u16,
    write: fn(&E) -> Vec<u8>,
    read: fn(&[u8]) -> Option<E>,
}

impl<E> Clone for SharedShelf<E> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), ..*self }
    }
}

impl<E: SharedEntity> SharedShelf<E> {
    pub(super) fn new(store: SharedStore) -> Self {
        Self { store, form: E::FORM, write: E::write, read: E::read }
    }
}

impl<E: Entity> SharedShelf<E> {
    /// Counters are there from the start, at zero; and the connection is made.
    pub(super) fn open(&self) {
        for result in ["hit", "miss", "unreadable", "failed"] {
            requests::<E>(result, 0);
        }
        for result in ["written", "failed"] {
            writes::<E>(result, 0);
        }
        self.store.connection();
    }

    /// Those of the entities that are there and can be read.
    pub(super) async fn find(&self, ids: &[Uuid]) -> Vec<Arc<E>> {
        let names: Vec<String> = ids.iter().map(|id| self.name(*id)).collect();
        let Some(values) = self.store.get(&names).await else {
            requests::<E>("failed", ids.len());
            return Vec::new();
        };
        let there: Vec<_> = ids.iter().zip(&names).zip(values).filter_map(|(key, value)| Some((key, value?))).collect();
        let opened = there.iter().filter_map(|((id, name), sealed)| self.opened(**id, name, sealed));
        let found: Vec<Arc<E>> = opened.map(Arc::new).collect();
        requests::<E>("hit", found.len());
        requests::<E>("unreadable", there.len() - found.len());
        requests::<E>("miss", ids.len() - there.len());
        found
    }

    /// Has those kept that are settled. Nobody waits for it.
    pub(super) fn put(&self, entities: &[Arc<E>]) {
        let settled: Vec<Arc<E>> = entities.iter().filter(|entity| entity.is_settled()).cloned().collect();
        if settled.is_empty() {
            return;
        }
        let (Some(leave), Some(_)) = (self.store.leave_to_write(), self.store.connection()) else {
            writes::<E>("failed", settled.len());
            return;
        };
        let shelf = self.clone();
        tokio::spawn(async move {
            let sealed: Vec<_> = settled.iter().map(|entity| shelf.sealed(entity)).collect();
            let result = if shelf.store.put(&sealed).await.is_some() { "written" } else { "failed" };
            writes::<E>(result, settled.len());
            drop(leave);
        });
    }

    fn name(&self, id: Uuid) -> String {
        format!("vostro:{}:{}:{}", E::NAME, self.form, id.simple())
    }

    fn sealed(&self, entity: &E) -> (String, Vec<u8>) {
        let name = self.name(entity.id());
        let sealed = self.store.keys().key(name.as_bytes()).seal(b"", (self.write)(entity));
        (name, sealed)
    }

    /// `None` for what was not put there by the bank under this name.
    fn opened(&self, id: Uuid, name: &str, sealed: &[u8]) -> Option<E> {
        let text = self.store.keys().key(name.as_bytes()).open(b"", sealed)?;
        (self.read)(&text).filter(|entity| entity.id() == id && entity.is_settled())
    }
}

fn requests<E: Entity>(result: &'static str, entities: usize) {
    counter!(REQUESTS, "cache" => E::NAME, "result" => result).increment(count(entities));
}

fn writes<E: Entity>(result: &'static str, entities: usize) {
    counter!(WRITES, "cache" => E::NAME, "result" => result).increment(count(entities));
}
