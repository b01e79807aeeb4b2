use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use vostro_messaging::lease::{LeaseStatus, leases};
use vostro_messaging::{ConsumptionDesk, ConsumptionSwitch};
use vostro_schema::operations::{BrokerView as _, QueueTotals};

use super::operator::OperatorArgs;
use super::output;
use crate::app;
use crate::broker::BrokerEyes;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum ModuleCommand {
    /// Whether each module consumes, what its queues hold, and which instance of the bank does what.
    Status {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop a module's consumers in every running instance. Its queues keep what comes; commands are still accepted.
    #[command(
        after_help = "Example:\n  vostro module pause notification --reason 'mail server is replaced' --operator ann@bank.example"
    )]
    Pause(SwitchArgs),
    /// Let a module's consumers go on.
    #[command(after_help = "Example:\n  vostro module resume notification --operator ann@bank.example")]
    Resume(SwitchArgs),
    /// Stop a module's consumers and wait until no instance holds a delivery any more. Exit status 1 when that does not
    /// happen in time.
    #[command(
        after_help = "Example:\n  vostro module drain account --reason 'maintenance' --operator ann@bank.example --seconds 120"
    )]
    Drain {
        #[command(flatten)]
        switch: SwitchArgs,
        /// How long to wait; seven seconds it takes in any case, until the broker's counts are newer than the pause.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

#[derive(Debug, clap::Args)]
pub struct SwitchArgs {
    module: String,
    /// Why. Goes to the audit log; needed to stop consumers.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    operator: OperatorArgs,
}

pub async fn run(config: &Config, command: &ModuleCommand) -> anyhow::Result<bool> {
    match command {
        ModuleCommand::Status { json } => status(config, *json).await,
        ModuleCommand::Pause(switch) => set(config, switch, true).await,
        ModuleCommand::Resume(switch) => set(config, switch, false).await,
        ModuleCommand::Drain { switch, seconds } => {
            set(config, switch, true).await?;
            drained(config, &switch.module, Duration::from_secs(*seconds)).await
        }
    }
}

async fn set(config: &Config, switch: &SwitchArgs, paused: bool) -> anyhow::Result<bool> {
    let (module, foundation) = app::foundation_for_commands(config, &switch.module)?;
    let context = switch.operator.sign_in(config).await?;
    let desk = ConsumptionDesk::new(module, foundation);
    let changed = desk.switch(&context, paused, switch.reason.as_deref()).await?;
    let state = if paused { "paused" } else { "consuming" };
    let already = if changed { "" } else { " already" };
    output::text(&format!("{module} is{already} {state}; running instances follow within a second."));
    Ok(true)
}

async fn drained(config: &Config, module: &str, within: Duration) -> anyhow::Result<bool> {
    let (_, foundation) = app::foundation_for_commands(config, module)?;
    let consumption = ConsumptionSwitch::read(&foundation.pool).await?;
    let broker = BrokerEyes::open(config)?;
    let progress = crate::demo::bar("Deliveries are finished", 0);
    let waiting = async {
        loop {
            let QueueTotals { unacknowledged, consumers, .. } =
                broker.queues().await?.remove(module).unwrap_or_default();
            progress.set_length(unacknowledged);
            if consumption.is_drained(foundation.clock.now(), unacknowledged, consumers) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let result = tokio::time::timeout(within, waiting).await;
    progress.finish_and_clear();
    match result {
        Ok(result) => result?,
        Err(_) => bail!("{module} is paused, but deliveries are still not acknowledged; see vostro module status"),
    }
    output::text(&format!("{module} is drained: no delivery is unacknowledged."));
    Ok(true)
}

async fn status(config: &Config, as_json: bool) -> anyhow::Result<bool> {
    let broker = BrokerEyes::open(config)?;
    let queues = broker.queues().await?;
    let (mut rows, mut held_rows, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for manifest in app::manifests() {
        let (module, foundation) = app::foundation_for_commands(config, manifest.module)?;
        let consumption = ConsumptionSwitch::read(&foundation.pool).await?;
        let QueueTotals { ready, unacknowledged, consumers } = queues.get(module).copied().unwrap_or_default();
        let state = if consumption.paused { "paused" } else { "consuming" };
        let since = output::time(consumption.changed_at);
        rows.push([
            module.to_owned(),
            state.to_owned(),
            since,
            consumers.to_string(),
            ready.to_string(),
            unacknowledged.to_string(),
        ]);
        let leases = leases(&foundation.pool).await?;
        held_rows.extend(leases.iter().map(|lease| {
            let since = output::time(lease.since);
            [module.to_owned(), lease.what.clone(), holder(lease), since]
        }));
        let leases: Vec<_> = leases
            .into_iter()
            .map(|lease| {
                json!({
                    "what": lease.what, "holder": lease.holder, "since": lease.since,
                    "expiresAt": lease.expires_at, "expired": lease.expired,
                })
            })
            .collect();
        values.push(json!({
            "leases": leases, "module": module, "paused": consumption.paused, "changedAt": consumption.changed_at,
            "consumers": consumers, "ready": ready, "unacknowledged": unacknowledged,
        }));
    }
    if as_json {
        output::json(&json!(values));
    } else {
        output::text(&output::table(["module", "state", "since", "consumers", "ready", "unacknowledged"], &rows));
        output::text("");
        output::text(&output::table(["module", "lease", "held by", "since"], &held_rows));
    }
    Ok(true)
}

fn holder(lease: &LeaseStatus) -> String {
    match &lease.holder {
        None => "nobody".to_owned(),
        Some(holder) if lease.expired => format!("nobody; {holder} has ended or gone silent"),
        Some(holder) => holder.clone(),
    }
}
