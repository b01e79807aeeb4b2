use sqlx::PgPool;
use vostro::database;

use super::modules;
use crate::support::World;

/// What PostgreSQL answers (SQLSTATE) when a module's role reads a table of another schema.
async fn attempt(pool: &PgPool, other: &str) -> Option<String> {
    let query = format!("select count(*) from {other}.outbox");
    let error = sqlx::query(sqlx::AssertSqlSafe(query)).execute(pool).await.err()?;
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

#[tokio::test]
async fn a_module_sees_its_own_schema_and_no_other() {
    let world = World::create().await;
    for module in modules() {
        let pool =
            database::module_pool(&world.config.database, &module, world.config.messaging.silence()).expect("a pool");
        for other in modules() {
            let refused = attempt(&pool, &other).await;
            let expected = if other == module { None } else { Some("42501".to_owned()) };
            assert_eq!(refused, expected, "{module} reads {other}");
        }
        pool.close().await;
    }
}

#[tokio::test]
async fn a_module_cannot_change_the_structure_of_even_its_own_schema() {
    let world = World::create().await;
    for module in modules() {
        let pool =
            database::module_pool(&world.config.database, &module, world.config.messaging.silence()).expect("a pool");
        for statement in [
            format!("create table {module}.mine (x int)"),
            format!("truncate {module}.outbox"),
            format!("drop table {module}.inbox"),
        ] {
            let error = sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(&pool).await.expect_err("refused");
            let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
            assert_eq!(code.as_deref(), Some("42501"), "{statement}");
        }
        pool.close().await;
    }
}
