use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Initiated, Transactions};
use crate::domain::Transaction;
use crate::error::TransactionError;
use crate::store;

type Waiters = HashMap<Uuid, Vec<Waiter>>;

/// For how long this process is expected to tell an outcome by itself, and how often the database is asked after that. It
/// is asked once for all who wait: this much later than usual is what an outcome costs that another instance applied.
const LOOK: Duration = Duration::from_millis(100);

struct Waiter {
    number: u64,
    since: Instant,
    outcome: oneshot::Sender<Arc<Transaction>>,
}

/// Callers that wait for outcomes, by transaction.
#[derive(Clone, Default)]
pub(crate) struct Waiting {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    waiters: Waiters,
    next: u64,
    looked_at: Option<Instant>,
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
        inner.waiters.entry(transaction).or_default().push(Waiter { number, since: Instant::now(), outcome: sender });
        Place { transaction, number, outcome, waiting: self.clone() }
    }

    /// Hands an outcome to everybody who waits for it.
    pub fn tell(&self, transaction: &Arc<Transaction>) {
        let waiters = self.lock().waiters.remove(&transaction.id);
        for waiter in waiters.into_iter().flatten() {
            // Whoever waited may just have given up.
            let _ = waiter.outcome.send(Arc::clone(transaction));
        }
    }

    /// The transactions that have been waited for longer than usual, for whoever comes first since the last look.
    fn overdue(&self) -> Vec<Uuid> {
        let mut inner = self.lock();
        let now = Instant::now();
        if inner.looked_at.is_some_and(|looked_at| now < looked_at + LOOK) {
            return Vec::new();
        }
        inner.looked_at = Some(now);
        let is_overdue = |waiters: &[Waiter]| waiters.iter().any(|waiter| waiter.since + LOOK <= now);
        inner.waiters.iter().filter(|(_, waiters)| is_overdue(waiters)).map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.waiting.lock();
        if let Some(waiters) = inner.waiters.get_mut(&self.transaction) {
            waiters.retain(|waiter| waiter.number != self.number);
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
        let deadline = Instant::now() + self.shared.config.wait();
        let id = initiated.transaction.id;
        if place.transaction != id {
            // A repetition: the first command's transaction is the one to wait for. It may have ended between the
            // moment it was read and this one.
            place = self.shared.waiting.register(id);
            if let Some(ended) = self.present(id).await?.filter(|transaction| transaction.status.has_ended()) {
                return Ok(Initiated { transaction: Arc::new(ended), ..initiated });
            }
        }
        loop {
            let until = deadline.min(Instant::now() + LOOK);
            match tokio::time::timeout_at(until, &mut place.outcome).await {
                Ok(Ok(transaction)) => return Ok(Initiated { transaction, ..initiated }),
                Err(_) if until < deadline => self.look_for_the_overdue().await,
                _ => break,
            }
        }
        let present = self.present(id).await?.map(Arc::new);
        Ok(Initiated { transaction: present.unwrap_or(initiated.transaction), ..initiated })
    }

    /// An outcome may have been applied by another instance, which tells its own callers only.
    async fn look_for_the_overdue(&self) {
        let overdue = self.shared.waiting.overdue();
        if overdue.is_empty() {
            return;
        }
        // While the database cannot be asked they wait on, as long as they may.
        let transactions = store::history::by_ids(&self.shared.foundation.pool, &overdue).await.unwrap_or_default();
        for transaction in transactions.into_iter().filter(|transaction| transaction.status.has_ended()) {
            self.shared.waiting.tell(&Arc::new(transaction));
        }
    }

    async fn present(&self, id: Uuid) -> Result<Option<Transaction>, TransactionError> {
        Ok(store::history::by_ids(&self.shared.foundation.pool, &[id]).await?.pop())
    }
}
