use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, stream};
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::{Listener, LiveFeed, Look, Missed, UpdateKind};

use super::{Accounts, Inner, viewer};
use crate::domain::Account;
use crate::error::AccountError;
use crate::store::{self, Viewer};

/// An account as it is from now on; its version is the number of the update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountUpdate {
    pub account: Arc<Account>,
    pub kind: UpdateKind,
}

/// One listener.
struct Watching {
    accounts: Accounts,
    viewer: Viewer,
    id: Uuid,
    news: Listener<Uuid, Arc<Account>>,
    /// The version the listener knows.
    known: i64,
    waiting: Option<AccountUpdate>,
}

impl Accounts {
    /// An account now, and whenever its terms have changed; `None` when there is no such account for the caller. Entries of
    /// the ledger are told by [`Accounts::balance_changes`].
    ///
    /// Whoever comes back says with `after` which version it knows, and is told only what is beyond that. Earlier versions
    /// are not kept: in place of those that were passed over the latest is told, as [`UpdateKind::Lagged`]. Versions only
    /// ever grow. The stream ends with an error when the account cannot be read.
    ///
    /// # Errors
    /// Database faults.
    pub async fn account_updates(
        &self,
        context: &RequestContext,
        id: Uuid,
        after: Option<i64>,
    ) -> Result<Option<impl Stream<Item = Result<AccountUpdate, AccountError>> + Send + use<>>, AccountError> {
        // Listening first: what is committed between the first look and the first news is heard twice, never lost.
        let news = self.inner.account_news.listen(id);
        let (known, waiting) = (after.unwrap_or(0), None);
        let mut watching = Watching { accounts: self.clone(), viewer: viewer(context), id, news, known, waiting };
        let Some(now) = watching.look().await? else { return Ok(None) };
        // A number that is yet to come is of a database that was put back since.
        watching.known = watching.known.clamp(0, now.version);
        watching.hear(now);
        if after.is_none() {
            watching.waiting.iter_mut().for_each(|first| first.kind = UpdateKind::Snapshot);
        }
        Ok(Some(stream::try_unfold(watching, |mut watching| async move {
            let update = watching.next().await?;
            Ok(update.map(|update| (update, watching)))
        })))
    }
}

impl Watching {
    /// `None` when the caller may not see the account any more.
    async fn next(&mut self) -> Result<Option<AccountUpdate>, AccountError> {
        loop {
            if let Some(update) = self.waiting.take() {
                return Ok(Some(update));
            }
            let account = match self.news.recv().await {
                Ok(account) => Some(account).filter(|account| self.viewer.may_see(account)),
                Err(Missed) => self.look().await?,
            };
            let Some(account) = account else { return Ok(None) };
            self.hear(account);
        }
    }

    async fn look(&self) -> Result<Option<Arc<Account>>, AccountError> {
        let found = store::accounts::find(self.accounts.pool(), self.viewer, &[self.id]).await?.pop();
        Ok(found.map(Arc::new))
    }

    /// Tells a state that is new. Two commands may be told in the opposite order of their commits: the later one first, and
    /// then the other is none.
    fn hear(&mut self, account: Arc<Account>) {
        if account.version > self.known {
            let kind = if account.version == self.known + 1 { UpdateKind::Change } else { UpdateKind::Lagged };
            self.known = account.version;
            self.waiting = Some(AccountUpdate { account, kind });
        }
    }
}

/// A change of an account from before its commit on. When nobody learns how the commit ended, because the connection broke
/// or the caller has gone, listeners are to look for themselves.
pub(super) struct Telling<'a> {
    news: &'a LiveFeed<Uuid, Arc<Account>>,
    id: Uuid,
    committed: Option<Arc<Account>>,
}

impl<'a> Telling<'a> {
    pub(super) const fn of(news: &'a LiveFeed<Uuid, Arc<Account>>, id: Uuid) -> Self {
        Self { news, id, committed: None }
    }

    pub(super) fn committed(mut self, account: &Account) {
        self.committed = Some(Arc::new(account.clone()));
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        match self.committed.take() {
            Some(account) => self.news.tell(&self.id, account),
            None => self.news.miss(&self.id),
        }
    }
}

/// What other instances change, of the accounts that somebody watches here.
pub(crate) struct ChangedElsewhere {
    inner: Arc<Inner>,
    /// The versions that were seen, by account.
    seen: HashMap<Uuid, i64>,
}

impl ChangedElsewhere {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, seen: HashMap::new() }
    }
}

