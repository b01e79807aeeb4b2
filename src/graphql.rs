//! The GraphQL door over the five facades: a subgraph for each, one that finds any object by its id, and one for
//! operators. In one process, or in several with a gateway before them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use axum::Router;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use vostro_kernel::{SystemClock, SystemIds};
use vostro_messaging::AdmissionGate;
use vostro_schema::door::{Authenticator, Budget, DocumentPolicy, Door, DoorConfig, Statuses, TrustedDocuments};
use vostro_schema::federation::{Entrance, EntranceConfig};
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::node::{Directory, Facades, Subgraphs};
use vostro_schema::stitch::subgraph::finish;
use vostro_schema::stitch::{Engine, InProcess, Limits, SubgraphTransport};
use vostro_schema::{account, auth, compliance, node, notification, operations, transaction};

pub use vostro_schema::modules::subgraph_sdls;

use crate::app::{Modules, Part};
use crate::config::Config;
use crate::federation::FederationConfig;
use crate::gateway::GatewayConfig;

/// How the API meets its clients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphqlConfig {
    /// Which documents are taken. `registered` in production: an attacker then cannot write operations at all.
    pub documents: Documents,
    /// A folder of manifests, one `<client>.json` each; `vostro documents import` writes them.
    pub documents_folder: Option<PathBuf>,
    /// Clients with a manifest that send ids of registered documents only while others may send texts. A client says by
    /// itself who it is: this finds mistakes in them, and keeps nobody out as `documents = "registered"` does.
    pub id_only_clients: Vec<String>,
    /// Clients without a manifest that the bank knows by name; those with one it knows anyway.
    pub known_clients: Vec<String>,
    /// The most points one operation may be expected to cost.
    pub max_cost: u32,
    /// Points a caller can spend at once, and as many once more that the events of its subscriptions may come to; 0 for no
    /// budgets.
    pub budget_points: u32,
    /// Points that come back to a caller per second.
    pub budget_per_second: u32,
    /// WebSocket connections and event streams of one caller at the same time; 0 for as many as they like.
    pub connections_per_caller: usize,
    /// How much of its caller's points each client may spend, in percent, so that one that spends all it can leaves something
    /// for the others. All clients the bank does not know by name are one; where it knows none, that one has all.
    pub budget_client_percent: u32,
    /// Whether the last address in `X-Forwarded-For` is the caller's: only behind a proxy of your own that sets it.
    pub behind_proxy: bool,
    /// Operations in one request; 1 for no batches.
    pub batch_limit: usize,
    /// Whether `application/graphql-response+json` has the statuses of the newest draft of GraphQL over HTTP: 422 for an
    /// operation that is not valid and 294 for an answer in part, in place of 400 and 200.
    pub draft_statuses: bool,
    /// Operations that take longer are logged, without their variables, in milliseconds.
    pub slow_millis: u64,
    /// Operations that take longer are ended with `TIMEOUT`, and what the database does for them with them, in
    /// milliseconds. Those of a batch have it together. A subscription may last; this is for each of its events.
    pub timeout_millis: u64,
}

/// Which documents are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Documents {
    /// Any, and registered ones by their id.
    Any,
    /// Registered ones by their id, and nothing else.
    Registered,
}

