//! Statements: what they say, who may have them, and that neither a crash, nor a repetition, nor a term that ends at the
//! wrong moment makes another document of them.

mod asking;
mod ending;
mod writing;

use crate::fixture::{Bank, code, customer, internal, transfer};
use chrono::{DateTime, NaiveDate, Utc};
use futures::StreamExt as _;
use futures::future::join_all;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_account::domain::{Account, InternalRole, Statement};
use vostro_account::{Config, GenerateStatement};
use vostro_events::account::StatementTermEndedV1;
use vostro_kernel::{FixedClock, RequestContext};
use vostro_messaging::{Module as _, Outbox, ScheduleWorker};
use vostro_testkit::{Consuming, incoming};

const JANUARY: (&str, &str) = ("2024-01-01", "2024-01-31");

/// A bank in which it is when the test says, and statements have two entries in a part.
struct Scene {
    bank: Bank,
    clock: Arc<FixedClock>,
    account: Account,
    owner: RequestContext,
}

/// What writes statements in the background.
struct Writing {
    stop: CancellationToken,
    running: JoinHandle<Vec<()>>,
}

impl Scene {
    /// On the fifth of January, with an account that has this many entries: 1.00 in each.
    async fn set(entries: i64) -> Self {
        let clock = Arc::new(FixedClock::at(instant("2024-01-05T09:30:00Z")));
        let config = Config { statement_part_entries: 2, ..Config::default() };
        let bank = Bank::open_with(clock.clone(), config).await;
        let account = bank.account_with(0).await;
        let owner = customer(account.owner_id.expect("an owner"));
        let scene = Self { bank, clock, account, owner };
        scene.earn(entries).await;
        scene.bank.forget_events().await;
        scene
    }

    async fn earn(&self, entries: i64) {
        let cash = internal(InternalRole::Cash);
        let transfers: Vec<_> = (0..entries).map(|_| transfer(cash, self.account.id, 100)).collect();
        self.bank.post(&transfers).await.expect("posted");
    }

    fn it_is(&self, text: &str) {
        let now = vostro_kernel::Clock::now(self.clock.as_ref());
        self.clock.advance(instant(text) - now);
    }

    fn asked(&self, key: &str, (from, to): (&str, &str)) -> GenerateStatement {
        GenerateStatement { account_id: self.account.id, from: day(from), to: day(to), idempotency_key: key.to_owned() }
    }

    async fn generate(&self, key: &str, period: (&str, &str)) -> Statement {
        let asked = self.asked(key, period);
        self.bank.accounts.generate_statement(&self.owner, &asked).await.expect("accepted")
    }

    async fn refusal(&self, context: &RequestContext, asked: &GenerateStatement) -> String {
        code(self.bank.accounts.generate_statement(context, asked).await)
    }

    fn write(&self) -> Writing {
        let stop = CancellationToken::new();
        Writing { stop: stop.clone(), running: tokio::spawn(join_all(self.bank.accounts.background(stop))) }
    }

    /// The states of a statement until `is_enough`, or its end.
    async fn until(&self, id: Uuid, is_enough: impl Fn(&Statement) -> bool) -> Vec<Statement> {
        self.until_seen_by(&self.owner, id, is_enough).await
    }

    async fn until_seen_by(
        &self,
        viewer: &RequestContext,
        id: Uuid,
        is_enough: impl Fn(&Statement) -> bool,
    ) -> Vec<Statement> {
        let updates = self.bank.accounts.statement_updates(viewer, id, None).await.expect("readable").expect("there");
        let mut updates = std::pin::pin!(updates);
        let mut seen = Vec::new();
        let watching = async {
            while let Some(update) = updates.next().await {
                seen.push(update.expect("readable").statement);
                if seen.last().is_some_and(&is_enough) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), watching).await.expect("it gets there");
        seen
    }

    async fn until_ended(&self, id: Uuid) -> Statement {
        self.until(id, |_| false).await.pop().expect("it was seen")
    }

    async fn see(&self, id: Uuid) -> Statement {
        self.bank.accounts.statement(&self.owner, id).await.expect("readable").expect("the statement exists")
    }

    /// The whole document, or nothing.
    async fn document(&self, statement: &Statement) -> Option<String> {
        let mut document = String::new();
        for part in 1..=statement.parts {
            let part = self.bank.accounts.statement_part(&self.owner, statement.id, part).await.expect("readable");
            document.push_str(&part?);
        }
        Some(document)
    }

    /// Publishes what is due and hands over what the module has told itself, as the bank does. Says how many that were.
    async fn let_terms_end(&self) -> usize {
        // However late it is for the module: what is due is due by the database's clock.
        assert_eq!(self.publish_due().await, 0, "an instance whose clock is wrong ends no term early");
        self.bank.database.tamper("update account.scheduled_event set due_at = now()").await;
        self.publish_due().await;
        let ended = self.bank.database.take_published(StatementTermEndedV1::TYPE).await;
        let consuming = Consuming::start(&self.bank.database, &self.bank.subscription("statement-terms"));
        for event in &ended {
            let event: StatementTermEndedV1 = serde_json::from_value(event.clone()).expect("the event");
            // Twice, as everything may come.
            consuming.take(&[incoming(&event, 1), incoming(&event, 1)]).await;
        }
        consuming.leaves_parked(0, 0).await;
        ended.len()
    }

    async fn publish_due(&self) -> u64 {
        let pool = self.bank.database.pool().clone();
        ScheduleWorker::new("account", pool, Outbox::default()).publish_due().await.expect("published")
    }

    async fn waiting_terms(&self) -> i64 {
        sqlx::query_scalar("select count(*) from account.scheduled_event where purpose = 'statement-term'")
            .fetch_one(self.bank.database.pool())
            .await
            .expect("countable")
    }

    async fn told(&self, event_type: &str) -> Vec<Value> {
        self.bank.database.published(event_type).await
    }
}

impl Writing {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), self.running).await.expect("it ends").expect("joined");
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a day")
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}
