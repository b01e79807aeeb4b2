//! The command line. A step of a runbook is a command here, and every command is tested.
//!
//! Exit status: 0 done and fine, 1 something is wrong (a proof is broken, a check found a difference), 2 the command line
//! or the configuration cannot be used.

mod audit;
mod config_check;
mod doctor;
mod documents;
mod gateway;
mod ledger;
mod maintenance;
mod migrate;
mod module;
mod operator;
mod outbox;
pub mod output;
mod parked;
mod projection;
mod republish;
mod schema;
mod serve;
pub mod staff;
mod topology;
mod unrouted;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::{BenchOptions, GraphqlBenchOptions, MessagingBenchOptions};
use crate::config::{Config, ConfigError};
use crate::demo::DemoOptions;
use crate::gateway::GatewayConfig;

pub use ledger::prove_ledger;

/// An open-source banking core: the system of record that moves money, tells people and proves what happened.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    /// Configuration file (TOML). Keys can be overridden by VOSTRO__<SECTION>__<KEY> in the environment.
    #[arg(long, global = true, env = "VOSTRO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bank until it is told to stop (SIGTERM drains: accept nothing new, finish, publish, close).
    #[command(
        after_help = "Examples:\n  vostro serve --migrate\n  vostro --config part.toml serve --modules auth,account\n\n\
        With --modules the process answers the gateways named in federation.gateways, at /subgraph/<name>, and has no\n\
        public API; see `vostro gateway`."
    )]
    Serve(serve::ServeOptions),
    /// Serve the public API over modules in other processes (`vostro serve --modules …`).
    #[command(after_help = "Example, with the key pair that `vostro federation key` makes:\n  \
        vostro --config gateway.toml gateway\n\n  \
        # gateway.toml\n  [http]\n  address = \"0.0.0.0:8080\"\n  [federation]\n  signing_key = \"…\"\n  \
        [federation.subgraphs]\n  auth = \"http://10.0.0.5:21080\"\n  account = \"http://10.0.0.5:21080\"\n  …\n\n\
        It needs no database and no broker. Every process of the bank may be there several times, behind an address\n\
        that spreads connections.")]
    Gateway,
    /// What gateways need: keys, and the supergraph for one that is not ours.
    #[command(subcommand)]
    Federation(gateway::FederationCommand),
    /// Bring the database up to this release: schemas, roles, grants.
    Migrate,
    /// The broker's exchanges, queues, bindings and policies.
    #[command(subcommand)]
    Topology(topology::TopologyCommand),
    /// Play a bank's day through the public API and prove it.
    #[command(
        after_help = "Examples:\n  vostro demo\n  vostro demo --seed 7 --customers 200\n  vostro demo --data ../shared/data/berka"
    )]
    Demo(DemoOptions),
    /// Measure the bank.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// The ledger's proof.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// The audit chain's proof.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Messages that could not be handled, and what waits behind them: look, try again, give up.
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    /// A module's consumers: pause, resume, drain.
    #[command(subcommand)]
    Module(module::ModuleCommand),
    /// Events that reached the broker and no queue: look, publish once more.
    #[command(subcommand)]
    Unrouted(unrouted::UnroutedCommand),
    /// Events that wait to be published, and publishing once more.
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// What modules keep of others' events: compare it with the event store, build it again.
    #[command(subcommand)]
    Projection(projection::ProjectionCommand),
    /// What operators ordered that takes long: publishing once more, rebuilding. Look, agree, wait.
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceCommand),
    /// The GraphQL schema.
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Documents that clients have registered.
    #[command(subcommand)]
    Documents(documents::DocumentsCommand),
    /// People of the bank.
    #[command(subcommand)]
    Staff(staff::StaffCommand),
    /// The configuration.
    #[command(subcommand)]
    Config(config_check::ConfigCommand),
    /// Check everything the bank needs and say what to do about what is missing.
    Doctor(doctor::DoctorOptions),
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Transfers from acceptance to completion, over HTTP and GraphQL.
    #[command(
        after_help = "Examples:\n  vostro bench transfers\n  vostro bench transfers --clients 64 --seconds 30\n  vostro bench transfers --hot-account"
    )]
    Transfers(BenchOptions),
    /// Relay, broker and consumer: throughput, latencies under load, and what an outage of the broker costs.
    #[command(
        after_help = "Needs both servers and no bank: it makes a database and a virtual host of its own and removes them.\n\nExamples:\n  vostro bench messaging\n  vostro bench messaging --events 20000 --seconds 5 --json\n  vostro bench messaging --require-goals"
    )]
    Messaging(MessagingBenchOptions),
    /// The GraphQL door: what stitching adds, planning, refusing what means harm, reads, and events to many subscribers.
    #[command(
        after_help = "Measures the bank that runs, or starts one. It registers customers and moves their money: use a database \
        that nobody needs.\n\nEach subscriber is an open file here and one in the bank: run `ulimit -n 10300` before, or take fewer.\n\n\
        Examples:\n  vostro bench graphql\n  vostro bench graphql --subscribers 500 --events 20 --json\n  \
        vostro bench graphql --require-goals"
    )]
    Graphql(GraphqlBenchOptions),
}

