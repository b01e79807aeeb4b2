use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{Stream, stream};
use uuid::Uuid;
use vostro_kernel::{Currency, RequestContext};
use vostro_messaging::{Listener, Look, Missed, UpdateKind};

use super::{Accounts, Inner, viewer};
use crate::domain::Balance;
use crate::error::AccountError;
use crate::store::entries::{NEWEST_ONLY, Reached};
use crate::store::{self, Viewer};

/// How an account stands after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceChange {
    pub account_id: Uuid,
    pub currency: Currency,
    /// The balance; its sequence is the number of the entry. What is reserved and arranged is as of now.
    pub balance: Balance,
    /// The transaction the entry belongs to; `None` for a snapshot of an account without entries.
    pub transaction_id: Option<Uuid>,
    pub occurred_at: DateTime<Utc>,
    pub kind: UpdateKind,
}

/// Entries that are read at once to catch up.
const PAGE: i64 = 256;
/// How far behind a listener may come back to be told every change. Whoever is further behind gets a snapshot.
const LONGEST_ABSENCE: i64 = 10_000;

/// One listener's position.
struct Listening {
    accounts: Accounts,
    viewer: Viewer,
    account_id: Uuid,
    feed: Listener<Uuid, BalanceChange>,
    /// Up to which entry the listener knows.
    known: i64,
    /// Up to which entry the ledger is to be read, because it was not told.
    behind_until: i64,
    waiting: VecDeque<BalanceChange>,
}

impl Accounts {
    /// The balance now, and then each change of it in order; `None` when there is no such account for the caller.
    ///
    /// Whoever comes back says with `after` up to which entry it knows, and gets each change since: from the ledger, and
    /// then live, without a gap or a repetition. A listener that is too slow, or comes back after more than 10,000
    /// changes, gets one snapshot marked as [`UpdateKind::Lagged`] in their place. Sequences only ever grow. The stream
    /// ends with an error when the ledger cannot be read.
    ///
    /// # Errors
    /// Database faults.
    pub async fn balance_changes(
        &self,
        context: &RequestContext,
        account_id: Uuid,
        after: Option<i64>,
    ) -> Result<Option<impl Stream<Item = Result<BalanceChange, AccountError>> + Send + use<>>, AccountError> {
        // Listening first: what is committed between the snapshot and the first news is heard twice, never lost.
        let feed = self.inner.changes.listen(account_id);
        let viewer = viewer(context);
        let Some(snapshot) = self.inner.snapshot(viewer, account_id).await? else { return Ok(None) };
        let newest = snapshot.balance.sequence;
        let mut listening = Listening {
            accounts: self.clone(),
            viewer,
            account_id,
            feed,
            known: after.unwrap_or(0).clamp(0, newest),
            behind_until: newest,
            waiting: VecDeque::new(),
        };
        match after {
            None => listening.replace(snapshot),
            Some(_) if newest - listening.known > LONGEST_ABSENCE => {
                listening.replace(BalanceChange { kind: UpdateKind::Lagged, ..snapshot });
            }
            Some(_) => {}
        }
        Ok(Some(stream::try_unfold(listening, |mut listening| async move {
            let change = listening.next().await?;
            Ok(change.map(|change| (change, listening)))
        })))
    }
}

impl Listening {
    /// `None` when the caller may not see the account any more.
    async fn next(&mut self) -> Result<Option<BalanceChange>, AccountError> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Ok(Some(change));
            }
            if self.known < self.behind_until {
                self.read_on().await?;
                continue;
            }
            match self.feed.recv().await {
                Ok(change) => self.hear(change),
                Err(Missed) => {
                    let snapshot = self.accounts.inner.snapshot(self.viewer, self.account_id).await?;
                    let Some(snapshot) = snapshot else { return Ok(None) };
                    if snapshot.balance.sequence > self.known {
                        self.replace(BalanceChange { kind: UpdateKind::Lagged, ..snapshot });
                    }
                }
            }
        }
    }

    /// Tells a state in place of all that led to it.
    fn replace(&mut self, snapshot: BalanceChange) {
        self.known = snapshot.balance.sequence;
        self.behind_until = self.known;
        self.waiting.push_back(snapshot);
    }

    /// Queues what comes next. What comes later than that shows that something was told elsewhere: the ledger has it.
    fn hear(&mut self, change: BalanceChange) {
        let sequence = change.balance.sequence;
        if sequence == self.known + 1 {
            self.known = sequence;
            self.waiting.push_back(change);
        } else {
            self.behind_until = self.behind_until.max(sequence);
        }
    }

    /// The next page of the ledger.
    async fn read_on(&mut self) -> Result<(), AccountError> {
        let pool = &self.accounts.inner.foundation.pool;
        let missed = store::entries::since(pool, &[self.account_id], &[self.known], PAGE).await?;
        // An entry that was told is in the ledger; if it should not be, waiting for it here would be for ever.
        self.behind_until = if missed.is_empty() { self.known } else { self.behind_until };
        for change in missed.into_iter().map(BalanceChange::from) {
            self.known = change.balance.sequence;
            self.waiting.push_back(change);
        }
        Ok(())
    }
}

