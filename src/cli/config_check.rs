use clap::Subcommand;

use super::output;
use crate::config::Config;
use crate::{app, broker};

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read every layer and say whether the bank would accept it. Prints what results, secrets left out.
    Check,
}

/// Every layer was read to get here; what is left is what the parts of the bank ask of each other. Then show it.
pub fn run(config: &Config, command: &ConfigCommand) -> anyhow::Result<bool> {
    let ConfigCommand::Check = command;
    broker::passwords(&config.broker, &app::topology(config)?)?;
    output::text(&format!("{config:#?}\nThe configuration is good."));
    if let Some(warning) = config.http.warning() {
        output::text(&format!("Warning: {warning}"));
    }
    Ok(true)
}
