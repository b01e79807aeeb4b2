//! The one database: a schema and a login role per module, migrated by the owner, seen by each module through its own
//! role only.

mod migrate;
mod roles;

use std::str::FromStr as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use vostro_messaging::{NOTICES_HANG_UP, cut_off_abandoned};

use crate::config::DatabaseConfig;

pub use migrate::{ModuleSchema, PendingMigration, migrate, pending};
pub use roles::role_name;

/// The database cannot be used; the text tells an operator why.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("database.url is not a PostgreSQL URL: {0}")]
    Url(String),
    #[error("the database refused: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("migrating {module}: {source}")]
    Migrate { module: &'static str, source: sqlx::migrate::MigrateError },
}

/// How the owner connects.
///
/// # Errors
/// [`DatabaseError::Url`].
pub fn owner_options(config: &DatabaseConfig) -> Result<PgConnectOptions, DatabaseError> {
    PgConnectOptions::from_str(config.url.expose_secret())
        .map(|options| options.application_name("vostro owner"))
        .map_err(|error| DatabaseError::Url(error.to_string()))
}

/// A pool in the name of one module. It connects when it is first used, so the bank can start before the database.
///
/// The database ends a session that is silent for longer than `silence` within a transaction: its process may be stopped,
/// and whoever takes over from it waits for the transaction. A statement that nobody waits for any more is cut off.
///
/// # Errors
/// [`DatabaseError::Url`].
pub fn module_pool(config: &DatabaseConfig, module: &str, silence: Duration) -> Result<PgPool, DatabaseError> {
    let silence = silence.as_millis().to_string();
    let options = owner_options(config)?
        .username(&role_name(module))
        .password(&roles::password(&config.module_secret, module))
        .application_name(&format!("vostro {module}"))
        // The tables of messaging are empty one moment and hold thousands of rows the next. A plan that was made when
        // reading all of the table was cheapest would be kept and become a hundred times too dear.
        .options([
            ("search_path", module),
            ("enable_seqscan", "off"),
            ("idle_in_transaction_session_timeout", silence.as_str()),
            NOTICES_HANG_UP,
        ]);
    let pool = PgPoolOptions::new()
        .max_connections(config.connections_per_module)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false);
    Ok(cut_off_abandoned(pool).connect_lazy_with(options))
}
