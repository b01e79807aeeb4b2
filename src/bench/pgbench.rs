use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;
use tokio::process::Command;

use crate::config::Config;

const DATABASE: &str = "vostro_pgbench";

/// Runs pgbench (TPC-B, scale 50, 8 clients, 20 s) on the bank's own server in a database of its own and returns the
/// transactions per second: what one plain commit per transfer would give on this machine, now.
pub async fn run(config: &Config) -> anyhow::Result<u64> {
    let program = find().context("pgbench is not installed; use --no-pgbench to do without")?;
    let url = config.database.url.expose_secret();
    let (server, _) = url.rsplit_once('/').context("database.url names no database")?;
    let target = format!("{server}/{DATABASE}");
    eprintln!("pgbench -c 8 -j 2 -T 20, scale 50");
    fill_the_log(&program, url).await?;
    execute(&program, &[url, "-n", "-t", "1", "-f", "-"], &format!("create database {DATABASE};\n")).await?;
    execute(&program, &["-i", "-s", "50", "-q", &target], "").await?;
    let output = execute(&program, &["-c", "8", "-j", "2", "-T", "20", "-n", &target], "").await?;
    execute(&program, &[url, "-n", "-t", "1", "-f", "-"], &format!("drop database {DATABASE};\n")).await?;
    let line = output.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench printed no tps")?;
    let whole = line.split(['.', ' ']).next().unwrap_or_default();
    Ok(whole.parse()?)
}

/// A new server makes the files of its write-ahead log as it goes, and every 16 MB somebody waits a tenth of a second for
/// the next; a server that has run for a while takes them from those that a checkpoint has set free. This makes as many as
/// the server keeps (`min_wal_size`); dropping a database is a checkpoint.
async fn fill_the_log(program: &PathBuf, url: &str) -> anyhow::Result<()> {
    let fill = "select pg_logical_emit_message(false, 'fill', repeat('x', 16000000));\n";
    execute(program, &[url, "-n", "-t", "128", "-f", "-"], fill).await?;
    let drop = format!("drop database if exists {DATABASE};\n");
    let create = format!("create database {DATABASE};\n");
    for statement in [&drop, &create, &drop] {
        execute(program, &[url, "-n", "-t", "1", "-f", "-"], statement).await?;
    }
    Ok(())
}

fn find() -> Option<PathBuf> {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = installed.map(|version| version.path().join("bin")).chain(on_path);
    folders.map(|folder| folder.join("pgbench")).find(|program| program.is_file())
}

async fn execute(program: &PathBuf, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    use tokio::io::AsyncWriteExt as _;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting pgbench")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
