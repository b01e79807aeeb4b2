use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Initiated, Transactions};
use crate::domain::Transaction;
use crate::error::TransactionError;
use crate::store;

type Waiters = HashMap<Uuid, Vec<(u64, oneshot::Sender<Arc<Transaction>>)>>;

/// Callers that wait for outcomes, by transaction.
#[derive(Clone, Default)]
pub(crate) struct Waiting {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    waiters: Waiters,
    next: u64,
}

/// A caller's place in the queue; it is given up when this is dropped, however the caller ended.
pub(crate) struct Place {
    transaction: Uuid,
    number: u64,
    outcome: oneshot::Receiver<Arc<Transaction>>,
    waiting: Waiting,
}

impl Waiting {
    /// Waits from now on for the outcome of the transaction, which need not exist yet.
    pub fn register(&self, transaction: Uuid) -> Place {
        let (sender, outcome) = oneshot::channel();
        let mut inner = self.lock();
        inner.next += 1;
        let number = inner.next;
        inner.waiters.entry(transaction).or_default().push((number, sender));
        Place { transaction, number, outcome, waiting: self.clone() }
    }

    /// Hands an outcome to everybody who waits for it.
    pub fn tell(&self, transaction: &Arc<Transaction>) {
        let waiters = self.lock().waiters.remove(&transaction.id);
        for (_, waiter) in waiters.into_iter().flatten() {
            // Whoever waited may just have given up.
            let _ = waiter.send(Arc::clone(transaction));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.waiting.lock();
        if let Some(waiters) = inner.waiters.get_mut(&self.transaction) {
            waiters.retain(|(number, _)| *number != self.number);
            if waiters.is_empty() {
                inner.waiters.remove(&self.transaction);
            }
        }
    }
}

impl Transactions {
    /// Waits for the ledger's answer, as long as the configuration allows, and returns the transaction in whatever state
    /// it has then. Not having an answer is no error: the command is accepted and will have one.
    pub(super) async fn wait(&self, mut place: Place, initiated: Initiated) -> Result<Initiated, TransactionError> {
        let deadline = tokio::time::Instant::now() + self.shared.config.wait();
        let id = initiated.transaction.id;
        if place.transaction != id {
            // A repetition: the first command's transaction is the one to wait for. It may have ended between the
            // moment it was read and this one.
            place = self.shared.waiting.register(id);
            if let Some(ended) = self.present(id).await?.filter(|transaction| transaction.status.has_ended()) {
                return Ok(Initiated { transaction: Arc::new(ended), ..initiated });
            }
        }
        if let Ok(Ok(transaction)) = tokio::time::timeout_at(deadline, &mut place.outcome).await {
            return Ok(Initiated { transaction, ..initiated });
        }
        // The outcome may have been applied by another instance, which tells its own callers only.
        let present = self.present(id).await?.map(Arc::new);
        Ok(Initiated { transaction: present.unwrap_or(initiated.transaction), ..initiated })
    }

    async fn present(&self, id: Uuid) -> Result<Option<Transaction>, TransactionError> {
        Ok(store::history::by_ids(&self.shared.foundation.pool, &[id]).await?.pop())
    }
}
