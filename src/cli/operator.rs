use anyhow::{Context as _, bail};
use secrecy::SecretString;
use vostro_kernel::{Actor, RequestContext, Role, SystemIds};
use vostro_messaging::Module as _;

use crate::app;
use crate::config::Config;

/// Who gives the command. Decisions about messages are on record with the person, so the person proves who it is.
#[derive(Debug, clap::Args)]
pub struct OperatorArgs {
    /// Your e-mail address; you need the role OPERATOR or ADMIN. The password is taken from VOSTRO_OPERATOR_PASSWORD, or
    /// read from standard input.
    #[arg(long, value_name = "EMAIL", env = "VOSTRO_OPERATOR")]
    operator: String,
}

/// The same for commands that have a --dry-run, which nobody has to answer for.
#[derive(Debug, clap::Args)]
pub struct OperatorUnlessDryRun {
    /// Why. Goes to the audit log.
    #[arg(long, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Your e-mail address; you need the role OPERATOR or ADMIN. The password is taken from VOSTRO_OPERATOR_PASSWORD, or
    /// read from standard input.
    #[arg(long, value_name = "EMAIL", env = "VOSTRO_OPERATOR", required_unless_present = "dry_run")]
    operator: Option<String>,
}

impl OperatorUnlessDryRun {
    /// Why it is done; empty in a dry run.
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }

    /// As [`OperatorArgs::sign_in`].
    ///
    /// # Errors
    /// The same, and in a dry run that nobody has signed.
    pub async fn sign_in(&self, config: &Config) -> anyhow::Result<RequestContext> {
        let operator = self.operator.clone().context("say who you are with --operator")?;
        OperatorArgs::of(operator).sign_in(config).await
    }
}

impl OperatorArgs {
    pub const fn of(operator: String) -> Self {
        Self { operator }
    }

    /// Logs the operator in. From here on everything is done in their name.
    ///
    /// # Errors
    /// When the password is wrong, the person may not operate the bank, or the database is away.
    pub async fn sign_in(&self, config: &Config) -> anyhow::Result<RequestContext> {
        let auth = app::auth_for_commands(config)?;
        // Loads the keys that tokens are signed with.
        auth.start().await?;
        let somebody = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
        let logged_in = auth.login(&somebody, &self.operator, &password()?).await.context("logging in")?;
        let (id, roles) = (logged_in.user.id, logged_in.user.roles);
        if !roles.contains_any(&[Role::Operator, Role::Admin]) {
            bail!("{} has neither the role OPERATOR nor ADMIN", self.operator);
        }
        Ok(RequestContext::of(Actor::person(id, roles, None), &SystemIds))
    }
}

fn password() -> anyhow::Result<SecretString> {
    if let Ok(password) = std::env::var("VOSTRO_OPERATOR_PASSWORD") {
        return Ok(SecretString::from(password));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("reading the password from standard input")?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}
