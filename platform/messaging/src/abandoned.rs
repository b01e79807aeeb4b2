//! Statements that nobody waits for any more.
//!
//! A request times out, its client hangs up, a consumer loses its lease: the future is dropped, and the statement it was
//! waiting for goes on in the database, with its locks, on a connection nobody else can have. `sqlx` waits for the end of
//! it. So when a connection comes back with a statement still running, it is given [`GRACE`] and then closed; the database
//! is told by [`NOTICES_HANG_UP`] to look whether its client is there, and ends what is run for nobody: within a second, as
//! a transaction rolled back.
//!
//! A connection that comes back idle is not asked anything, so this costs a request nothing.

use std::time::Duration;

use metrics::counter;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection};

/// How long a statement may go on for nobody. Most end within it, and then the connection is kept.
const GRACE: Duration = Duration::from_millis(250);

/// A setting for the connections of a pool: how often the database looks, while it runs a statement, whether its client is
/// still there.
pub const NOTICES_HANG_UP: (&str, &str) = ("client_connection_check_interval", "250ms");

/// Has the pool hang up on statements that nobody waits for. Its connections need [`NOTICES_HANG_UP`].
pub fn cut_off_abandoned(options: PgPoolOptions) -> PgPoolOptions {
    options.after_release(|connection, _| {
        Box::pin(async move {
            let is_idle = tokio::time::timeout(GRACE, settle(connection)).await.is_ok();
            if !is_idle {
                counter!("vostro_statements_cut_off_total").increment(1);
                tracing::debug!("a statement that nobody waits for is cut off");
            }
            // Hanging up is enough: `Terminate` would only be read after the statement.
            Ok(is_idle)
        })
    })
}

/// Waits for what was sent on the connection and not answered; for nothing when there is nothing.
async fn settle(connection: &mut PgConnection) {
    // An error of a statement is nobody's any more, and the next answer may be the last. One of the connection itself comes
    // again when it is tested, and ends it there.
    while let Err(sqlx::Error::Database(_)) = connection.flush().await {}
}
