use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::Listener;

use super::{Filter, Shared, Transactions};
use crate::decisions::{first_id_at, looked_through};
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

/// How many of an account's latest transactions a stream begins with.
const SNAPSHOT: i64 = 20;
/// Transactions that are read at once, and those that one look at an account is about at most. An account with more changes
/// between two looks has its oldest left out: nobody watches that many go by.
const PAGE: i64 = 100;
const MOST: usize = 1_000;
/// How far a look begins before the last one: a transaction is visible some time after its id and its time were taken, by
/// another instance's clock.
const OVERLAP: TimeDelta = TimeDelta::seconds(60);

impl Transactions {
    /// The state now, and then every change. An account's snapshot is its 20 latest transactions, oldest
    /// first; the stream of a single transaction ends with its outcome. Only updates with a sequence above `after` are
    /// told. Whoever was too slow, or may have missed what another instance told, gets what has changed since, up to 1,000
    /// changes of an account.
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
            heard_at: self.shared.foundation.clock.now(),
            prune_at: MOST,
            over: false,
        };
        following.begin().await?;
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
    /// What was told: the live feed and the next look may bring the same changes once more. Without those that can come no
    /// more, so that a stream may last for months.
    told: HashMap<Uuid, Told>,
    /// Until when nothing was missed.
    heard_at: DateTime<Utc>,
    /// How many `told` may hold before it is looked through.
    prune_at: usize,
    over: bool,
}

/// The last change of a transaction that was told.
#[derive(Debug, Clone, Copy)]
struct Told {
    sequence: i64,
    has_ended: bool,
    at: DateTime<Utc>,
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
                Ok(transaction) => {
                    self.heard_at = self.now();
                    self.take(transaction);
                }
                Err(RecvError::Lagged(_)) => {
                    // What is still buffered is older than what is looked at instead.
                    self.live = self.shared.feed.listen();
                    if let Err(error) = self.look().await {
                        self.over = true;
                        return Some(Err(error));
                    }
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.shared.foundation.clock.now()
    }

    /// The state now. Of an account also what is not told because it is no part of the beginning, and may change: what is
    /// newer than what the watch over outcomes has looked through, and what it has found to be open still.
    async fn begin(&mut self) -> Result<(), TransactionError> {
        let Subject::Account(account) = self.subject else { return self.look().await };
        let now = self.now();
        let mut newest = self.history(account, None, SNAPSHOT).await?;
        if let Some(oldest) = newest.last().map(|oldest| oldest.id) {
            let pool = &self.shared.foundation.pool;
            let floor = first_id_at(now - OVERLAP).min(looked_through(pool).await?);
            let older = self.since(account, floor, Some(oldest)).await?;
            let overdue = store::overdue::of_account(pool, account, SNAPSHOT * PAGE).await?;
            let overdue = store::history::by_ids(pool, &overdue).await?;
            for transaction in older.iter().chain(overdue.iter().filter(|overdue| overdue.id < oldest)) {
                self.remember(transaction);
            }
        }
        newest.reverse();
        newest.into_iter().for_each(|transaction| self.take(Arc::new(transaction)));
        self.heard_at = now;
        Ok(())
    }

    /// Asks the database what has changed since nothing was missed.
    async fn look(&mut self) -> Result<(), TransactionError> {
        let now = self.now();
        let mut changed = match self.subject {
            Subject::Transaction(id) => store::history::by_ids(&self.shared.foundation.pool, &[id]).await?,
            Subject::Account(account) => {
                let open: Vec<Uuid> = self.told.iter().filter(|(_, told)| !told.has_ended).map(|(id, _)| *id).collect();
                let mut changed = self.since(account, first_id_at(self.heard_at - OVERLAP), None).await?;
                changed.extend(store::history::by_ids(&self.shared.foundation.pool, &open).await?);
                changed
            }
        };
        // Nothing follows a state that already is the end.
        let ended = |transaction: &Transaction| transaction.status.has_ended();
        self.over = matches!(self.subject, Subject::Transaction(_)) && changed.iter().all(ended);
        changed.sort_by_key(|transaction| (transaction.occurred_at(), transaction.id));
        changed.into_iter().for_each(|transaction| self.take(Arc::new(transaction)));
        self.heard_at = now;
        Ok(())
    }

    async fn history(
        &self,
        account: Uuid,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Transaction>, TransactionError> {
        let pool = &self.shared.foundation.pool;
        Ok(store::history::of_accounts(pool, &[account], &Filter::default(), before, limit).await?)
    }

    /// The account's transactions from the id `floor` on, newest first, from below `before` on; at most [`MOST`]. Bounded by
    /// their ids, which begin with a time: the history's index is in their order.
    async fn since(
        &self,
        account: Uuid,
        floor: Uuid,
        mut before: Option<Uuid>,
    ) -> Result<Vec<Transaction>, TransactionError> {
        let mut found = Vec::new();
        while found.len() < MOST && before.is_none_or(|before| before > floor) {
            let page = self.history(account, before, PAGE).await?;
            let is_last = i64::try_from(page.len()).is_ok_and(|length| length < PAGE);
            before = page.last().map(|oldest| oldest.id);
            found.extend(page.into_iter().filter(|transaction| transaction.id >= floor));
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// Whoever may follow a transaction or an account may see all of it, so there is nothing to ask about each update.
    fn take(&mut self, transaction: Arc<Transaction>) {
        let about = match self.subject {
            Subject::Transaction(id) => transaction.id == id,
            Subject::Account(id) => transaction.touches(id),
        };
        let sequence = transaction.sequence();
        if about && self.told.get(&transaction.id).is_none_or(|told| told.sequence < sequence) {
            self.remember(&transaction);
            if sequence > self.after {
                self.ready.push_back(Update { transaction });
            }
        }
    }

    fn remember(&mut self, transaction: &Transaction) {
        let has_ended = transaction.status.has_ended();
        self.told.insert(transaction.id, Told { sequence: transaction.sequence(), has_ended, at: self.now() });
        if self.told.len() >= self.prune_at {
            let until = self.heard_at.min(self.now()) - OVERLAP;
            self.told.retain(|_, told| !told.has_ended || told.at >= until);
            self.prune_at = (self.told.len() * 2).max(MOST);
        }
    }
}
