use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{DatabaseError, owner_options, roles};
use crate::config::DatabaseConfig;

/// A module's part of the database.
#[derive(Clone, Copy)]
pub struct ModuleSchema {
    pub module: &'static str,
    pub migrations: &'static Migrator,
}

/// A migration that this release has and the database has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMigration {
    pub module: &'static str,
    pub version: i64,
    pub description: String,
}

/// One migrator at a time, whatever the number of instances that start together.
const MIGRATION_LOCK: i64 = 0x766f_7374_726f;

/// Brings every module's schema up to this release and renews roles and grants. Doing it twice changes nothing.
/// `progress` is told the name of each module before its turn.
///
/// # Errors
/// [`DatabaseError`]; what was applied before the failure stays.
pub async fn migrate(
    config: &DatabaseConfig,
    schemas: &[ModuleSchema],
    mut progress: impl FnMut(&'static str),
) -> Result<(), DatabaseError> {
    ensure_roles(config, schemas).await?;
    let mut connection = PgConnection::connect_with(&owner_options(config)?).await?;
    sqlx::query!("select pg_advisory_lock($1)", MIGRATION_LOCK).execute(&mut connection).await?;
    for schema in schemas {
        progress(schema.module);
        migrate_module(&mut connection, *schema).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Roles belong to the server, not to a database: they are made under a lock in the database every server has, so that
/// two banks on one server do not change the same role at the same time.
async fn ensure_roles(config: &DatabaseConfig, schemas: &[ModuleSchema]) -> Result<(), DatabaseError> {
    let mut connection = PgConnection::connect_with(&owner_options(config)?.database("postgres")).await?;
    sqlx::query!("select pg_advisory_lock($1)", MIGRATION_LOCK).execute(&mut connection).await?;
    for schema in schemas {
        roles::ensure(&mut connection, schema.module, &config.module_secret).await?;
    }
    connection.close().await?;
    Ok(())
}

async fn migrate_module(connection: &mut PgConnection, schema: ModuleSchema) -> Result<(), DatabaseError> {
    let module = schema.module;
    sqlx::raw_sql(AssertSqlSafe(format!("create schema if not exists {module}; set search_path = {module}")))
        .execute(&mut *connection)
        .await?;
    for (table, migrations) in histories(schema) {
        let mut migrator = Migrator { migrations: migrations.migrations.clone(), locking: false, ..Migrator::DEFAULT };
        migrator.dangerous_set_table_name(table);
        migrator.run(&mut *connection).await.map_err(|source| DatabaseError::Migrate { module, source })?;
    }
    roles::grant(connection, module).await?;
    Ok(())
}

/// What `migrate` would apply. Empty means this release may serve.
///
/// # Errors
/// [`DatabaseError`] when the database cannot be asked.
pub async fn pending(
    config: &DatabaseConfig,
    schemas: &[ModuleSchema],
) -> Result<Vec<PendingMigration>, DatabaseError> {
    let mut connection = PgConnection::connect_with(&owner_options(config)?).await?;
    let mut pending = Vec::new();
    for schema in schemas {
        let module = schema.module;
        for (table, migrations) in histories(*schema) {
            let exists = sqlx::query_scalar!(r#"select to_regclass($1) is not null as "exists!""#, table)
                .fetch_one(&mut connection);
            let applied = if exists.await? {
                connection
                    .list_applied_migrations(&table)
                    .await
                    .map_err(|source| DatabaseError::Migrate { module, source })?
            } else {
                Vec::new()
            };
            let missing = migrations.iter().filter(|wanted| applied.iter().all(|done| done.version != wanted.version));
            pending.extend(missing.map(|migration| PendingMigration {
                module,
                version: migration.version,
                description: migration.description.to_string(),
            }));
        }
    }
    connection.close().await?;
    Ok(pending)
}

/// The two histories of a module's schema: the messaging tables every module has, and its own.
fn histories(schema: ModuleSchema) -> [(String, &'static Migrator); 2] {
    [
        (format!("{}._messaging_migrations", schema.module), &vostro_messaging::MIGRATIONS),
        (format!("{}._module_migrations", schema.module), schema.migrations),
    ]
}
