use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::Listener;

use super::{Filter, Shared, Transactions};
use crate::domain::Transaction;
use crate::error::{TransactionError, TransactionErrorCode};
use crate::store;

/// What to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// One transaction, to its end.
    Transaction(Uuid),
    /// Everything an account takes part in.
    Account(Uuid),
}

/// A transaction as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub transaction: Arc<Transaction>,
}

impl Update {
    /// 1 when the transaction was initiated, 2 when it ended.
    pub fn sequence(&self) -> i64 {
        self.transaction.sequence()
    }

    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.transaction.occurred_at()
    }
}

/// How many of an account's latest transactions its snapshot has.
const SNAPSHOT: i64 = 20;

impl Transactions {
    /// The state now, and then every change. An account's snapshot is its 20 latest transactions, oldest
    /// first; the stream of a single transaction ends with its outcome. Only updates with a sequence above `after` are
    /// told. A listener who was too slow gets a snapshot again in place of what it missed, and from time to time while there
    /// are other instances, whose news are not told here.
    ///
    /// # Errors
    /// `TXN_NOT_FOUND` or `TXN_ACCOUNT_NOT_FOUND` when there is no such thing or the caller may not see it; database
    /// faults, also later on the stream, which then ends.
    pub async fn updates(
        &self,
        context: &RequestContext,
        subject: Subject,
        after: i64,
    ) -> Result<BoxStream<'static, Result<Update, TransactionError>>, TransactionError> {
        // Listening begins before the snapshot is read, so that nothing falls between the two.
        let live = self.shared.feed.listen();
        self.check_access(context, subject).await?;
        let mut following = Following {
            shared: Arc::clone(&self.shared),
            subject,
            after,
            live,
            ready: VecDeque::new(),
            told: HashMap::new(),
            over: false,
        };
        following.take_snapshot().await?;
        let updates = stream::unfold(following, |mut following| async move {
            let update = following.next().await?;
            Some((update, following))
        });
        Ok(updates.boxed())
    }

    async fn check_access(&self, context: &RequestContext, subject: Subject) -> Result<(), TransactionError> {
        match subject {
            Subject::Transaction(id) => match self.transaction(context, id).await? {
                Some(_) => Ok(()),
                None => Err(TransactionErrorCode::NotFound.into()),
            },
            Subject::Account(id) => {
                let mut connection = self.shared.foundation.pool.acquire().await?;
                let accounts = store::accounts::views_in_tx(&mut connection, &[id]).await?;
                let (actor, account) = (&context.actor, accounts.get(&id));
                let visible = account.is_some_and(|account| {
                    actor.roles.is_staff() || account.owner_id.is_some_and(|owner| actor.is(owner))
                });
                if visible { Ok(()) } else { Err(TransactionErrorCode::AccountNotFound.into()) }
            }
        }
    }
}

/// The state of one stream.
struct Following {
    shared: Arc<Shared>,
    subject: Subject,
    after: i64,
    live: Listener<Arc<Transaction>>,
    ready: VecDeque<Update>,
    /// Sequences of the last snapshot and of what was told since: the live feed and the next snapshot may bring the same
    /// changes once more.
    told: HashMap<Uuid, i64>,
    over: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Result<Update, TransactionError>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                let single = matches!(self.subject, Subject::Transaction(_));
                self.over |= single && update.transaction.status.has_ended();
                return Some(Ok(update));
            }
            if self.over {
                return None;
            }
            match self.live.recv().await {
                Ok(transaction) => self.take(transaction),
                Err(RecvError::Lagged(_)) => {
                    // What is still buffered is older than the snapshot that replaces it.
                    self.live = self.shared.feed.listen();
                    if let Err(error) = self.take_snapshot().await {
                        self.over = true;
                        return Some(Err(error));
                    }
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn take_snapshot(&mut self) -> Result<(), TransactionError> {
        let pool = &self.shared.foundation.pool;
        let mut transactions = match self.subject {
            Subject::Transaction(id) => store::history::by_ids(pool, &[id]).await?,
            Subject::Account(id) => {
                store::history::of_accounts(pool, &[id], &Filter::default(), None, SNAPSHOT).await?
            }
        };
        // Nothing follows a snapshot that already has the end.
        let ended = |transaction: &Transaction| transaction.status.has_ended();
        self.over = matches!(self.subject, Subject::Transaction(_)) && transactions.iter().all(ended);
        let known = std::mem::take(&mut self.told);
        self.told = transactions.iter().map(|transaction| (transaction.id, transaction.sequence())).collect();
        transactions.retain(|transaction| known.get(&transaction.id).is_none_or(|told| *told < transaction.sequence()));
        self.ready
            .extend(transactions.into_iter().rev().map(|transaction| Update { transaction: Arc::new(transaction) }));
        self.ready.retain(|update| update.sequence() > self.after);
        Ok(())
    }

    /// Whoever may follow a transaction or an account may see all of it, so there is nothing to ask about each update.
    fn take(&mut self, transaction: Arc<Transaction>) {
        let about = match self.subject {
            Subject::Transaction(id) => transaction.id == id,
            Subject::Account(id) => transaction.touches(id),
        };
        let sequence = transaction.sequence();
        let news = sequence > self.after && self.told.get(&transaction.id).is_none_or(|told| *told < sequence);
        if about && news {
            self.told.insert(transaction.id, sequence);
            self.ready.push_back(Update { transaction });
        }
    }
}
