use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use vostro_rabbitmq::topology::{diff, read_live};

use super::output;
use crate::app;
use crate::broker;
use crate::client::Connection;
use crate::config::Config;
use crate::database;

#[derive(Debug, clap::Args)]
pub struct DoctorOptions {
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

struct Finding {
    what: &'static str,
    /// What was found, or what is wrong.
    result: Result<String, String>,
    /// What to do when it is wrong.
    remedy: &'static str,
}

pub async fn run(config: &Config, options: &DoctorOptions) -> anyhow::Result<bool> {
    let findings = [
        Finding {
            what: "database answers",
            result: database_answers(config).await,
            remedy: "start PostgreSQL (scripts/stack.sh up) or correct database.url",
        },
        Finding { what: "database is migrated", result: migrated(config).await, remedy: "run vostro migrate" },
        Finding {
            what: "broker answers",
            result: broker_answers(config).await,
            remedy: "start RabbitMQ (scripts/stack.sh up) or correct broker.url and broker.management_url",
        },
        Finding { what: "topology is right", result: topology(config).await, remedy: "run vostro topology apply" },
        Finding { what: "bank is ready", result: bank(config).await, remedy: "run vostro serve, then look at /health" },
    ];
    let ok = findings.iter().all(|finding| finding.result.is_ok());
    if options.json {
        let values = findings.iter().map(|finding| {
            let detail = finding.result.as_ref().unwrap_or_else(|problem| problem);
            json!({"check": finding.what, "ok": finding.result.is_ok(), "detail": detail, "remedy": finding.remedy})
        });
        let warnings: Vec<_> = config.http.warning().into_iter().collect();
        output::json(&json!({"ok": ok, "checks": values.collect::<Vec<_>>(), "warnings": warnings}));
    } else {
        let row = |finding: &Finding| match &finding.result {
            Ok(detail) => [finding.what.to_owned(), "ok".to_owned(), detail.clone()],
            Err(problem) => [finding.what.to_owned(), "WRONG".to_owned(), format!("{problem} -> {}", finding.remedy)],
        };
        let rows: Vec<[String; 3]> = findings.iter().map(row).collect();
        output::text(&output::table(["check", "result", "detail"], &rows));
        // What may be meant to be so: it does not fail the examination.
        if let Some(warning) = config.http.warning() {
            output::text(&format!("Warning: {warning}"));
        }
    }
    Ok(ok)
}

async fn database_answers(config: &Config) -> Result<String, String> {
    let options = database::owner_options(&config.database).map_err(|error| error.to_string())?;
    let mut connection = PgConnection::connect_with(&options).await.map_err(|error| error.to_string())?;
    let version = sqlx::query_scalar!(r#"select current_setting('server_version') as "version!""#)
        .fetch_one(&mut connection)
        .await
        .map_err(|error| error.to_string())?;
    Ok(format!("PostgreSQL {version}"))
}

async fn migrated(config: &Config) -> Result<String, String> {
    let pending = database::pending(&config.database, &app::schemas()).await.map_err(|error| error.to_string())?;
    match pending.first() {
        None => Ok("nothing is pending".to_owned()),
        Some(first) => Err(format!(
            "{} migrations are pending, the first is {} of {}",
            pending.len(),
            first.description,
            first.module
        )),
    }
}

async fn broker_answers(config: &Config) -> Result<String, String> {
    let (client, _) = broker::management(&config.broker).map_err(|error| error.to_string())?;
    client.version().await.map(|version| format!("RabbitMQ {version}")).map_err(|error| error.to_string())
}

async fn topology(config: &Config) -> Result<String, String> {
    let (client, vhost) = broker::management(&config.broker).map_err(|error| error.to_string())?;
    let wanted = app::topology(config).map_err(|error| error.to_string())?;
    let live = read_live(&client, &vhost).await.map_err(|error| error.to_string())?;
    let differences = diff(&wanted, &live);
    match differences.first() {
        None => Ok("as the manifests say".to_owned()),
        Some(first) => Err(format!("{} differences, the first: {first}", differences.len())),
    }
}

async fn bank(config: &Config) -> Result<String, String> {
    let mut connection = Connection::open(config.http.address).await.map_err(|error| error.to_string())?;
    let (status, body) = connection.get("/health/ready").await.map_err(|error| error.to_string())?;
    if status.is_success() {
        return Ok(format!("at {}", config.http.address));
    }
    Err(String::from_utf8_lossy(&body).into_owned())
}
