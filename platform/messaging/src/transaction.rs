use sqlx::{PgPool, Postgres, SqlSafeStr, Transaction};

/// Begins a transaction that ends whatever becomes of the caller.
///
/// A request that times out, a client that hangs up, a lease that is lost: any of them can drop the caller between the
/// moment `begin` is sent and the answer. `sqlx` would then hand out a connection that is inside a transaction nobody ends,
/// and the next statement on it would be answered and never committed. So `begin` runs to its end in a task of its own; when
/// nobody waits for the transaction any more, it is rolled back.
///
/// # Errors
/// Database faults, and none of the pool's connections free in time.
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    begin_with(pool, "begin").await
}

/// The same with another statement than `begin`, which must leave a transaction open.
///
/// # Errors
/// As [`begin`].
pub async fn begin_with(
    pool: &PgPool,
    statement: impl SqlSafeStr + Send + 'static,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let beginning = async move {
        #[expect(clippy::disallowed_methods, reason = "this is where it is safe")]
        pool.begin_with(statement).await
    };
    tokio::spawn(beginning).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
