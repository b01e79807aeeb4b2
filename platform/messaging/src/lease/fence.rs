use std::sync::Arc;

use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};

use crate::{begin, begin_with};

/// Begins transactions that are refused once another instance has taken the lease, and that keep it from being taken
/// while they run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fence {
    /// What begins a transaction; `None` for whoever needs no lease.
    statement: Option<Arc<str>>,
}

/// Another instance has taken the lease. What was delivered is its business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another instance has taken the lease")]
pub(crate) struct LeaseLost;

impl Fence {
    /// For whoever is alone for certain, such as a test that consumes a queue of its own.
    pub const fn none() -> Self {
        Self { statement: None }
    }

    /// The lock is taken by the message that begins the transaction, so the fence costs no round trip. It stands before
    /// `begin`: PostgreSQL makes what precedes `begin` in one message part of the transaction, and when it is refused no
    /// transaction was begun that somebody would have to end.
    pub(super) fn of(what: &str, epoch: i64) -> Self {
        let what = what.replace('\'', "''");
        Self { statement: Some(format!("select hold_lease('{what}', {epoch}); begin").into()) }
    }

    /// # Errors
    /// Database faults; [`is_lost`] tells the refusal from the others.
    pub(crate) async fn begin(&self, pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
        match &self.statement {
            None => begin(pool).await,
            // A name of the manifest with its quotes doubled, and a number.
            Some(statement) => begin_with(pool, AssertSqlSafe(Arc::clone(statement))).await,
        }
    }
}

/// Whether this is the refusal of a fence.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    /// As `hold_lease` raises it.
    const LOST: &str = "VL001";
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == LOST)
}
