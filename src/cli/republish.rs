use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde_json::json;
use vostro_compliance::{ArchivePoint, ArchivedEvent, Compliance};
use vostro_events::operator::{OperatorAction, OperatorStep};
use vostro_kernel::{Ids as _, SystemIds};
use vostro_messaging::{NewEvent, Operation};

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

/// The positions from `first` to `last`, both included.
#[derive(Clone, Copy)]
struct Range {
    first: i64,
    last: i64,
}

/// Events read and written at once.
const PAGE: i64 = 1_000;

pub async fn run(config: &Config, arguments: &RepublishArgs) -> anyhow::Result<bool> {
    let (module, foundation) = app::foundation_for_commands(config, &arguments.module)?;
    if let Some(foreign) = arguments.types.iter().find(|name| name.split('.').next() != Some(module)) {
        bail!("{foreign} is not an event of {module}");
    }
    let archive = app::compliance_for_proof(config)?;
    let range = range(&archive, arguments).await?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    each_page(&archive, range, "Events are counted", async |events| {
        for event in events.into_iter().filter(|event| arguments.wants(event)) {
            *counts.entry(event.envelope.event_type.to_string()).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    let count = counts.values().sum();
    if !arguments.dry_run && count > 0 {
        let operator = arguments.operator.clone().context("say who you are with --operator")?;
        let context = OperatorArgs::of(operator).sign_in(config).await?;
        // Who did it is on record before the first event goes out.
        let mut operation = Operation::new(SystemIds.next(), module, OperatorAction::Republish, "outboxRepublish");
        let reason = arguments.reason.as_deref().unwrap_or_default();
        operation.reason = Some(format!("positions {} to {}: {reason}", range.first, range.last));
        operation.count = count;
        let mut transaction = foundation.begin().await?;
        operation.tell_in_tx(&foundation, &mut transaction, &context, OperatorStep::Done, 1).await?;
        transaction.commit().await?;
        each_page(&archive, range, "Events go to the outbox", async |events| {
            let wanted = events.into_iter().filter(|event| arguments.wants(event));
            let again = wanted.map(|event| NewEvent::again(event.envelope, &event.data)).collect();
            let mut transaction = foundation.begin().await?;
            foundation.outbox.append_in_tx(&mut transaction, again).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await?;
    }
    report(arguments, &counts, count);
    Ok(true)
}

impl RepublishArgs {
    fn wants(&self, event: &ArchivedEvent) -> bool {
        let event_type = &event.envelope.event_type;
        event_type.module() == self.module
            && (self.types.is_empty() || self.types.iter().any(|name| name == event_type.as_str()))
    }
}

async fn range(archive: &Compliance, arguments: &RepublishArgs) -> anyhow::Result<Range> {
    let first = archive.archive_position(arguments.from.0).await?.max(1);
    let end = archive.archive_position(ArchivePoint::Time(DateTime::<Utc>::MAX_UTC)).await? - 1;
    let last = match arguments.to {
        None => end,
        Some(Point(ArchivePoint::Position(position))) => position.min(end),
        Some(Point(time)) => archive.archive_position(time).await? - 1,
    };
    Ok(Range { first, last })
}

async fn each_page(
    archive: &Compliance,
    range: Range,
    title: &str,
    mut take: impl AsyncFnMut(Vec<ArchivedEvent>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let length = usize::try_from(range.last - range.first + 1).unwrap_or_default();
    let progress = crate::demo::bar(title, length);
    let mut after = range.first - 1;
    while after < range.last {
        let events = archive.archived_after(after, PAGE.min(range.last - after)).await?;
        let Some(last) = events.last() else { break };
        let next = last.position;
        take(events).await?;
        progress.inc(u64::try_from(next - after).unwrap_or_default());
        after = next;
    }
    progress.finish_and_clear();
    Ok(())
}

fn report(arguments: &RepublishArgs, counts: &BTreeMap<String, usize>, count: usize) {
    if arguments.json {
        output::json(&json!({"dryRun": arguments.dry_run, "count": count, "types": counts}));
        return;
    }
    let rows: Vec<[String; 2]> = counts.iter().map(|(name, count)| [name.clone(), count.to_string()]).collect();
    output::text(&output::table(["event", "count"], &rows));
    let verb = if arguments.dry_run { "would be published" } else { "are in the outbox and will be published" };
    output::text(&format!("{count} events {verb}."));
}
