use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;
use vostro_kernel::Page;
use vostro_messaging::maintenance::{JobState, MaintenanceDesk, MaintenanceJob, Ordered};

use super::operator::OperatorArgs;
use super::output;
use crate::app;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// Jobs that wait for a second person or are under way, newest first.
    List {
        /// Ended ones too.
        #[arg(long)]
        all: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// One job: how far it is, and what came of it.
    Show {
        job: Uuid,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Wait until a job has ended, and do it here if no bank does. Exit status 1 when it failed.
    Follow {
        job: Uuid,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Agree to what somebody else ordered, and wait until it has ended. The bank does it, or this command.
    #[command(
        after_help = "Example:\n  vostro maintenance approve 01890a5d-ac96-774b-bcce-b302099a8020 --operator bob@bank.example"
    )]
    Approve(DecideArgs),
    /// Refuse what somebody else ordered; nothing is done.
    Reject(DecideArgs),
}

#[derive(Debug, clap::Args)]
pub struct DecideArgs {
    /// The id of the job.
    job: Uuid,
    #[command(flatten)]
    operator: OperatorArgs,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Config, command: &MaintenanceCommand) -> anyhow::Result<bool> {
    match command {
        MaintenanceCommand::List { all, json } => list(config, *all, *json).await,
        MaintenanceCommand::Show { job, json } => show(config, *job, *json).await,
        MaintenanceCommand::Follow { job, json } => {
            let desks = app::maintenance_desks(config)?;
            let (desk, job) = desks.job(*job).await?.with_context(|| format!("there is no job {job}"))?;
            report(&finish(desk, Ordered { job, is_new: false }).await?, *json)
        }
        MaintenanceCommand::Approve(arguments) => decide(config, arguments, true).await,
        MaintenanceCommand::Reject(arguments) => decide(config, arguments, false).await,
    }
}

async fn list(config: &Config, all: bool, as_json: bool) -> anyhow::Result<bool> {
    let jobs = app::maintenance_desks(config)?.jobs(!all, Page::forward(None, 1_000)).await?;
    if as_json {
        output::json(&jobs.iter().map(job_json).collect());
    } else if jobs.is_empty() {
        output::text("There is no maintenance job.");
    } else {
        let rows: Vec<[String; 6]> = jobs.iter().map(job_row).collect();
        output::text(&output::table(["job", "about", "state", "reached", "ordered at", "reason"], &rows));
    }
    Ok(true)
}

fn job_row(job: &MaintenanceJob) -> [String; 6] {
    [
        job.id.to_string(),
        job.subject.clone(),
        job.state.as_str().to_owned(),
        format!("{}/{}", job.position, job.target),
        output::time(job.requested_at),
        job.reason.clone(),
    ]
}

pub fn job_json(job: &MaintenanceJob) -> Value {
    json!({
        "jobId": job.id, "subject": job.subject, "work": job.work, "dryRun": job.dry_run, "reason": job.reason,
        "state": job.state.as_str(), "position": job.position, "target": job.target, "events": job.events,
        "expected": job.expected, "report": job.report, "failure": job.failure, "requestedBy": job.requested_by,
        "requestedAt": job.requested_at, "decidedBy": job.decided_by, "decidedAt": job.decided_at,
        "endedAt": job.ended_at,
    })
}

async fn show(config: &Config, id: Uuid, as_json: bool) -> anyhow::Result<bool> {
    let desks = app::maintenance_desks(config)?;
    let (_, job) = desks.job(id).await?.with_context(|| format!("there is no job {id}"))?;
    say(&job, as_json);
    Ok(true)
}

async fn decide(config: &Config, arguments: &DecideArgs, agree: bool) -> anyhow::Result<bool> {
    let context = arguments.operator.sign_in(config).await?;
    let desks = app::maintenance_desks(config)?;
    let job = desks.decide(&context, arguments.job, agree).await?;
    if !agree {
        say(&job, arguments.json);
        return Ok(true);
    }
    let (desk, job) = desks.job(job.id).await?.context("the job was there a moment ago")?;
    report(&finish(desk, Ordered { job, is_new: false }).await?, arguments.json)
}

/// Waits until the job has ended, and does it here whenever no bank does. One that waits for a second person is left alone.
///
/// # Errors
/// When the database is away; the job is gone on with by a bank, or with `vostro maintenance follow`.
pub async fn finish(desk: &MaintenanceDesk, ordered: Ordered) -> anyhow::Result<MaintenanceJob> {
    let Ordered { job, is_new } = ordered;
    if job.state != JobState::Running {
        return Ok(job);
    }
    let (id, bar) = (job.id, crate::demo::bar("Positions of the archive", 0));
    let told = |job: &MaintenanceJob| {
        bar.set_length(u64::try_from(job.target).unwrap_or_default());
        bar.set_position(u64::try_from(job.position).unwrap_or_default());
    };
    let ended = desk.worker().follow(job, is_new, &told).await;
    bar.finish_and_clear();
    ended.with_context(|| format!("following job {id}; go on with vostro maintenance follow {id}"))
}

fn report(job: &MaintenanceJob, as_json: bool) -> anyhow::Result<bool> {
    refuse_failed(job)?;
    say(job, as_json);
    Ok(true)
}

/// # Errors
/// When the job failed.
pub fn refuse_failed(job: &MaintenanceJob) -> anyhow::Result<()> {
    match (job.state, &job.failure) {
        (JobState::Failed, Some(failure)) => bail!("{failure}"),
        _ => Ok(()),
    }
}

/// What to do where a second person has to agree.
pub fn say_requested(job: &MaintenanceJob, as_json: bool) {
    if as_json {
        output::json(&job_json(job));
    } else {
        let id = job.id;
        output::text(&format!(
            "A second person has to agree:\n  vostro maintenance approve {id} --operator <somebody else>"
        ));
    }
}

fn say(job: &MaintenanceJob, as_json: bool) {
    let value = job_json(job);
    if as_json {
        output::json(&value);
        return;
    }
    let fields = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let rows: Vec<[String; 2]> = fields.map(|(name, value)| [name.clone(), text(value)]).collect();
    output::text(&output::table(["field", "value"], &rows));
}
