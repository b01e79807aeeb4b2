use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

use crate::client::Connection;
use crate::config::Config;

/// The bank as a process of its own, so that the demo talks to it like any other client.
pub struct BankProcess {
    child: Child,
}

impl BankProcess {
    const READY_WITHIN: Duration = Duration::from_secs(120);

    /// Starts `vostro serve` with this process's configuration, overridden by `environment`, and waits until it is ready.
    pub async fn start(
        config: &Config,
        config_file: Option<&Path>,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("finding the program itself")?);
        if let Some(file) = config_file {
            command.arg("--config").arg(file);
        }
        let child = command
            .arg("serve")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting the bank")?;
        let mut bank = Self { child };
        bank.wait_until_ready(config).await?;
        Ok(bank)
    }

    async fn wait_until_ready(&mut self, config: &Config) -> anyhow::Result<()> {
        let deadline = Instant::now() + Self::READY_WITHIN;
        let mut last = String::from("nobody listens yet");
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("the bank ended while starting ({status}); its log is above");
            }
            if let Ok(mut connection) = Connection::open(config.http.address).await {
                match connection.get("/health/ready").await {
                    Ok((status, _)) if status.is_success() => return Ok(()),
                    Ok((_, body)) => last = String::from_utf8_lossy(&body).into_owned(),
                    Err(error) => last = error.to_string(),
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the bank is not ready after {} s: {last}", Self::READY_WITHIN.as_secs())
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks the bank to drain and stop, and tells whether it did so with success.
    pub async fn stop(mut self, within: Duration) -> anyhow::Result<bool> {
        let Some(id) = self.child.id() else { return Ok(false) };
        // The standard library cannot send SIGTERM and `unsafe` is forbidden; kill(1) is on every machine.
        Command::new("kill").arg("-TERM").arg(id.to_string()).status().await.context("asking the bank to stop")?;
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => Ok(status?.success()),
            Err(_) => {
                self.child.kill().await?;
                Ok(false)
            }
        }
    }
}
