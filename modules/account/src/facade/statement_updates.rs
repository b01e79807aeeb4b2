use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, stream};
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::{Listener, Look, Missed, UpdateKind};

use super::{Accounts, Inner, viewer};
use crate::domain::{Statement, StatementStatus};
use crate::error::AccountError;
use crate::store::{self, Viewer};

/// How far a statement is from now on; its version is the number of the update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementUpdate {
    pub statement: Statement,
    pub kind: UpdateKind,
}

/// One listener.
struct Watching {
    accounts: Accounts,
    viewer: Viewer,
    id: Uuid,
    news: Listener<Uuid, ()>,
    /// The version the listener knows.
    known: i64,
    has_ended: bool,
    waiting: Option<StatementUpdate>,
}

impl Accounts {
    /// How far a statement is, now and whenever that has changed, until it has ended; `None` when there is no such statement
    /// for the caller.
    ///
    /// Whoever comes back says with `after` which version it knows, and is told only what is beyond that. Progress is a
    /// state that contains what led to it: in place of steps that were passed over the last is told, as
    /// [`UpdateKind::Lagged`]. Versions only ever grow. The stream ends with an error when the statement cannot be
    /// read.
    ///
    /// # Errors
    /// Database faults.
    pub async fn statement_updates(
        &self,
        context: &RequestContext,
        id: Uuid,
        after: Option<i64>,
    ) -> Result<Option<impl Stream<Item = Result<StatementUpdate, AccountError>> + Send + use<>>, AccountError> {
        // Listening first: what happens between the first look and the first news is heard twice, never lost.
        let news = self.inner.statement_news.listen(id);
        let viewer = viewer(context);
        let (known, has_ended, waiting) = (after.unwrap_or(0), false, None);
        let mut watching = Watching { accounts: self.clone(), viewer, id, news, known, has_ended, waiting };
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
    /// `None` after the statement's end, and when the caller may not see it any more.
    async fn next(&mut self) -> Result<Option<StatementUpdate>, AccountError> {
        loop {
            if let Some(update) = self.waiting.take() {
                return Ok(Some(update));
            }
            if self.has_ended {
                return Ok(None);
            }
            // Whether it is news or that some were missed: the state is what counts.
            let (Ok(()) | Err(Missed)) = self.news.recv().await;
            let Some(statement) = self.look().await? else { return Ok(None) };
            self.hear(statement);
        }
    }

    async fn look(&self) -> Result<Option<Statement>, AccountError> {
        Ok(store::statements::find(self.accounts.pool(), self.viewer, &[self.id]).await?.pop())
    }

    /// Tells a state that is new.
    fn hear(&mut self, statement: Statement) {
        self.has_ended = statement.status != StatementStatus::Preparing;
        if statement.version > self.known {
            let kind = if statement.follows(self.known) { UpdateKind::Change } else { UpdateKind::Lagged };
            self.known = statement.version;
            self.waiting = Some(StatementUpdate { statement, kind });
        }
    }
}

/// How far other instances have got with the statements that somebody watches here.
pub(crate) struct WrittenElsewhere {
    inner: Arc<Inner>,
    /// The versions that were seen, by statement.
    seen: HashMap<Uuid, i64>,
}

impl WrittenElsewhere {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, seen: HashMap::new() }
    }
}

#[async_trait]
impl Look<Uuid, ()> for WrittenElsewhere {
    async fn look(&mut self, statements: Vec<Uuid>) -> sqlx::Result<Vec<(Uuid, ())>> {
        let pool = &self.inner.foundation.pool;
        let found = store::statements::find(pool, Viewer::Everything, &statements).await?;
        let before = std::mem::take(&mut self.seen);
        self.seen.extend(found.iter().map(|statement| (statement.id, statement.version)));
        let changed = self.seen.iter().filter(|(id, version)| before.get(*id) != Some(version));
        Ok(changed.map(|(id, _)| (*id, ())).collect())
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use futures::stream::BoxStream;
    use vostro_kernel::{Actor, Role, SystemIds};
    use vostro_messaging::Module as _;
    use vostro_testkit::Database;

    use super::*;
    use crate::domain::InternalRole;
    use crate::{Config, GenerateStatement, MIGRATIONS};

    /// A statement that gets on when the test says.
    struct Scene {
        database: Database,
        accounts: Accounts,
        operator: RequestContext,
        id: Uuid,
    }

    impl Scene {
        async fn set() -> Self {
            let database = Database::create("account", &MIGRATIONS).await;
            let accounts = Accounts::new(database.foundation(), Config::default()).expect("the defaults are valid");
            accounts.start().await.expect("started");
            let actor = Actor::person(Uuid::now_v7(), [Role::Operator].into_iter().collect(), None);
            let operator = RequestContext::of(actor, &SystemIds);
            let asked = GenerateStatement {
                account_id: InternalRole::Cash.account_id("EUR".parse().expect("a currency")),
                from: "2024-01-01".parse().expect("a day"),
                to: "2024-01-31".parse().expect("a day"),
                idempotency_key: "k".to_owned(),
            };
            let id = accounts.generate_statement(&operator, &asked).await.expect("accepted").id;
            Self { database, accounts, operator, id }
        }

        /// The statement gets as far as this version, and nobody is told.
        async fn gets_to(&self, version: i64) {
            let step = format!("update account.statement set version = {version}, parts = {version} - 1");
            self.database.tamper(&step).await;
        }

        async fn is_ready(&self, version: i64) {
            let end = "set status = 'READY', ended_at = now(), parts = 1";
            self.database.tamper(&format!("update account.statement {end}, version = {version}")).await;
        }

        fn tell(&self) {
            self.accounts.inner.statement_news.tell(&self.id, ());
        }

        async fn watch(&self, after: Option<i64>) -> BoxStream<'static, (i64, UpdateKind)> {
            let updates = self.accounts.statement_updates(&self.operator, self.id, after).await.expect("readable");
            let told = |update: Result<StatementUpdate, AccountError>| {
                let StatementUpdate { statement, kind } = update.expect("readable");
                (statement.version, kind)
            };
            updates.expect("the statement").map(told).boxed()
        }
    }

