use clap::Subcommand;
use serde_json::json;
use vostro_messaging::dead_letter;

use super::output;
use crate::app;
use crate::config::Config;
use crate::database;

#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// The newest messages that could not be handled, with the reason. Their contents are not shown.
    List {
        /// Only this module's.
        #[arg(long)]
        module: Option<String>,
        /// At most this many of each module.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Exit status 1 when there is any, so that a script can watch.
pub async fn run(config: &Config, command: &DeadLetterCommand) -> anyhow::Result<bool> {
    let DeadLetterCommand::List { module, limit, json: as_json } = command;
    let mut letters = Vec::new();
    for manifest in
        app::manifests().into_iter().filter(|manifest| module.as_deref().is_none_or(|m| m == manifest.module))
    {
        let pool = database::module_pool(&config.database, manifest.module)?;
        letters.extend(dead_letter::list(&pool, *limit).await?);
    }
    if *as_json {
        let values = letters.iter().map(|letter| {
            json!({
                "id": letter.id, "subscription": letter.subscription, "eventId": letter.event_id,
                "eventType": letter.event_type, "reasonCode": letter.reason_code, "reason": letter.reason,
                "failedAt": letter.failed_at,
            })
        });
        output::json(&values.collect());
    } else if letters.is_empty() {
        output::text("There are no dead letters.");
    } else {
        let rows: Vec<[String; 5]> = letters
            .iter()
            .map(|letter| {
                [
                    letter.failed_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                    letter.subscription.clone(),
                    letter.event_type.clone().unwrap_or_else(|| "-".to_owned()),
                    letter.reason_code.clone(),
                    letter.reason.clone(),
                ]
            })
            .collect();
        output::text(&output::table(["failed at", "subscription", "event", "code", "reason"], &rows));
    }
    Ok(letters.is_empty())
}
