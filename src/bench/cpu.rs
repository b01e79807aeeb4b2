//! CPU time by process, from `/proc` (Linux).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{Connection as _, PgConnection};
use vostro_rabbitmq::ManagementClient;

use crate::broker;
use crate::client::Connection;
use crate::config::Config;
use crate::database;

/// The processes that share the machine during a benchmark.
pub struct Processes {
    bank: u32,
    /// The postmaster; its children are the server's sessions and helpers.
    postgresql: u32,
    rabbitmq: u32,
}

/// A broker that was just started tells it after some seconds.
async fn broker_pid(management: &ManagementClient) -> anyhow::Result<u32> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(pid) = management.os_pid().await? {
            return Ok(pid);
        }
        anyhow::ensure!(Instant::now() < deadline, "the broker does not tell its process id");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// CPU seconds, in hundredths, of bank, PostgreSQL, RabbitMQ and this process.
pub type CpuCentiseconds = [u64; 4];

impl Processes {
    pub async fn find(config: &Config) -> anyhow::Result<Self> {
        let mut connection = Connection::open(config.http.address).await?;
        let (_, health) = connection.get("/health").await?;
        let health: serde_json::Value = serde_json::from_slice(&health)?;
        let bank = health["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("/health tells no pid")?;
        let mut session = PgConnection::connect_with(&database::owner_options(&config.database)?).await?;
        let backend = sqlx::query_scalar!(r#"select pg_backend_pid() as "pid!""#).fetch_one(&mut session).await?;
        let postgresql = Stat::read(u32::try_from(backend)?)?.parent;
        session.close().await?;
        let (management, _) = broker::management(&config.broker)?;
        let rabbitmq = broker_pid(&management).await?;
        Ok(Self { bank, postgresql, rabbitmq })
    }

    /// The bank's process id.
    pub const fn bank(&self) -> u32 {
        self.bank
    }

    pub fn cpu(&self) -> anyhow::Result<CpuCentiseconds> {
        let mut postgresql = Stat::read(self.postgresql)?.with_children;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end between listing and reading; then its time is with its parent already.
            if let Ok(stat) = Stat::read(pid)
                && stat.parent == self.postgresql
            {
                postgresql += stat.own;
            }
        }
        let own = Stat::read(std::process::id())?.own;
        Ok([Stat::read(self.bank)?.own, postgresql, Stat::read(self.rabbitmq)?.own, own])
    }

    pub fn bank_memory_mib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.bank))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in /proc")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024)
    }
}

struct Stat {
    parent: u32,
    /// User and system time in hundredths of a second (USER_HZ is 100 on every Linux this runs on).
    own: u64,
    /// The same including children that have ended and been waited for.
    with_children: u64,
}

impl Stat {
    /// proc(5): the fields after the command name, which is in parentheses and may contain anything.
    fn read(pid: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
        let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        if fields.len() < 15 {
            bail!("/proc/{pid}/stat has an unknown form");
        }
        let ticks = |index: usize| fields[index].parse::<u64>().context("a time in /proc is not a number");
        let own = ticks(11)? + ticks(12)?;
        Ok(Self { parent: fields[1].parse()?, own, with_children: own + ticks(13)? + ticks(14)? })
    }
}
