//! Following transactions as they change.

mod elsewhere;
mod position;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use uuid::Uuid;
use vostro_kernel::{Page, RequestContext};
use vostro_messaging::{Listener, Missed, UpdateKind};

use super::{Filter, Shared, Transactions};
use crate::decisions::{first_id_at, looked_through};
use crate::domain::Transaction;
use crate::error::{TransactionError, TransactionErrorCode};
use crate::store;

pub(crate) use elsewhere::{ChangedElsewhere, UnderWay, told};
pub use position::{InvalidPosition, Position};

/// What to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One transaction, to its end.
    Transaction(Uuid),
    /// Everything an account takes part in.
    Account(Uuid),
}

/// From where to follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// From its state now, as far as its sequence is above this one: 1 stands for acceptance, 2 for the outcome.
    Now(i64),
    /// From where an earlier stream had come.
    Position(Position),
}

/// A transaction as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub transaction: Arc<Transaction>,
    pub kind: UpdateKind,
    /// From where to go on behind this update.
    pub position: Position,
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
/// How many overdue transactions of an account are followed from the beginning.
const OVERDUE: i64 = 2_000;
/// How many transactions one look at an account is about at most. An account with more changes between two looks has
/// its oldest left out: nobody watches that many go by.
const MOST: usize = 1_000;
/// How far a look begins before the last one: a transaction is visible some time after its id and its time were taken, by
/// another instance's clock.
const OVERLAP: TimeDelta = TimeDelta::seconds(60);

