use chrono::Utc;
use clap::Subcommand;
use serde_json::json;
use vostro_messaging::Outbox;

use super::republish::RepublishArgs;
use super::{output, republish};
use crate::app;
use crate::config::Config;
use crate::database;

#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// How many events wait to be published in each module, and since when.
    Status {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    Republish(RepublishArgs),
}

pub async fn run(config: &Config, command: &OutboxCommand) -> anyhow::Result<bool> {
    match command {
        OutboxCommand::Status { json } => status(config, *json).await,
        OutboxCommand::Republish(arguments) => republish::run(config, arguments).await,
    }
}

async fn status(config: &Config, as_json: bool) -> anyhow::Result<bool> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for manifest in app::manifests() {
        let pool = database::module_pool(&config.database, manifest.module, config.messaging.silence())?;
        let status = Outbox::status(&pool).await?;
        let age = status.oldest.map(|oldest| (Utc::now() - oldest).num_milliseconds().max(0));
        let waiting = age.map_or_else(|| "-".to_owned(), |millis| format!("{}.{:03} s", millis / 1000, millis % 1000));
        rows.push([manifest.module.to_owned(), status.rows.to_string(), waiting]);
        values.push(json!({"module": manifest.module, "rows": status.rows, "oldestAgeMillis": age}));
    }
    if as_json {
        output::json(&json!(values));
    } else {
        output::text(&output::table(["module", "events waiting", "oldest"], &rows));
    }
    Ok(true)
}
