use clap::Subcommand;

use super::output;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read every layer and say whether the bank would accept it. Prints what results, secrets left out.
    Check,
}

/// The configuration was read to get here, so it is good; show it.
pub fn run(config: &Config, command: &ConfigCommand) -> anyhow::Result<bool> {
    let ConfigCommand::Check = command;
    output::text(&format!("{config:#?}\nThe configuration is good."));
    Ok(true)
}