#[async_trait]
impl Look<Uuid, Arc<Account>> for ChangedElsewhere {
    async fn look(&mut self, accounts: Vec<Uuid>) -> sqlx::Result<Vec<(Uuid, Arc<Account>)>> {
        let known: Vec<i64> = accounts.iter().map(|id| self.seen.get(id).copied().unwrap_or(0)).collect();
        let changed = store::accounts::changed_since(&self.inner.foundation.pool, &accounts, &known).await?;
        let before = std::mem::take(&mut self.seen);
        self.seen.extend(accounts.into_iter().filter_map(|id| Some((id, *before.get(&id)?))));
        self.seen.extend(changed.iter().map(|account| (account.id, account.version)));
        Ok(changed.into_iter().map(|account| (account.id, Arc::new(account))).collect())
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::BoxStream;
    use futures::{FutureExt as _, StreamExt as _};
    use tokio_util::sync::CancellationToken;
    use vostro_kernel::{Actor, Role, SystemIds};
    use vostro_testkit::Database;

    use super::*;
    use crate::domain::Product;
    use crate::{Config, MIGRATIONS, OpenAccount};

    fn person(role: Role) -> RequestContext {
        RequestContext::of(Actor::person(Uuid::now_v7(), [role].into_iter().collect(), None), &SystemIds)
    }

    /// A customer's account.
    struct Scene {
        database: Database,
        accounts: Accounts,
        owner: RequestContext,
        operator: RequestContext,
        id: Uuid,
    }

    impl Scene {
        async fn set() -> Self {
            let database = Database::create("account", &MIGRATIONS).await;
            let accounts = Accounts::new(database.foundation(), Config::default()).expect("the defaults are valid");
            let asked = OpenAccount {
                product: Product::Current,
                currency: "EUR".parse().expect("a currency"),
                name: None,
                idempotency_key: "k".to_owned(),
            };
            let owner = person(Role::Customer);
            let id = accounts.open(&owner, &asked).await.expect("opened").id;
            Self { database, accounts, owner, operator: person(Role::Operator), id }
        }

        /// Another instance on the same database, which tells this one nothing.
        fn another_instance(&self) -> Accounts {
            Accounts::new(self.database.foundation(), Config::default()).expect("the defaults are valid")
        }

        /// Freezes or lifts, by turns.
        async fn change_at(&self, accounts: &Accounts, times: usize) {
            for _ in 0..times {
                if accounts.freeze(&self.operator, self.id, "why").await.is_err() {
                    accounts.unfreeze(&self.operator, self.id, "why").await.expect("lifted");
                }
            }
        }

        async fn change(&self, times: usize) {
            self.change_at(&self.accounts, times).await;
        }

        async fn watch(&self, after: Option<i64>) -> BoxStream<'static, (i64, UpdateKind)> {
            let updates = self.accounts.account_updates(&self.owner, self.id, after).await.expect("readable");
            let told = |update: Result<AccountUpdate, AccountError>| {
                let AccountUpdate { account, kind } = update.expect("readable");
                (account.version, kind)
            };
            updates.expect("the account").map(told).boxed()
        }

        async fn now(&self) -> Arc<Account> {
            self.accounts.account_anew(&self.owner, self.id).await.expect("readable").expect("the account")
        }
    }

