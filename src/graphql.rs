//! The GraphQL door over the five facades: a subgraph for each, one that finds any object by its id, and one for
//! operators.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use vostro_kernel::{SystemClock, SystemIds};
use vostro_schema::door::{Budget, DocumentPolicy, Door, DoorConfig, TrustedDocuments};
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::node::Directory;
use vostro_schema::stitch::subgraph::finish;
use vostro_schema::stitch::{Engine, InProcess, Limits};
use vostro_schema::{account, auth, compliance, node, notification, operations, transaction};

pub use vostro_schema::modules::subgraph_sdls;

use crate::app::Modules;
use crate::config::Config;

/// How the API meets its clients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphqlConfig {
    /// Which documents are taken. `registered` in production: an attacker then cannot write operations at all.
    pub documents: Documents,
    /// A folder of manifests, one `<client>.json` each; `vostro documents import` writes them.
    pub documents_folder: Option<PathBuf>,
    /// The most points one operation may be expected to cost.
    pub max_cost: u32,
    /// Points a caller can spend at once; 0 for no budgets.
    pub budget_points: u32,
    /// Points that come back to a caller per second.
    pub budget_per_second: u32,
    /// Whether the last address in `X-Forwarded-For` is the caller's: only behind a proxy of your own that sets it.
    pub behind_proxy: bool,
    /// Operations in one request; 1 for no batches.
    pub batch_limit: usize,
    /// Operations that take longer are logged, without their variables, in milliseconds.
    pub slow_millis: u64,
    /// Operations that take longer are ended with `TIMEOUT`, and what the database does for them with them, in
    /// milliseconds. A subscription may last; this is for each of its events.
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
            max_cost: Limits::default().cost,
            budget_points: budget.maximum,
            budget_per_second: budget.restore_per_second,
            behind_proxy: door.behind_proxy,
            batch_limit: door.batch_limit,
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

    fn door(&self, graphiql: bool) -> anyhow::Result<DoorConfig> {
        let registered = match &self.documents_folder {
            Some(folder) => TrustedDocuments::of_folder(folder)?,
            None => TrustedDocuments::default(),
        };
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
            behind_proxy: self.behind_proxy,
            batch_limit: self.batch_limit,
            ..DoorConfig::default()
        })
    }
}

/// The routes of the API. WebSocket connections are closed when `stop` is cancelled.
///
/// # Errors
/// When the committed supergraph cannot be planned over, or a manifest of documents cannot be read.
pub fn router(config: &Config, modules: &Modules, stop: CancellationToken) -> anyhow::Result<Router> {
    let directory = Directory {
        auth: modules.auth.clone(),
        account: modules.account.clone(),
        transaction: modules.transaction.clone(),
        notification: modules.notification.clone(),
    };
    let settings = &config.graphql;
    let limits = Limits {
        introspection: config.http.graphiql,
        cost: settings.max_cost,
        slow: Duration::from_millis(settings.slow_millis),
        request: Duration::from_millis(settings.timeout_millis),
        ..Limits::default()
    };
    let engine = Engine::over(SUPERGRAPH)?
        .limits(limits)
        .module("auth", InProcess(finish(auth::builder().data(modules.auth.clone()))))
        .module("account", InProcess(finish(account::builder().data(modules.account.clone()))))
        .module("transaction", InProcess(finish(transaction::builder().data(modules.transaction.clone()))))
        .module("notification", InProcess(finish(notification::builder().data(modules.notification.clone()))))
        .module("compliance", InProcess(finish(compliance::builder().data(modules.compliance.clone()))))
        .module("node", InProcess(finish(node::builder().data(directory))))
        .module("operations", InProcess(finish(operations::builder().data(modules.operations(config)?))))
        // Without logging in nobody could look at what waits, and an operator could do nothing about it.
        .gate("auth", modules.gate("auth")?, &["login", "tokenRefresh", "logout"])
        .gate("account", modules.gate("account")?, &[])
        .gate("transaction", modules.gate("transaction")?, &[])
        .gate("notification", modules.gate("notification")?, &[])
        .build()?;
    let authenticator = Arc::new(modules.auth.verifier());
    let door_config = settings.door(config.http.graphiql)?;
    let door = Door::new(engine, authenticator, Arc::new(SystemIds), Arc::new(SystemClock), door_config);
    let router = door.router();
    tokio::spawn(async move {
        stop.cancelled().await;
        door.close_connections();
    });
    Ok(router)
}