impl Transactions {
    /// The state now, and then every change. An account's snapshot is its 20 latest transactions, oldest
    /// first; the stream of a single transaction ends with its outcome.
    ///
    /// Whoever comes back with the [`Position`] of the last update it has gets what has changed since, without a gap or
    /// a repetition, and then goes on. Whoever was too slow gets what has changed meanwhile. Where that is more than 1,000
    /// changes of an account, or more than a position can tell apart, older ones are left out, and the first update
    /// after the gap is [`UpdateKind::Lagged`]. The changes of one transaction come in their order.
    ///
    /// # Errors
    /// `TXN_NOT_FOUND` or `TXN_ACCOUNT_NOT_FOUND` when there is no such thing or the caller may not see it; database
    /// faults, also later on the stream, which then ends.
    pub async fn updates(
        &self,
        context: &RequestContext,
        subject: Subject,
        since: Since,
    ) -> Result<BoxStream<'static, Result<Update, TransactionError>>, TransactionError> {
        // Listening begins before the snapshot is read, so that nothing falls between the two.
        let live = self.shared.feed.listen(subject);
        self.check_access(context, subject).await?;
        let mut following = Following {
            shared: Arc::clone(&self.shared),
            subject,
            after: if let Since::Now(after) = since { after } else { 0 },
            live,
            ready: VecDeque::new(),
            told: HashMap::new(),
            open: HashSet::new(),
            position: Position::new(),
            kind: UpdateKind::Snapshot,
            heard_at: self.shared.foundation.clock.now(),
            prune_at: MOST,
            over: false,
        };
        match since {
            Since::Now(_) => following.begin().await?,
            Since::Position(position) => following.resume(position).await?,
        }
        following.kind = UpdateKind::Change;
        let updates = stream::try_unfold(following, |mut following| async move {
            let update = following.next().await?;
            Ok(update.map(|update| (update, following)))
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
    live: Listener<Subject, Arc<Transaction>>,
    /// What comes next.
    ready: VecDeque<(Arc<Transaction>, UpdateKind)>,
    /// What was told: the live feed and the next look may bring the same changes once more. Without those that can come no
    /// more, so that a stream may last for months.
    told: HashMap<Uuid, Told>,
    /// Those of them that have not ended.
    open: HashSet<Uuid>,
    /// Behind what was yielded last.
    position: Position,
    /// What the next update that is made ready is.
    kind: UpdateKind,
    /// The time of the latest change up to which nothing was missed.
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
    async fn next(&mut self) -> Result<Option<Update>, TransactionError> {
        loop {
            if let Some((transaction, kind)) = self.ready.pop_front() {
                let single = matches!(self.subject, Subject::Transaction(_));
                self.over |= single && transaction.status.has_ended();
                // The ledger's clock may be ahead, and what begins now is found by the time of now.
                let waiting = self.ready.iter().map(|(transaction, _)| transaction.initiated_at).min();
                self.position.tell(&transaction, Some(self.now().min(waiting.unwrap_or(DateTime::<Utc>::MAX_UTC))));
                return Ok(Some(Update { transaction, kind, position: self.position.clone() }));
            }
            if self.over {
                return Ok(None);
            }
            match self.live.recv().await {
                Ok(transaction) => {
                    self.heard_at = self.heard_at.max(transaction.occurred_at().min(self.now()));
                    self.take(transaction);
                }
                Err(Missed) => self.look().await?,
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
        let pool = &self.shared.foundation.pool;
        let newest =
            store::history::of_accounts(pool, &[account], &Filter::default(), Page::forward(None, SNAPSHOT)).await?;
        if let Some(oldest) = newest.last().map(|oldest| oldest.id) {
            let floor = first_id_at(now - OVERLAP).min(looked_through(pool).await?);
            let older = self.since(account, floor, Some(oldest)).await?;
            let overdue = store::overdue::of_account(pool, account, OVERDUE).await?;
            let overdue = store::history::by_ids(pool, &overdue).await?;
            for transaction in older.iter().chain(overdue.iter().filter(|overdue| overdue.id < oldest)) {
                self.remember(transaction);
                self.position.tell(transaction, None);
            }
        }
        newest.into_iter().rev().for_each(|transaction| self.take(Arc::new(transaction)));
        self.heard_at = now;
        Ok(())
    }

    /// What has changed since an earlier stream ended.
    async fn resume(&mut self, position: Position) -> Result<(), TransactionError> {
        self.kind = UpdateKind::Change;
        if !position.is_complete() {
            self.kind = UpdateKind::Lagged;
            return self.begin().await;
        }
        for id in &position.open {
            self.follow(*id, Told { sequence: 1, has_ended: false, at: position.at });
        }
        self.heard_at = position.at;
        self.position = position;
        self.look().await
    }

    /// Asks the database what has changed since nothing was missed.
    async fn look(&mut self) -> Result<(), TransactionError> {
        let now = self.now();
        let pool = self.shared.foundation.pool.clone();
        let mut changed = match self.subject {
            Subject::Transaction(id) => store::history::by_ids(&pool, &[id]).await?,
            Subject::Account(account) => {
                let open: Vec<Uuid> = self.open.iter().copied().collect();
                let mut changed = self.since(account, first_id_at(self.heard_at - OVERLAP), None).await?;
                // Some were left out, or there are exactly as many as one look is about.
                if changed.len() == MOST {
                    self.kind = UpdateKind::Lagged;
                }
                changed.extend(store::history::by_ids(&pool, &open).await?);
                changed
            }
        };
        // Nothing follows a state that already is the end.
        let ended = |transaction: &Transaction| transaction.status.has_ended();
        self.over = matches!(self.subject, Subject::Transaction(_)) && changed.iter().all(ended);
        changed.sort_by_key(|transaction| (transaction.occurred_at(), transaction.id));
        changed.into_iter().for_each(|transaction| self.take(Arc::new(transaction)));
        self.heard_at = now;
        self.kind = UpdateKind::Change;
        Ok(())
    }

    /// The account's transactions from the id `floor` on, newest first, from below `before` on; at most [`MOST`]. Bounded by
    /// their ids, which begin with a time: the history's index is in their order.
    async fn since(
        &self,
        account: Uuid,
        floor: Uuid,
        before: Option<Uuid>,
    ) -> Result<Vec<Transaction>, TransactionError> {
        let pool = &self.shared.foundation.pool;
        let limit = i64::try_from(MOST).unwrap_or(i64::MAX);
        let mut found = store::history::since(pool, &[account], floor, before, limit).await?;
        found.truncate(MOST);
        Ok(found)
    }

    /// Makes a change ready that was not told. Whoever may follow a transaction or an account may see all of it, and a
    /// position that somebody made up may name transactions of others.
    fn take(&mut self, transaction: Arc<Transaction>) {
        let about = match self.subject {
            Subject::Transaction(id) => transaction.id == id,
            Subject::Account(id) => transaction.touches(id),
        };
        let sequence = transaction.sequence();
        if !about || self.told.get(&transaction.id).is_some_and(|told| told.sequence >= sequence) {
            return;
        }
        self.remember(&transaction);
        let is_known = transaction.status.has_ended() && self.position.knows_end_of(transaction.id);
        if sequence > self.after && !is_known {
            self.ready.push_back((transaction, self.kind));
            if self.kind == UpdateKind::Lagged {
                self.kind = UpdateKind::Change;
            }
        }
    }

    fn remember(&mut self, transaction: &Transaction) {
        let has_ended = transaction.status.has_ended();
        self.follow(transaction.id, Told { sequence: transaction.sequence(), has_ended, at: self.now() });
        if self.told.len() >= self.prune_at {
            let until = self.heard_at.min(self.now()) - OVERLAP;
            self.told.retain(|_, told| !told.has_ended || told.at >= until);
            self.prune_at = (self.told.len() * 2).max(MOST);
        }
    }

    /// Notes what was told of a transaction, and while it is under way, that its end is waited for.
    fn follow(&mut self, id: Uuid, told: Told) {
        self.told.insert(id, told);
        if told.has_ended {
            if self.open.remove(&id) {
                self.shared.under_way.leave(id);
            }
        } else if self.open.insert(id) {
            self.shared.under_way.follow(id);
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        for id in &self.open {
            self.shared.under_way.leave(*id);
        }
    }
}
