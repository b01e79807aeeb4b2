//! What nobody waits for any more is not done any more, in the database itself.

use std::pin::pin;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::task::JoinHandle;
use vostro_messaging::cut_off_abandoned;
use vostro_testkit::Database;

/// A database with a table that somebody has locked, and a pool of one connection.
struct Locked {
    database: Database,
    pool: PgPool,
    /// Holds the lock while it lives.
    holder: PgConnection,
}

impl Locked {
    async fn create() -> Self {
        let database = Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await;
        database.tamper("create table locked (); create table line (number int unique)").await;
        let mut holder = PgConnection::connect_with(&database.pool().connect_options()).await.expect("connects");
        sqlx::raw_sql("begin; lock table locked").execute(&mut holder).await.expect("locked");
        let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
        let pool = cut_off_abandoned(pool).connect_with((*database.pool().connect_options()).clone()).await;
        Self { pool: pool.expect("connects"), database, holder }
    }

    /// How many statements wait for the lock.
    async fn waiting(&self) -> i64 {
        let waiting =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        sqlx::query_scalar(waiting).fetch_one(self.database.pool()).await.expect("readable")
    }

    async fn until_waiting(&self, wanted: i64) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while self.waiting().await != wanted {
                tokio::task::yield_now().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{wanted} statements wait within a minute"));
    }

    /// Drops a task while its statement waits, and returns when the statement has ended. The lock is still held then.
    async fn abandon<T>(&self, task: JoinHandle<T>) {
        self.until_waiting(1).await;
        task.abort();
        self.until_waiting(0).await;
    }

    async fn is_usable(&mut self) {
        sqlx::query("insert into line values (0)").execute(&self.pool).await.expect("the pool has a connection");
        sqlx::raw_sql("commit").execute(&mut self.holder).await.expect("the lock was held until now");
        sqlx::query("select from locked").execute(&self.pool).await.expect("the pool has a connection");
    }
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_ends_in_the_database() {
    let mut locked = Locked::create().await;
    let pool = locked.pool.clone();
    locked.abandon(tokio::spawn(async move { sqlx::query("select from locked").execute(&pool).await })).await;
    locked.is_usable().await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_during_a_statement_is_rolled_back() {
    let mut locked = Locked::create().await;
    let pool = locked.pool.clone();
    let task = tokio::spawn(async move {
        let mut transaction = vostro_messaging::begin(&pool).await?;
        sqlx::query("insert into line values (1)").execute(&mut *transaction).await?;
        sqlx::query("select from locked").execute(&mut *transaction).await?;
        transaction.commit().await
    });
    locked.abandon(task).await;
    // The number is free again: no half-done transaction holds it.
    sqlx::query("insert into line values (1)").execute(locked.database.pool()).await.expect("nobody else has it");
    locked.is_usable().await;
}

/// A statement is dropped after it was looked at a number of times, from before it was sent to after it was answered,
/// also one that fails; whoever has the connection next gets the answer to its own.
#[tokio::test]
async fn whenever_a_statement_is_dropped_the_next_one_is_answered() {
    let locked = Locked::create().await;
    for looks in 1..100_i32 {
        {
            let divided = sqlx::query("select 1 / $1").bind(looks % 2).execute(&locked.pool);
            let mut divided = pin!(divided);
            for _ in 0..looks {
                if futures::poll!(divided.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let answer: i32 =
            sqlx::query_scalar("select $1::int").bind(looks).fetch_one(&locked.pool).await.expect("answered");
        assert_eq!(answer, looks);
    }
}

#[tokio::test]
async fn a_connection_that_comes_back_idle_is_kept() {
    let locked = Locked::create().await;
    let process = async || -> i32 {
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(&locked.pool).await.expect("answered")
    };
    let first = process().await;
    for _ in 0..20 {
        assert_eq!(process().await, first);
    }
}
