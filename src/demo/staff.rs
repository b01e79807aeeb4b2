use serde_json::json;
use vostro_kernel::Role;

use crate::cli::staff::ensure_staff;
use crate::client::{Connection, documents};
use crate::config::Config;

/// The people of the bank who take part.
pub struct Staff {
    /// Tells this run's people from those of earlier runs on the same bank.
    pub run: String,
    operator: Login,
    officer: Login,
}

struct Login {
    email: String,
    password: String,
}

impl Staff {
    /// A fresh access token of the operator, who works at the counter.
    pub async fn operator(&self, config: &Config) -> anyhow::Result<String> {
        log_in(config, &self.operator.email, &self.operator.password).await
    }

    /// A fresh access token of the compliance officer.
    pub async fn officer(&self, config: &Config) -> anyhow::Result<String> {
        log_in(config, &self.officer.email, &self.officer.password).await
    }
}

/// Makes sure the staff exist. That is a command of the bank's own, because nobody could be logged in to do it.
pub async fn hire(config: &Config) -> anyhow::Result<Staff> {
    let run = uuid::Uuid::now_v7().simple().to_string();
    let officer = Login { email: format!("officer-{run}@bank.example"), password: password() };
    let operator = Login { email: format!("teller-{run}@bank.example"), password: password() };
    ensure_staff(config, &operator.email, "Teller", &operator.password, Role::Operator).await?;
    ensure_staff(config, &officer.email, "Officer", &officer.password, Role::ComplianceOfficer).await?;
    Ok(Staff { run, operator, officer })
}

/// A password nobody has to remember.
pub fn password() -> String {
    format!("demo {}", uuid::Uuid::now_v7().simple())
}

/// Logs in over GraphQL and returns the access token.
pub async fn log_in(config: &Config, email: &str, password: &str) -> anyhow::Result<String> {
    let mut connection = Connection::open(config.http.address).await?;
    let input = json!({"input": {"email": email, "password": password}});
    let data = connection.data(documents::LOGIN, input).await?;
    match data["login"]["tokens"]["accessToken"].as_str() {
        Some(token) => Ok(token.to_owned()),
        None => anyhow::bail!("{email} cannot log in: {}", data["login"]["userErrors"]),
    }
}
