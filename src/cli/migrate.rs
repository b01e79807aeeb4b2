use super::output;
use crate::app;
use crate::config::Config;
use crate::database;

/// Migrates every module's schema.
pub async fn run(config: &Config) -> anyhow::Result<bool> {
    let before = database::pending(&config.database, &app::schemas()).await?;
    database::migrate(&config.database, &app::schemas(), |module| eprintln!("migrating {module}")).await?;
    let text = match before.len() {
        0 => "The database is up to date.".to_owned(),
        1 => "Applied 1 migration.".to_owned(),
        count => format!("Applied {count} migrations."),
    };
    output::text(&text);
    Ok(true)
}