    #[tokio::test]
    async fn a_watcher_who_is_too_slow_gets_the_latest_state_once_which_says_so() {
        let scene = Scene::set().await;
        let mut updates = scene.watch(None).await;
        assert_eq!(updates.next().await, Some((1, UpdateKind::Snapshot)));
        // More than a mailbox holds.
        scene.change(300).await;
        assert_eq!(updates.next().await, Some((301, UpdateKind::Lagged)));
        scene.change(1).await;
        assert_eq!(updates.next().await, Some((302, UpdateKind::Change)));
        assert!(updates.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_reconnecting_crowd_gets_what_is_beyond_each_cursor_and_nothing_twice() {
        let scene = Scene::set().await;
        scene.change(2).await;
        let third = scene.now().await;
        let mut crowd = Vec::new();
        for (after, first) in [
            (None, Some((3, UpdateKind::Snapshot))),
            (Some(0), Some((3, UpdateKind::Lagged))),
            (Some(1), Some((3, UpdateKind::Lagged))),
            (Some(2), Some((3, UpdateKind::Change))),
            (Some(3), None),
            (Some(i64::MIN), Some((3, UpdateKind::Lagged))),
            (Some(i64::MAX), None),
        ] {
            let mut updates = scene.watch(after).await;
            if first.is_some() {
                assert_eq!(updates.next().await, first, "after {after:?}");
            }
            crowd.push((after, updates));
        }
        // Of before, the same again, and in the opposite order.
        let told = |version| Arc::new(Account { version, ..Account::clone(&third) });
        for version in [2, 3, 4, 4, 3, 5] {
            scene.accounts.inner.account_news.tell(&scene.id, told(version));
        }
        for (after, updates) in &mut crowd {
            assert_eq!(updates.next().await, Some((4, UpdateKind::Change)), "after {after:?}");
            assert_eq!(updates.next().await, Some((5, UpdateKind::Change)), "after {after:?}");
            assert!(updates.next().now_or_never().is_none(), "nothing twice");
        }
        for version in [7, 6] {
            scene.accounts.inner.account_news.tell(&scene.id, told(version));
        }
        for (after, updates) in &mut crowd {
            assert_eq!(updates.next().await, Some((7, UpdateKind::Lagged)), "after {after:?}");
            assert!(updates.next().now_or_never().is_none(), "the state contains it");
        }
    }

    #[tokio::test]
    async fn a_change_whose_outcome_nobody_learned_is_looked_for() {
        let scene = Scene::set().await;
        let mut updates = scene.watch(Some(1)).await;
        // The answer to the commit is lost.
        let telling = Telling::of(&scene.accounts.inner.account_news, scene.id);
        scene.change_at(&scene.another_instance(), 1).await;
        drop(telling);
        assert_eq!(updates.next().await, Some((2, UpdateKind::Change)));
        // There was no commit.
        drop(Telling::of(&scene.accounts.inner.account_news, scene.id));
        scene.change(1).await;
        assert_eq!(updates.next().await, Some((3, UpdateKind::Change)));
    }

    #[tokio::test]
    async fn whoever_may_not_see_the_account_any_more_hears_nothing_more_of_it() {
        let scene = Scene::set().await;
        let mut updates = scene.watch(Some(1)).await;
        let given_away = Account { owner_id: Some(Uuid::now_v7()), version: 2, ..Account::clone(&*scene.now().await) };
        scene.accounts.inner.account_news.tell(&scene.id, Arc::new(given_away));
        assert_eq!(updates.next().await, None);
    }

    #[tokio::test]
    async fn an_account_that_cannot_be_read_any_more_ends_the_stream_with_the_error() {
        let scene = Scene::set().await;
        let updates = scene.accounts.account_updates(&scene.owner, scene.id, None).await.expect("readable");
        let mut updates = updates.expect("the account").boxed();
        updates.next().await.expect("open").expect("a snapshot");
        scene.database.tamper("alter table account.account rename to elsewhere").await;
        scene.accounts.inner.account_news.miss(&scene.id);
        assert!(updates.next().await.expect("the error is told").is_err());
        assert!(updates.next().await.is_none());
    }

    #[tokio::test]
    async fn what_another_instance_changes_is_told_by_one_look_for_all_watchers() {
        let scene = Scene::set().await;
        let other = scene.another_instance();
        let mut crowd = vec![scene.watch(None).await, scene.watch(Some(1)).await];
        assert_eq!(crowd[0].next().await, Some((1, UpdateKind::Snapshot)));
        let mut look = ChangedElsewhere::new(Arc::clone(&scene.accounts.inner));
        let news = &scene.accounts.inner.account_news;
        for (changes, found) in [(0, 1), (1, 1), (0, 0), (2, 1)] {
            scene.change_at(&other, changes).await;
            let told = look.look(news.topics()).await.expect("readable");
            assert_eq!(told.len(), found, "of an account that is new the state, and then what is different");
            news.tell_all(told);
        }
        // And by itself, as long as there are others.
        scene.accounts.inner.foundation.company.set(1);
        let stop = CancellationToken::new();
        let looking = tokio::spawn(news.clone().look_around(look, stop.clone()));
        for updates in &mut crowd {
            assert_eq!(updates.next().await, Some((2, UpdateKind::Change)));
            assert_eq!(updates.next().await, Some((4, UpdateKind::Lagged)));
        }
        scene.change_at(&other, 1).await;
        for updates in &mut crowd {
            assert_eq!(updates.next().await, Some((5, UpdateKind::Change)));
        }
        stop.cancel();
        looking.await.expect("stopped");
    }
}
