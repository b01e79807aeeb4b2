use clap::Subcommand;
use serde_json::{Value, json};
use vostro_account::LedgerProof;

use super::output;
use crate::app;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Recompute every balance from its entries and name the first divergence. Exit status 1 when there is one.
    Verify {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(config: &Config, command: &LedgerCommand) -> anyhow::Result<bool> {
    let LedgerCommand::Verify { json: as_json } = command;
    let accounts = app::accounts_for_proof(config)?;
    let progress = crate::demo::bar("Entries are recomputed", 0);
    let proof = accounts
        .verify_ledger(|so_far| {
            progress.set_length(so_far.total);
            progress.set_position(so_far.done);
        })
        .await?;
    progress.finish_and_clear();
    if *as_json {
        output::json(&to_json(&proof));
    } else {
        output::text(&to_text(&proof));
    }
    Ok(proof.is_ok())
}

fn to_json(proof: &LedgerProof) -> Value {
    json!({
        "ok": proof.is_ok(),
        "accounts": proof.accounts,
        "entries": proof.entries,
        "postings": proof.postings,
        "rejections": proof.rejections,
        "divergence": proof.divergence.as_ref().map(|divergence| json!({
            "rule": divergence.rule.as_str(),
            "accountId": divergence.account_id,
            "sequence": divergence.sequence,
            "transactionId": divergence.transaction_id,
            "detail": divergence.detail,
        })),
    })
}

fn to_text(proof: &LedgerProof) -> String {
    match &proof.divergence {
        None => format!(
            "The ledger holds: {} accounts, {} entries, {} postings of which {} were rejected.",
            proof.accounts, proof.entries, proof.postings, proof.rejections
        ),
        Some(divergence) => format!("The ledger is BROKEN: {divergence}"),
    }
}

/// The proof as JSON, for reports.
pub async fn prove_ledger(config: &Config) -> anyhow::Result<Value> {
    Ok(app::accounts_for_proof(config)?.verify_ledger(|_| ()).await.map(|proof| to_json(&proof))?)
}
