use anyhow::bail;
use clap::Subcommand;
use secrecy::SecretString;
use vostro_auth::NewStaff;
use vostro_kernel::{RequestContext, Role, SystemIds};

use super::output;
use crate::app;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum StaffCommand {
    /// Create somebody of the bank, or give an existing person one more role. The password is read from standard input.
    #[command(
        after_help = "Example:\n  echo 'a long passphrase nobody guesses' | vostro staff add --email admin@bank.example --name Admin --role ADMIN"
    )]
    Add {
        #[arg(long)]
        email: String,
        #[arg(long)]
        name: String,
        /// COMPLIANCE_OFFICER, OPERATOR or ADMIN.
        #[arg(long)]
        role: Role,
    },
}

pub async fn run(config: &Config, command: &StaffCommand) -> anyhow::Result<bool> {
    let StaffCommand::Add { email, name, role } = command;
    if !role.is_staff() {
        bail!("customers register themselves; give COMPLIANCE_OFFICER, OPERATOR or ADMIN");
    }
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    ensure_staff(config, email, name, password.trim_end_matches(['\r', '\n']), *role).await?;
    output::text(&format!("{email} is {role}."));
    Ok(true)
}

/// Makes sure a person with this e-mail address exists and holds the role. Somebody new can log in with this password;
/// somebody who exists keeps the old one.
///
/// # Errors
/// When the password is too weak or the database cannot be reached.
pub async fn ensure_staff(config: &Config, email: &str, name: &str, password: &str, role: Role) -> anyhow::Result<()> {
    let auth = app::auth_for_commands(config)?;
    let staff = NewStaff {
        email: email.to_owned(),
        password: SecretString::from(password),
        display_name: name.to_owned(),
        locale: None,
        roles: [role].into_iter().collect(),
    };
    auth.staff_ensure(&RequestContext::system(&SystemIds), staff).await?;
    Ok(())
}
