use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use vostro_messaging::maintenance::{JobState, MaintenanceWorker};
use vostro_messaging::{Rebuild, RebuildOptions};

use super::maintenance::{finish, refuse_failed, say_requested};
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
    if arguments.dry_run {
        let report = compare(config, arguments).await?;
        tell(&arguments.name, &report, arguments.json);
        return Ok(report["equal"] == true);
    }
    let operator = arguments.operator.clone().context("say who you are with --operator")?;
    let context = OperatorArgs::of(operator).sign_in(config).await?;
    let desks = app::maintenance_desks(config)?;
    let (patience, trust) = (Duration::from_secs(arguments.wait), arguments.trust_event_store);
    let reason = arguments.reason.as_deref().unwrap_or_default();
    let lease = MaintenanceWorker::LEASE;
    let ordered = desks.rebuild(&context, &arguments.name, patience, trust, false, reason, lease).await?;
    let (desk, _) = desks.job(ordered.job.id).await?.context("the job was there a moment ago")?;
    let job = finish(desk, ordered).await?;
    if job.state == JobState::Open {
        say_requested(&job, arguments.json);
        return Ok(true);
    }
    refuse_failed(&job)?;
    tell(&arguments.name, &job.report.unwrap_or_default(), arguments.json);
    Ok(true)
}

/// Looks and changes nothing, so nobody has to say who they are.
async fn compare(config: &Config, arguments: &RebuildArgs) -> anyhow::Result<Value> {
    let known = app::projections(config)?;
    let Some(known) = known.into_iter().find(|known| known.name() == arguments.name) else {
        bail!("no projection is called {}; see vostro projection list", arguments.name);
    };
    let KnownProjection { module, foundation, projection } = known;
    let patience = Duration::from_secs(arguments.wait);
    let options = RebuildOptions { compare_only: true, patience, trust_event_store: false };
    let source = Arc::new(Archive(app::compliance_for_proof(config)?));
    let bar = crate::demo::bar("Events are applied", 0);
    let report = Rebuild::new(module, foundation.pool, projection, source, options)
        .run(&|position, head| {
            bar.set_length(u64::try_from(head).unwrap_or_default());
            bar.set_position(u64::try_from(position).unwrap_or_default());
        })
        .await;
    bar.finish_and_clear();
    Ok(report?.to_json())
}

fn tell(name: &str, report: &Value, as_json: bool) {
    if as_json {
        let mut report = report.clone();
        report["projection"] = json!(name);
        output::json(&report);
        return;
    }
    let told = [
        ("events", "events"),
        ("rows that were the same", "same"),
        ("different", "different"),
        ("behind the event store", "behind"),
        ("ahead of the event store", "ahead"),
        ("checksum of the live one", "checksumLive"),
        ("checksum of the rebuilt one", "checksumRebuilt"),
    ];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let rows = told.map(|(words, field)| [words.to_owned(), text(&report[field])]);
    output::text(&output::table([name, ""], &rows));
    match report["changed"].as_u64() {
        Some(changed) => {
            let locked = &report["lockedMillis"];
            output::text(&format!("Swapped: {changed} rows changed; writers waited {locked} ms."));
        }
        None if report["equal"] == true => output::text("The live projection is what the events say."),
        None => {
            let examples = report["examples"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
            output::text(&format!("The live projection is NOT what the events say; see {}.", examples.join(", ")));
        }
    }
}