    #[tokio::test]
    async fn a_watcher_is_told_each_state_once_and_where_some_were_passed_over() {
        let scene = Scene::set().await;
        let mut updates = scene.watch(None).await;
        assert_eq!(updates.next().await, Some((1, UpdateKind::Snapshot)));
        scene.gets_to(2).await;
        // More than a mailbox holds: the watcher looks for itself, once.
        (0..1_000).for_each(|_| scene.tell());
        assert_eq!(updates.next().await, Some((2, UpdateKind::Change)));
        scene.gets_to(4).await;
        scene.tell();
        assert_eq!(updates.next().await, Some((4, UpdateKind::Lagged)));
        scene.is_ready(6).await;
        scene.tell();
        assert_eq!(updates.next().await, Some((6, UpdateKind::Change)), "the last part, and with it the end");
        assert_eq!(updates.next().await, None);
    }

    #[tokio::test]
    async fn whoever_comes_back_is_told_what_is_beyond_its_cursor_and_nothing_else() {
        let scene = Scene::set().await;
        scene.gets_to(3).await;
        let mut crowd = Vec::new();
        for (after, first) in [
            (None, Some((3, UpdateKind::Snapshot))),
            (Some(0), Some((3, UpdateKind::Lagged))),
            (Some(1), Some((3, UpdateKind::Lagged))),
            (Some(2), Some((3, UpdateKind::Change))),
            (Some(3), None),
            (Some(i64::MAX), None),
        ] {
            let mut updates = scene.watch(after).await;
            if first.is_some() {
                assert_eq!(updates.next().await, first, "after {after:?}");
            }
            crowd.push((after, updates));
        }
        scene.tell();
        scene.gets_to(4).await;
        scene.tell();
        for (after, updates) in &mut crowd {
            assert_eq!(updates.next().await, Some((4, UpdateKind::Change)), "after {after:?}");
        }
        scene.is_ready(6).await;
        scene.tell();
        for (after, updates) in crowd {
            assert_eq!(updates.collect::<Vec<_>>().await, [(6, UpdateKind::Change)], "after {after:?}");
        }
        assert_eq!(scene.watch(None).await.collect::<Vec<_>>().await, [(6, UpdateKind::Snapshot)]);
        assert_eq!(scene.watch(Some(4)).await.collect::<Vec<_>>().await, [(6, UpdateKind::Change)]);
        assert!(scene.watch(Some(6)).await.next().await.is_none(), "it knows the end");
    }

    #[tokio::test]
    async fn a_statement_that_cannot_be_read_any_more_ends_the_stream_with_the_error() {
        let scene = Scene::set().await;
        let updates = scene.accounts.statement_updates(&scene.operator, scene.id, None).await.expect("readable");
        let mut updates = updates.expect("the statement").boxed();
        updates.next().await.expect("open").expect("a snapshot");
        scene.database.tamper("alter table account.statement rename to elsewhere").await;
        scene.tell();
        assert!(updates.next().await.expect("the error is told").is_err());
        assert!(updates.next().await.is_none());
    }

    #[tokio::test]
    async fn what_another_instance_writes_is_found_once_for_all_who_watch() {
        let scene = Scene::set().await;
        let mut crowd = [scene.watch(None).await, scene.watch(Some(1)).await];
        assert_eq!(crowd[0].next().await, Some((1, UpdateKind::Snapshot)));
        let mut look = WrittenElsewhere::new(Arc::clone(&scene.accounts.inner));
        let news = &scene.accounts.inner.statement_news;
        for version in [1, 2, 2, 3] {
            scene.gets_to(version).await;
            news.tell_all(look.look(news.topics()).await.expect("readable"));
        }
        assert!(look.look(news.topics()).await.expect("readable").is_empty(), "it stands still");
        for updates in &mut crowd {
            assert_eq!(updates.next().await, Some((3, UpdateKind::Lagged)));
        }
        scene.is_ready(5).await;
        news.tell_all(look.look(news.topics()).await.expect("readable"));
        for updates in crowd {
            assert_eq!(updates.collect::<Vec<_>>().await, [(5, UpdateKind::Change)]);
        }
    }
}