/// Runs the command of this process's arguments.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let file = arguments.config.as_deref();
    if let Command::Schema(command) = &arguments.command {
        return output::status(schema::run(command));
    }
    if let Command::Documents(command) = &arguments.command {
        return output::status(documents::run(command));
    }
    if let Command::Federation(command) = &arguments.command {
        return output::status(gateway::run(command, file));
    }
    if matches!(arguments.command, Command::Gateway) {
        return match GatewayConfig::load(file) {
            Ok(config) => output::status(gateway::serve(&config).await),
            Err(error) => unusable(&error),
        };
    }
    if let Command::Topology(command) = &arguments.command
        && let Some(result) = topology::run_without_configuration(command)
    {
        return output::status(result);
    }
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return unusable(&error),
    };
    let result = match arguments.command {
        Command::Serve(options) => serve::run(config, &options).await,
        Command::Migrate => migrate::run(&config).await,
        Command::Topology(command) => topology::run(&config, &command).await,
        Command::Demo(options) => play_demo(&config, file, &options).await,
        Command::Bench(BenchCommand::Transfers(options)) => crate::bench::transfers(&config, file, &options).await,
        Command::Bench(BenchCommand::Messaging(options)) => crate::bench::messaging(&config, &options).await,
        Command::Bench(BenchCommand::Graphql(options)) => crate::bench::graphql(&config, file, &options).await,
        Command::Ledger(command) => ledger::run(&config, &command).await,
        Command::Audit(command) => audit::run(&config, &command).await,
        Command::Parked(command) => parked::run(&config, &command).await,
        Command::Module(command) => module::run(&config, &command).await,
        Command::Unrouted(command) => unrouted::run(&config, &command).await,
        Command::Outbox(command) => outbox::run(&config, &command).await,
        Command::Projection(command) => projection::run(&config, &command).await,
        Command::Maintenance(command) => maintenance::run(&config, &command).await,
        Command::Staff(command) => staff::run(&config, &command).await,
        Command::Config(command) => config_check::run(&config, &command),
        Command::Doctor(options) => doctor::run(&config, &options).await,
        Command::Schema(_) | Command::Documents(_) | Command::Federation(_) | Command::Gateway => {
            unreachable!("handled above, before the bank's configuration was read")
        }
    };
    output::status(result)
}

fn unusable(error: &ConfigError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}

async fn play_demo(config: &Config, file: Option<&std::path::Path>, options: &DemoOptions) -> anyhow::Result<bool> {
    let report = crate::demo::play(config, file, options).await?;
    if options.json {
        output::json(&report.to_json());
    } else {
        output::text(&report.to_string());
    }
    Ok(report.succeeded())
}
