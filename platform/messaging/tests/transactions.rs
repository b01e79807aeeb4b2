//! A transaction that nobody waits for any more is ended.

use std::pin::pin;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use vostro_testkit::{Database, eventually};

async fn lines(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from line").fetch_one(pool).await.expect("readable")
}

/// Whoever waits for `begin` is dropped after it was looked at a number of times, from before `begin` was sent to after it
/// was answered; what is written with the same connection afterwards must be there for others.
#[tokio::test]
async fn what_is_written_after_a_dropped_begin_is_committed() {
    let database = Database::create("account", &sqlx::migrate::Migrator::DEFAULT).await;
    let alone = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect_with((*database.pool().connect_options()).clone())
        .await
        .expect("connects");
    sqlx::query("create table line ()").execute(&alone).await.expect("created");
    for looks in 1..200 {
        eventually("the connection is back", || async { (alone.num_idle() == 1).then_some(()) }).await;
        {
            let mut begin = pin!(vostro_messaging::begin(&alone));
            for _ in 0..looks {
                if futures::poll!(begin.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        sqlx::query("insert into line default values").execute(&alone).await.expect("written");
        assert_eq!(lines(database.pool()).await, looks, "dropped after {looks} looks");
    }
}
