use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::Stream;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;
use vostro_kernel::{Currency, RequestContext};
use vostro_messaging::Listener;

use super::{Accounts, Inner, viewer};
use crate::domain::Balance;
use crate::error::AccountError;
use crate::store::{self, Viewer};

/// How an account stands after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceChange {
    pub account_id: Uuid,
    pub currency: Currency,
    /// The balance; its sequence is the number of the entry.
    pub balance: Balance,
    /// The transaction the entry belongs to; `None` for a snapshot of an account without entries.
    pub transaction_id: Option<Uuid>,
    pub occurred_at: DateTime<Utc>,
}

/// One listener's position.
struct Listening {
    accounts: Accounts,
    viewer: Viewer,
    account_id: Uuid,
    feed: Listener<Arc<[BalanceChange]>>,
    /// Up to which entry the listener knows.
    known: i64,
    waiting: VecDeque<BalanceChange>,
}

impl Accounts {
    /// The balance now, and then each change of it; `None` when there is no such account for the caller.
    ///
    /// A balance is a state, so whatever a listener has missed is made up for by one snapshot: at the start unless
    /// `after_sequence` is already the latest, and again when a listener was too slow. Sequences only ever grow.
    /// The stream ends with an error when a snapshot cannot be read.
    ///
    /// # Errors
    /// Database faults.
    pub async fn balance_changes(
        &self,
        context: &RequestContext,
        account_id: Uuid,
        after_sequence: Option<i64>,
    ) -> Result<Option<impl Stream<Item = Result<BalanceChange, AccountError>> + Send + use<>>, AccountError> {
        // Listening first: what is committed between the snapshot and the first news is heard twice, never lost.
        let feed = self.inner.changes.listen();
        let viewer = viewer(context);
        let Some(snapshot) = self.inner.snapshot(viewer, account_id).await? else { return Ok(None) };
        let mut listening = Listening {
            accounts: self.clone(),
            viewer,
            account_id,
            feed,
            known: after_sequence.unwrap_or(-1).min(snapshot.balance.sequence),
            waiting: VecDeque::new(),
        };
        listening.hear(snapshot);
        Ok(Some(futures::stream::unfold(Some(listening), |listening| async move {
            let mut listening = listening?;
            match listening.next().await {
                Ok(Some(change)) => Some((Ok(change), Some(listening))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

impl Listening {
    async fn next(&mut self) -> Result<Option<BalanceChange>, AccountError> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Ok(Some(change));
            }
            match self.feed.recv().await {
                Ok(changes) => {
                    let account_id = self.account_id;
                    changes
                        .iter()
                        .filter(|change| change.account_id == account_id)
                        .for_each(|change| self.hear(*change));
                }
                Err(RecvError::Lagged(_)) => {
                    let snapshot = self.accounts.inner.snapshot(self.viewer, self.account_id).await?;
                    let Some(snapshot) = snapshot else { return Ok(None) };
                    self.hear(snapshot);
                }
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// Queues what the listener does not know yet.
    fn hear(&mut self, change: BalanceChange) {
        if change.balance.sequence > self.known {
            self.known = change.balance.sequence;
            self.waiting.push_back(change);
        }
    }
}

impl Inner {
    async fn snapshot(&self, viewer: Viewer, account_id: Uuid) -> Result<Option<BalanceChange>, AccountError> {
        let pool = &self.foundation.pool;
        let Some(account) = store::accounts::find(pool, viewer, &[account_id]).await?.pop() else { return Ok(None) };
        let transaction_id = store::entries::transaction_of(pool, account_id, account.balance.sequence).await?;
        Ok(Some(BalanceChange {
            account_id,
            currency: account.currency,
            balance: account.balance,
            transaction_id,
            occurred_at: account.balance_at,
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use vostro_events::transaction::{RouteV1, TransactionInitiatedV1, TransactionKind};
    use vostro_kernel::{Money, SystemIds};
    use vostro_messaging::Module;
    use vostro_testkit::{Database, deliver, incoming};

    use super::*;
    use crate::domain::InternalRole;
    use crate::{Config, MIGRATIONS};

    /// Here and not among the module's tests, because only from inside the feed can be filled quickly.
    #[tokio::test]
    async fn a_listener_who_is_too_slow_gets_one_snapshot_for_all_it_missed() {
        let database = Database::create("account", &MIGRATIONS).await;
        let accounts = Accounts::new(database.foundation(), Config::default()).expect("the defaults are valid");
        accounts.start().await.expect("started");
        let euro = "EUR".parse().expect("a currency");
        let [cash, fees] = [InternalRole::Cash, InternalRole::Fees].map(|role| role.account_id(euro));
        let handler = accounts.handlers().remove(0).handler;
        let pay = async || {
            let event = TransactionInitiatedV1 {
                transaction_id: Uuid::now_v7(),
                kind: TransactionKind::Transfer,
                route: RouteV1 {
                    source_account_id: cash,
                    destination_account_id: fees,
                    source_owner_id: None,
                    destination_owner_id: None,
                },
                amount: Money::new(5, euro),
                reference: None,
            };
            deliver(database.pool(), &handler, &[incoming(&event, 1)]).await.expect("posted");
        };
        let context = RequestContext::system(&SystemIds);
        let changes = accounts.balance_changes(&context, fees, None).await.expect("readable").expect("the account");
        let mut changes = std::pin::pin!(changes.map(|change| change.expect("readable").balance));
        assert_eq!(changes.next().await.map(|balance| balance.sequence), Some(0));
        pay().await;
        pay().await;
        for _ in 0..10_000 {
            accounts.inner.changes.tell(Arc::from([]));
        }
        let missed = changes.next().await.expect("a snapshot");
        assert_eq!((missed.sequence, missed.posted), (2, 10));
        pay().await;
        assert_eq!(changes.next().await.map(|balance| balance.sequence), Some(3));
    }
}
