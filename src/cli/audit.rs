use clap::Subcommand;

use super::output;
use crate::app;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the audit chain from its beginning and name the first broken position. Exit status 1 when there is one.
    Verify {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(config: &Config, command: &AuditCommand) -> anyhow::Result<bool> {
    let AuditCommand::Verify { json: as_json } = command;
    let compliance = app::compliance_for_proof(config)?;
    let progress = crate::demo::bar("The chain is recomputed", 0);
    let proof = compliance
        .verify_audit(|done, all| {
            progress.set_length(all);
            progress.set_position(done);
        })
        .await?;
    progress.finish_and_clear();
    if *as_json {
        output::json(&proof.to_json());
    } else {
        output::text(&proof.to_string());
    }
    Ok(proof.ok())
}