impl Default for GraphqlConfig {
    fn default() -> Self {
        let door = DoorConfig::default();
        let budget = door.budget.unwrap_or(Budget { maximum: 0, restore_per_second: 0 });
        Self {
            documents: Documents::Any,
            documents_folder: None,
            id_only_clients: Vec::new(),
            known_clients: Vec::new(),
            max_cost: Limits::default().cost,
            budget_points: budget.maximum,
            budget_per_second: budget.restore_per_second,
            connections_per_caller: door.connections_per_caller,
            budget_client_percent: 80,
            behind_proxy: door.behind_proxy,
            batch_limit: door.batch_limit,
            draft_statuses: false,
            slow_millis: 1_000,
            timeout_millis: u64::try_from(Limits::default().request.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl GraphqlConfig {
    /// # Errors
    /// With the key and what is wrong with its value.
    pub fn validate(&self) -> Result<(), String> {
        if self.documents == Documents::Registered && self.documents_folder.is_none() {
            return Err("documents_folder: needed when only registered documents are taken".to_owned());
        }
        if !self.id_only_clients.is_empty() && self.documents_folder.is_none() {
            return Err("documents_folder: needed when clients send ids of registered documents only".to_owned());
        }
        if !(1..=100).contains(&self.budget_client_percent) {
            return Err("budget_client_percent: from 1 to 100, which is no limit".to_owned());
        }
        if self.budget_points > 0 && self.budget_points < self.max_cost {
            return Err("budget_points: must be at least max_cost, or some operations could never run".to_owned());
        }
        if self.budget_points > 0 && self.budget_per_second == 0 {
            return Err("budget_per_second: at least 1 when there are budgets".to_owned());
        }
        if !(1..=100).contains(&self.batch_limit) {
            return Err("batch_limit: from 1 to 100".to_owned());
        }
        if !(100..=300_000).contains(&self.timeout_millis) {
            return Err("timeout_millis: from 100 to 300000".to_owned());
        }
        Ok(())
    }

    fn client_budget(&self) -> Budget {
        let share = |points: u32| {
            let share = u64::from(points) * u64::from(self.budget_client_percent) / 100;
            u32::try_from(share).unwrap_or(points)
        };
        Budget {
            // Whatever is allowed at all can be paid for with one client.
            maximum: share(self.budget_points).max(self.max_cost),
            restore_per_second: share(self.budget_per_second).max(1),
        }
    }

    fn door(&self, graphiql: bool) -> anyhow::Result<DoorConfig> {
        let mut registered = match &self.documents_folder {
            Some(folder) => TrustedDocuments::of_folder(folder)?,
            None => TrustedDocuments::default(),
        };
        for client in &self.id_only_clients {
            // A misspelt name would be a client that nothing is asked of.
            ensure!(
                registered.require_ids(client),
                "graphql.id_only_clients: there is no manifest {client}.json in graphql.documents_folder"
            );
        }
        for client in &self.known_clients {
            registered.know(client);
        }
        let documents = match self.documents {
            Documents::Any => DocumentPolicy::Any,
            Documents::Registered => DocumentPolicy::RegisteredOnly,
        };
        let budget = Budget { maximum: self.budget_points, restore_per_second: self.budget_per_second };
        Ok(DoorConfig {
            graphiql,
            documents,
            registered: Arc::new(registered),
            budget: (self.budget_points > 0).then_some(budget),
            client_budget: (self.budget_client_percent < 100).then(|| self.client_budget()),
            behind_proxy: self.behind_proxy,
            connections_per_caller: self.connections_per_caller,
            batch_limit: self.batch_limit,
            statuses: if self.draft_statuses { Statuses::Draft } else { Statuses::Established },
            ..DoorConfig::default()
        })
    }
}

/// A subgraph and how it is reached.
pub type Reached = (String, Arc<dyn SubgraphTransport>);

/// The routes of the API over modules that all run here. WebSocket connections are closed when `stop` is cancelled.
///
/// # Errors
/// When the committed supergraph cannot be planned over, or a manifest of documents cannot be read.
pub fn public(config: &Config, modules: &Modules, stop: CancellationToken) -> anyhow::Result<Router> {
    let missing = || anyhow!("the whole bank runs all modules");
    let directory = Facades {
        auth: modules.auth.clone().ok_or_else(missing)?,
        account: modules.account.clone().ok_or_else(missing)?,
        transaction: modules.transaction.clone().ok_or_else(missing)?,
        notification: modules.notification.clone().ok_or_else(missing)?,
        compliance: modules.compliance.clone().ok_or_else(missing)?,
    };
    let authenticator = Arc::new(directory.auth.verifier());
    let mut subgraphs = of_modules(modules);
    subgraphs.push(node(Arc::new(directory)));
    subgraphs.push(operations(config, modules)?);
    let gates = gates(modules)?;
    open(&config.graphql, config.http.graphiql, subgraphs, gates, authenticator, stop)
}

fn entrance_config(federation: &FederationConfig) -> EntranceConfig {
    let usual = EntranceConfig::default();
    EntranceConfig { call: usual.call.max(Duration::from_millis(federation.call_ms)), ..usual }
}

/// The routes for gateways, over what runs here. Subscriptions are ended when `stop` is cancelled.
///
/// # Errors
/// When no gateway is trusted, or `node` runs here and a module it asks has no address.
pub fn for_gateways(
    config: &Config,
    modules: &Modules,
    part: &Part,
    stop: CancellationToken,
) -> anyhow::Result<Router> {
    let gateways = config.federation.trusted_gateways()?;
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let mut entrance = Entrance::new(gateways, clock, ids, entrance_config(&config.federation));
    let mut subgraphs = of_modules(modules);
    if part.has("node") {
        let mut owners: HashMap<_, _> = subgraphs.iter().cloned().collect();
        for (name, transport) in elsewhere(&config.federation, part)? {
            owners.entry(name).or_insert(transport);
        }
        subgraphs.push(node(Arc::new(Subgraphs::new(owners)?)));
    }
    if part.has("operations") {
        subgraphs.push(operations(config, modules)?);
    }
    for (name, transport) in subgraphs {
        entrance = entrance.subgraph(&name, transport);
    }
    for (module, gate, always) in gates(modules)? {
        entrance = entrance.gate(module, gate, always);
    }
    if let Some(auth) = &modules.auth {
        entrance = entrance.identifies_with(Arc::new(auth.verifier()));
    }
    let (router, closing) = entrance.router();
    tokio::spawn(async move {
        stop.cancelled().await;
        closing.send_replace(true);
    });
    Ok(router)
}

/// The ways to what `node` asks and does not run here.
fn elsewhere(federation: &FederationConfig, part: &Part) -> anyhow::Result<Vec<Reached>> {
    let needed = ["auth", "account", "transaction", "notification"];
    let missing: Vec<_> = needed.into_iter().filter(|name| !part.has(name)).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let without: Vec<_> = missing.iter().filter(|name| !federation.subgraphs.contains_key(**name)).copied().collect();
    ensure!(
        without.is_empty(),
        "node asks modules in other processes: set federation.subgraphs for {}",
        without.join(", ")
    );
    let transports = federation.transports()?.into_iter();
    Ok(transports.map(|(name, transport)| (name, Arc::new(transport) as Arc<dyn SubgraphTransport>)).collect())
}

/// The routes of the API over subgraphs in other processes.
///
/// # Errors
/// When there is no key to sign with, or an address is none.
pub fn gateway(config: &GatewayConfig, stop: CancellationToken) -> anyhow::Result<Router> {
    let authenticator = Arc::new(config.federation.authenticator()?);
    let transports = config.federation.transports()?.into_iter();
    let mut subgraphs: Vec<Reached> =
        transports.map(|(name, transport)| (name, Arc::new(transport) as Arc<dyn SubgraphTransport>)).collect();
    if !config.federation.subgraphs.contains_key("node") {
        // It owns no data, so it can as well be here: one step less.
        let owners = subgraphs.iter().cloned().collect();
        subgraphs.push(node(Arc::new(Subgraphs::new(owners)?)));
    }
    open(&config.graphql, config.http.graphiql, subgraphs, Vec::new(), authenticator, stop)
}

fn open(
    settings: &GraphqlConfig,
    graphiql: bool,
    subgraphs: Vec<Reached>,
    gates: Vec<Gate>,
    authenticator: Arc<dyn Authenticator>,
    stop: CancellationToken,
) -> anyhow::Result<Router> {
    let limits = Limits {
        introspection: graphiql,
        cost: settings.max_cost,
        slow: Duration::from_millis(settings.slow_millis),
        request: Duration::from_millis(settings.timeout_millis),
        ..Limits::default()
    };
    let door = settings.door(graphiql)?;
    let mut engine = Engine::over(SUPERGRAPH)?.limits(limits).registered(door.registered.clients());
    for (name, transport) in subgraphs {
        engine = engine.module(name, transport);
    }
    for (module, gate, always) in gates {
        engine = engine.gate(module, gate, always);
    }
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let door = Door::new(engine.build()?, authenticator, ids, clock, door);
    let router = door.router();
    tokio::spawn(async move {
        stop.cancelled().await;
        door.close_connections();
    });
    Ok(router)
}

/// The subgraphs of the modules that run here.
pub fn of_modules(modules: &Modules) -> Vec<Reached> {
    fn reached(name: &str, transport: impl SubgraphTransport + 'static) -> Reached {
        (name.to_owned(), Arc::new(transport))
    }
    let Modules { auth, account, transaction, notification, compliance, .. } = modules;
    let subgraphs = [
        auth.clone().map(|facade| reached("auth", InProcess(finish(auth::builder().data(facade))))),
        account.clone().map(|facade| reached("account", InProcess(finish(account::builder().data(facade))))),
        transaction
            .clone()
            .map(|facade| reached("transaction", InProcess(finish(transaction::builder().data(facade))))),
        notification
            .clone()
            .map(|facade| reached("notification", InProcess(finish(notification::builder().data(facade))))),
        compliance.clone().map(|facade| reached("compliance", InProcess(finish(compliance::builder().data(facade))))),
    ];
    subgraphs.into_iter().flatten().collect()
}

fn node(directory: Arc<dyn Directory>) -> Reached {
    ("node".to_owned(), Arc::new(InProcess(finish(node::builder().data(directory)))))
}

fn operations(config: &Config, modules: &Modules) -> anyhow::Result<Reached> {
    let desks = operations::builder().data(modules.operations(config)?);
    Ok(("operations".to_owned(), Arc::new(InProcess(finish(desks)))))
}

/// A module's gate, and the mutations that are let in all the same.
type Gate = (&'static str, AdmissionGate, &'static [&'static str]);

/// The gates of the modules that run here.
fn gates(modules: &Modules) -> anyhow::Result<Vec<Gate>> {
    // Without logging in nobody could look at what waits, and an operator could do nothing about it. What protects money or
    // takes work away is let in too: the transfers that wait will be booked against an account as it stands then.
    let all: [(bool, &'static str, &'static [&'static str]); 4] = [
        (modules.auth.is_some(), "auth", &["login", "tokenRefresh", "logout", "roleAssign"]),
        (modules.account.is_some(), "account", &["accountFreeze", "statementCancel"]),
        (modules.transaction.is_some(), "transaction", &[]),
        (modules.notification.is_some(), "notification", &[]),
    ];
    let here = all.into_iter().filter(|(runs, ..)| *runs);
    here.map(|(_, module, always)| Ok((module, modules.gate(module)?, always))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_part_of_the_points_and_enough_for_whatever_is_allowed() {
        let of = |budget_points, budget_per_second, budget_client_percent| {
            let config = GraphqlConfig {
                budget_points,
                budget_per_second,
                budget_client_percent,
                max_cost: 1_000,
                ..GraphqlConfig::default()
            };
            let budget = config.client_budget();
            (budget.maximum, budget.restore_per_second)
        };
        assert_eq!(of(50_000, 20_000, 80), (40_000, 16_000));
        assert_eq!(of(u32::MAX, u32::MAX, 99), (4_252_017_622, 4_252_017_622));
        assert_eq!(of(1_000, 1, 10), (1_000, 1));
    }

    #[test]
    fn a_client_that_has_to_send_ids_has_a_manifest() {
        let folder = std::env::temp_dir().join(format!("vostro-clients-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        std::fs::write(folder.join("app.json"), r#"{"1": "{ me { id } }"}"#).expect("it is writable");
        let door = |client: &str| {
            let config = GraphqlConfig {
                documents_folder: Some(folder.clone()),
                id_only_clients: vec![client.to_owned()],
                known_clients: vec!["partner".to_owned()],
                ..GraphqlConfig::default()
            };
            config.door(false).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(door("app"), Ok(()));
        for unknown in ["ap", "partner", "*"] {
            let refused = door(unknown).expect_err("nothing is registered by it");
            assert!(refused.contains(&format!("{unknown}.json")), "{refused}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder is still there");
    }
}