impl From<Reached> for BalanceChange {
    fn from(reached: Reached) -> Self {
        Self {
            account_id: reached.account_id,
            currency: reached.currency,
            balance: reached.balance,
            transaction_id: Some(reached.transaction_id),
            occurred_at: reached.booked_at,
            kind: UpdateKind::Change,
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
            kind: UpdateKind::Snapshot,
        }))
    }
}

/// What other instances book, of the accounts that somebody listens to here.
pub(crate) struct BookedElsewhere {
    inner: Arc<Inner>,
    /// Up to which entry was looked, by account.
    seen: HashMap<Uuid, i64>,
}

impl BookedElsewhere {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, seen: HashMap::new() }
    }
}

#[async_trait]
impl Look<Uuid, BalanceChange> for BookedElsewhere {
    /// Of an account that is new here the latest entry is enough: a listener who does not know those before it reads them.
    async fn look(&mut self, accounts: Vec<Uuid>) -> sqlx::Result<Vec<(Uuid, BalanceChange)>> {
        let known: Vec<i64> = accounts.iter().map(|id| self.seen.get(id).copied().unwrap_or(NEWEST_ONLY)).collect();
        let new = store::entries::since(&self.inner.foundation.pool, &accounts, &known, PAGE).await?;
        let before = std::mem::take(&mut self.seen);
        self.seen.extend(accounts.into_iter().filter_map(|id| Some((id, *before.get(&id)?))));
        self.seen.extend(new.iter().map(|reached| (reached.account_id, reached.balance.sequence)));
        Ok(new.into_iter().map(|reached| (reached.account_id, reached.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::BoxStream;
    use futures::{FutureExt as _, StreamExt as _};
    use tokio_util::sync::CancellationToken;
    use vostro_events::transaction::{RouteV1, TransactionInitiatedV1, TransactionKind};
    use vostro_kernel::{Money, SystemIds};
    use vostro_messaging::Module;
    use vostro_testkit::{Database, deliver, incoming};

    use super::*;
    use crate::domain::InternalRole;
    use crate::{Config, MIGRATIONS};

    /// The bank's own till and its fees: money goes from one to the other.
    struct Till {
        database: Database,
        accounts: Accounts,
        cash: Uuid,
        fees: Uuid,
    }

    impl Till {
        async fn open() -> Self {
            let database = Database::create("account", &MIGRATIONS).await;
            let accounts = Accounts::new(database.foundation(), Config::default()).expect("the defaults are valid");
            accounts.start().await.expect("started");
            let euro = "EUR".parse().expect("a currency");
            let [cash, fees] = [InternalRole::Cash, InternalRole::Fees].map(|role| role.account_id(euro));
            Self { database, accounts, cash, fees }
        }

        /// Another instance on the same database, which tells this one nothing.
        fn another_instance(&self) -> Accounts {
            Accounts::new(self.database.foundation(), Config::default()).expect("the defaults are valid")
        }

        async fn pay_at(&self, accounts: &Accounts, times: usize) {
            let order = |_| TransactionInitiatedV1 {
                transaction_id: Uuid::now_v7(),
                kind: TransactionKind::Transfer,
                route: RouteV1 {
                    source_account_id: self.cash,
                    destination_account_id: self.fees,
                    source_owner_id: None,
                    destination_owner_id: None,
                },
                amount: Money::new(5, "EUR".parse().expect("a currency")),
                reference: None,
            };
            let orders: Vec<_> = (0..times).map(order).map(|order| incoming(&order, 1)).collect();
            let handler = accounts.handlers().remove(0).handler;
            deliver(self.database.pool(), &handler, &orders).await.expect("posted");
        }

        async fn listen(&self, after: Option<i64>) -> BoxStream<'static, (i64, i64, UpdateKind)> {
            let context = RequestContext::system(&SystemIds);
            let changes = self.accounts.balance_changes(&context, self.fees, after).await.expect("readable");
            let changes = changes.expect("the account");
            let told = |change: Result<BalanceChange, AccountError>| {
                let BalanceChange { balance, kind, .. } = change.expect("readable");
                (balance.sequence, balance.posted, kind)
            };
            changes.map(told).boxed()
        }
    }

    #[tokio::test]
    async fn a_listener_who_is_too_slow_gets_one_snapshot_for_all_it_missed_which_says_so() {
        let till = Till::open().await;
        let mut changes = till.listen(None).await;
        assert_eq!(changes.next().await, Some((0, 0, UpdateKind::Snapshot)));
        till.pay_at(&till.accounts, 300).await;
        assert_eq!(changes.next().await, Some((300, 1_500, UpdateKind::Lagged)));
        till.pay_at(&till.accounts, 1).await;
        assert_eq!(changes.next().await, Some((301, 1_505, UpdateKind::Change)));
        assert!(changes.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_reconnecting_crowd_gets_every_change_once_from_wherever_each_had_come() {
        let till = Till::open().await;
        till.pay_at(&till.accounts, 600).await;
        // News of long ago, of the future, twice and in any order, while everybody catches up.
        let told: Vec<_> = {
            let all = store::entries::since(till.database.pool(), &[till.fees], &[0], 600).await.expect("readable");
            all.into_iter().map(|reached| (till.fees, BalanceChange::from(reached))).collect()
        };
        let mut crowd = Vec::new();
        for after in (0..600).step_by(25) {
            crowd.push((after, till.listen(Some(after)).await));
        }
        till.accounts.inner.changes.tell_all(told.iter().rev().step_by(97).copied());
        till.accounts.inner.changes.tell_all([told[0], told[599], told[599]]);
        till.pay_at(&till.accounts, 3).await;
        for (after, changes) in &mut crowd {
            for expected in *after + 1..=603 {
                assert_eq!(changes.next().await, Some((expected, expected * 5, UpdateKind::Change)), "after {after}");
            }
            assert!(changes.next().now_or_never().is_none(), "nothing twice");
        }
    }

    #[tokio::test]
    async fn whoever_was_away_for_too_long_gets_a_snapshot_that_says_so() {
        let till = Till::open().await;
        let (fees, entries) = (till.fees, LONGEST_ABSENCE + 1);
        let cash = till.cash;
        let history = format!(
            "with number as materialized (select n, gen_random_uuid() as id from generate_series(1, {entries}) n)
             insert into account.entry
                 (account_id, sequence, transaction_id, currency, amount, balance_after, booked_at, booking_date)
             select '{fees}'::uuid, n, id, 'EUR', 5, n * 5, now(), current_date from number
             union all select '{cash}'::uuid, n, id, 'EUR', -5, n * -5, now(), current_date from number"
        );
        till.database.tamper(&history).await;
        for (account, sign) in [(fees, 1), (cash, -1)] {
            let balance = format!("update account.balance set sequence = {entries}, posted = {entries} * 5 * {sign}");
            till.database.tamper(&format!("{balance} where account_id = '{account}'")).await;
        }
        let mut away = till.listen(Some(0)).await;
        assert_eq!(away.next().await, Some((entries, entries * 5, UpdateKind::Lagged)));
        assert!(away.next().now_or_never().is_none());
        let mut back_in_time = till.listen(Some(1)).await;
        assert_eq!(back_in_time.next().await, Some((2, 10, UpdateKind::Change)));
    }

    #[tokio::test]
    async fn what_was_told_elsewhere_is_read_from_the_ledger() {
        let till = Till::open().await;
        let mut changes = till.listen(None).await;
        assert_eq!(changes.next().await, Some((0, 0, UpdateKind::Snapshot)));
        // The lease for booking goes from one instance to another.
        till.pay_at(&till.another_instance(), 2).await;
        till.pay_at(&till.accounts, 1).await;
        for expected in 1..=3 {
            assert_eq!(changes.next().await, Some((expected, expected * 5, UpdateKind::Change)));
        }
    }

    #[tokio::test]
    async fn what_another_instance_books_is_told_by_one_look_for_all_listeners() {
        let till = Till::open().await;
        let other = till.another_instance();
        till.pay_at(&other, 1).await;
        let mut crowd = vec![till.listen(None).await, till.listen(Some(0)).await];
        let mut look = BookedElsewhere::new(Arc::clone(&till.accounts.inner));
        assert_eq!(crowd[0].next().await, Some((1, 5, UpdateKind::Snapshot)));
        assert_eq!(crowd[1].next().await, Some((1, 5, UpdateKind::Change)));
        till.pay_at(&other, 2).await;
        for (paid, found) in [(0, 1), (3, 3), (0, 0)] {
            if paid > 0 {
                till.pay_at(&other, paid).await;
            }
            let news = look.look(till.accounts.inner.changes.topics()).await.expect("readable");
            assert_eq!(news.len(), found, "of an account that is new the latest, and then what comes");
            till.accounts.inner.changes.tell_all(news);
        }
        // And by itself, as long as there are others.
        let company = &till.accounts.inner.foundation.company;
        company.set(1);
        let stop = CancellationToken::new();
        let feed = till.accounts.inner.changes.clone();
        let looking = tokio::spawn(feed.look_around(look, stop.clone()));
        till.pay_at(&other, 1).await;
        for changes in &mut crowd {
            for expected in 2..=7 {
                assert_eq!(changes.next().await, Some((expected, expected * 5, UpdateKind::Change)));
            }
        }
        stop.cancel();
        looking.await.expect("stopped");
    }
}
