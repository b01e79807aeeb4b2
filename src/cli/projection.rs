use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use vostro_events::operator::OperatorAction;
use vostro_kernel::{Ids as _, SystemIds};
use vostro_messaging::{Operation, Rebuild, RebuildOptions, RebuildReport};

use super::operator::OperatorArgs;
use super::output;
use crate::app::{self, KnownProjection};
use crate::config::Config;
use crate::rebuild::Archive;

#[derive(Debug, Subcommand)]
pub enum ProjectionCommand {
    /// What can be rebuilt from the event store, and which events it follows from.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    Rebuild(RebuildArgs),
}

/// Build a projection again from the event store, beside the live one; compare the two; make the live one the same in one
/// transaction. The bank may go on running. Nothing is published and nobody is told. With --dry-run only compare: exit
/// status 1 when they differ.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vostro projection rebuild transaction.account_view --dry-run\n  vostro projection rebuild transaction.account_view --reason 'damaged by hand, ticket 4711' --operator ann@bank.example"
)]
pub struct RebuildArgs {
    /// `<module>.<name>`; `vostro projection list` tells them.
    name: String,
    /// Compare and leave the live projection as it is.
    #[arg(long, visible_alias = "compare")]
    dry_run: bool,
    /// How long events may be on their way to the event store, or to the live projection, before they count as lost.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    /// Swap although the live projection claims events the event store does not have after all that time: what only the live
    /// one knows is given up. First see that the archive is not behind.
    #[arg(long, conflicts_with = "dry_run")]
    trust_event_store: bool,
    /// Why. Goes to the audit log.
    #[arg(long, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Your e-mail address; you need the role OPERATOR or ADMIN. The password is taken from VOSTRO_OPERATOR_PASSWORD, or
    /// read from standard input.
    #[arg(long, value_name = "EMAIL", env = "VOSTRO_OPERATOR", required_unless_present = "dry_run")]
    operator: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Config, command: &ProjectionCommand) -> anyhow::Result<bool> {
    match command {
        ProjectionCommand::List { json } => list(config, *json),
        ProjectionCommand::Rebuild(arguments) => rebuild(config, arguments).await,
    }
}

fn list(config: &Config, as_json: bool) -> anyhow::Result<bool> {
    let known = app::projections(config)?;
    if as_json {
        let values = known.iter().map(|known| {
            let subscription = known.projection.subscription().group();
            json!({"name": known.name(), "subscription": subscription, "events": known.projection.events()})
        });
        output::json(&values.collect());
    } else {
        let rows: Vec<[String; 3]> = known
            .iter()
            .map(|known| {
                let events = known.projection.events().join(", ");
                [known.name(), known.projection.subscription().group(), events]
            })
            .collect();
        output::text(&output::table(["projection", "kept by", "follows from"], &rows));
    }
    Ok(true)
}

async fn rebuild(config: &Config, arguments: &RebuildArgs) -> anyhow::Result<bool> {
    let known = app::projections(config)?;
    let Some(known) = known.into_iter().find(|known| known.name() == arguments.name) else {
        bail!("no projection is called {}; see vostro projection list", arguments.name);
    };
    let KnownProjection { module, foundation, projection } = known;
    let operator = match (&arguments.operator, arguments.dry_run) {
        (Some(operator), false) => Some(OperatorArgs::of(operator.clone()).sign_in(config).await?),
        (None, false) => bail!("say who you are with --operator"),
        (_, true) => None,
    };
    let options = RebuildOptions {
        compare_only: arguments.dry_run,
        patience: Duration::from_secs(arguments.wait),
        trust_event_store: arguments.trust_event_store,
    };
    let source = Arc::new(Archive(app::compliance_for_proof(config)?));
    let mut rebuild = Rebuild::new(module, foundation.pool.clone(), projection, source, options);
    if let Some(context) = operator {
        let mut operation = Operation::new(SystemIds.next(), module, OperatorAction::Rebuild, "projectionRebuild");
        operation.subscription = Some(arguments.name.clone());
        operation.reason.clone_from(&arguments.reason);
        rebuild = rebuild.recorded(foundation, context, operation);
    }
    let bar = crate::demo::bar("Events are applied", 0);
    let report = rebuild
        .run(&|position, head| {
            bar.set_length(u64::try_from(head).unwrap_or_default());
            bar.set_position(u64::try_from(position).unwrap_or_default());
        })
        .await;
    bar.finish_and_clear();
    let report = report?;
    tell(&arguments.name, &report, arguments.json);
    Ok(report.changed.is_some() || report.comparison.is_equal())
}

fn tell(name: &str, report: &RebuildReport, as_json: bool) {
    let RebuildReport { events, comparison, changed, locked } = report;
    if as_json {
        output::json(&json!({
            "projection": name, "events": events, "equal": comparison.is_equal(), "same": comparison.same,
            "different": comparison.different, "behind": comparison.behind, "ahead": comparison.ahead,
            "checksumLive": comparison.checksum_live, "checksumRebuilt": comparison.checksum_rebuilt,
            "examples": comparison.examples, "changed": changed, "lockedMillis": locked.as_millis(),
        }));
        return;
    }
    let rows = [
        ["events".to_owned(), events.to_string()],
        ["rows that were the same".to_owned(), comparison.same.to_string()],
        ["different".to_owned(), comparison.different.to_string()],
        ["behind the event store".to_owned(), comparison.behind.to_string()],
        ["ahead of the event store".to_owned(), comparison.ahead.to_string()],
        ["checksum of the live one".to_owned(), comparison.checksum_live.clone()],
        ["checksum of the rebuilt one".to_owned(), comparison.checksum_rebuilt.clone()],
    ];
    output::text(&output::table([name, ""], &rows));
    match changed {
        Some(changed) => {
            output::text(&format!("Swapped: {changed} rows changed; writers waited {} ms.", locked.as_millis()));
        }
        None if comparison.is_equal() => output::text("The live projection is what the events say."),
        None => {
            let examples: Vec<String> = comparison.examples.iter().map(ToString::to_string).collect();
            output::text(&format!("The live projection is NOT what the events say; see {}.", examples.join(", ")));
        }
    }
}
