use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::json;
use vostro_messaging::maintenance::{
    ArchivePoint, JobState, MaintenanceDesk, MaintenanceJob, MaintenanceOrder, MaintenanceWorker, Republication,
};

use super::maintenance::{finish, refuse_failed, say_requested};
use super::operator::OperatorArgs;
use super::output;
use crate::app;
use crate::config::Config;

/// Publish events of a module once more, from the archive, in their order. Subscribers that have had them drop them, so
/// it is safe to republish too much; those that have not take them now.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vostro outbox republish --module transaction --from 2026-11-21T10:00:00Z --dry-run\n  vostro outbox republish --module account --from 1200 --to 1350 --reason 'queue was deleted' --operator ann@bank.example"
)]
pub struct RepublishArgs {
    /// Whose events.
    #[arg(long)]
    module: String,
    /// Where to begin: a position in the archive, or a time (RFC 3339) at which it was recorded.
    #[arg(long, value_name = "POSITION|TIME")]
    from: Point,
    /// Where to end, the position included and the time not. Default: the end of the archive.
    #[arg(long, value_name = "POSITION|TIME")]
    to: Option<Point>,
    /// Only events of these types.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Count what would be published, and publish nothing.
    #[arg(long)]
    dry_run: bool,
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

#[derive(Debug, Clone, Copy)]
struct Point(ArchivePoint);

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(position) = text.parse::<i64>() {
            return Ok(Self(ArchivePoint::Position(position)));
        }
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self(ArchivePoint::Time(time.with_timezone(&Utc))))
            .map_err(|_| "neither a position nor a time such as 2026-11-21T10:00:00Z".to_owned())
    }
}

pub async fn run(config: &Config, arguments: &RepublishArgs) -> anyhow::Result<bool> {
    let desks = app::maintenance_desks(config)?;
    if arguments.dry_run {
        report(arguments, &count(desks.of(&arguments.module)?, arguments).await?);
        return Ok(true);
    }
    let operator = arguments.operator.clone().context("say who you are with --operator")?;
    let context = OperatorArgs::of(operator).sign_in(config).await?;
    let (from, to) = (arguments.from.0, arguments.to.map(|Point(point)| point));
    let order = MaintenanceOrder::Republish { from, to, types: arguments.types.clone() };
    let reason = arguments.reason.as_deref().unwrap_or_default();
    let ordered = desks.republish(&context, &arguments.module, &order, false, reason, MaintenanceWorker::LEASE).await?;
    let job = finish(desks.of(&arguments.module)?, ordered).await?;
    if job.state == JobState::Open {
        say_requested(&job, arguments.json);
        return Ok(true);
    }
    refuse_failed(&job)?;
    report(arguments, &counted(&job));
    Ok(true)
}

async fn count(desk: &MaintenanceDesk, arguments: &RepublishArgs) -> anyhow::Result<BTreeMap<String, i64>> {
    let (from, to) = (arguments.from.0, arguments.to.map(|Point(point)| point));
    let all = Republication::resolve(desk.archive(), desk.module(), from, to, &arguments.types).await?;
    Ok(all.count(desk.archive()).await?)
}

/// What the job says it has published, by type.
fn counted(job: &MaintenanceJob) -> BTreeMap<String, i64> {
    let types = job.report.as_ref().and_then(|report| report["types"].as_object()).into_iter().flatten();
    types.map(|(name, count)| (name.clone(), count.as_i64().unwrap_or_default())).collect()
}

fn report(arguments: &RepublishArgs, counts: &BTreeMap<String, i64>) {
    let count: i64 = counts.values().sum();
    if arguments.json {
        output::json(&json!({"dryRun": arguments.dry_run, "count": count, "types": counts}));
        return;
    }
    let rows: Vec<[String; 2]> = counts.iter().map(|(name, count)| [name.clone(), count.to_string()]).collect();
    output::text(&output::table(["event", "count"], &rows));
    let verb = if arguments.dry_run { "would be published" } else { "are in the outbox and will be published" };
    output::text(&format!("{count} events {verb}."));
}
