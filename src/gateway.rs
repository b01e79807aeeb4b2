//! A gateway: the public API over subgraphs in other processes. It stands on no database and no broker.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{ConfigError, HttpConfig, LogConfig, TracingConfig, layered};
use crate::federation::FederationConfig;
use crate::graphql::{self, GraphqlConfig};
use crate::http::{self, HEAD_TIMEOUT};

/// What a gateway reads of the bank's configuration. The sections of the modules may stand in the same file, and their
/// secrets need not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    #[serde(default)]
    pub http: HttpConfig,
    #[serde(default)]
    pub graphql: GraphqlConfig,
    #[serde(default)]
    pub log: LogConfig,
    #[serde(default)]
    pub tracing: TracingConfig,
    #[serde(default)]
    pub federation: FederationConfig,
    #[serde(default, rename = "database")]
    _database: IgnoredAny,
    #[serde(default, rename = "broker")]
    _broker: IgnoredAny,
    #[serde(default, rename = "messaging")]
    _messaging: IgnoredAny,
    #[serde(default, rename = "auth")]
    _auth: IgnoredAny,
    #[serde(default, rename = "account")]
    _account: IgnoredAny,
    #[serde(default, rename = "transaction")]
    _transaction: IgnoredAny,
    #[serde(default, rename = "notification")]
    _notification: IgnoredAny,
    #[serde(default, rename = "compliance")]
    _compliance: IgnoredAny,
}

impl GatewayConfig {
    /// Reads the layers: `file` when given, then the process environment.
    ///
    /// # Errors
    /// [`ConfigError`] for a missing file, a malformed or unknown key, or a value that makes no sense.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = layered(file, None)?;
        let checks = [
            ("graphql", config.graphql.validate()),
            ("federation", config.federation.validate()),
            ("tracing", config.tracing.validate()),
        ];
        for (section, check) in checks {
            check.map_err(|problem| ConfigError(format!("{section}: {problem}")))?;
        }
        Ok(config)
    }
}

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    drain: Duration,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Gateway {
    /// Starts it. Subgraphs that cannot be reached are answered for with `MODULE_UNAVAILABLE` until they can.
    ///
    /// # Errors
    /// When there is no key to sign with, an address makes no sense or is taken.
    pub async fn start(config: &GatewayConfig) -> anyhow::Result<Self> {
        crate::telemetry::metrics();
        let stop = CancellationToken::new();
        let routes = graphql::gateway(config, stop.clone())?;
        let listener = TcpListener::bind(config.http.address)
            .await
            .with_context(|| format!("listening on {}; set http.address to a free one", config.http.address))?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(http::serve(listener, http::gateway_router(routes, stop.clone()), HEAD_TIMEOUT, stop.clone()));
        Ok(Self { address, drain: config.http.drain(), stop, serving })
    }

    /// Where the gateway listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing new, and waits for requests for as long as `http.drain_seconds` says.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let all = async { while self.serving.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain, all).await.is_err() {
            warn!("requests were not finished within the drain limit");
        }
        info!("the gateway is closed");
    }
}
