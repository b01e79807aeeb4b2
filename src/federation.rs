//! How the processes of a bank that runs in several parts find and believe each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use vostro_kernel::{SystemClock, SystemIds};
use vostro_schema::federation::{GatewayKey, Http, HttpTimes, RemoteAuthenticator, TrustedGateways};

use crate::app::Part;

/// Who calls whom when modules and gateways are processes of their own. Without them nothing of it is needed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// What this process is called where it calls subgraphs: the name its public key stands under in their `gateways`.
    pub name: String,
    /// The key it signs its calls with: 32 secret bytes in base64, as `vostro federation key` makes them.
    pub signing_key: Option<SecretString>,
    /// The gateways whose calls this process answers: their public keys by their names. Two keys of one gateway are two
    /// names, while a key is replaced.
    pub gateways: BTreeMap<String, String>,
    /// The base address of the process that runs each subgraph, such as `http://10.0.0.5:21080`.
    pub subgraphs: BTreeMap<String, String>,
    /// How long a subgraph may take for one answer, in milliseconds. One that runs here takes ten seconds in any case.
    pub call_ms: u64,
    /// How long a connection to it may take, in milliseconds.
    pub connect_ms: u64,
}

impl Default for FederationConfig {
    fn default() -> Self {
        let times = HttpTimes::default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            name: "gateway".to_owned(),
            signing_key: None,
            gateways: BTreeMap::new(),
            subgraphs: BTreeMap::new(),
            call_ms: millis(times.call),
            connect_ms: millis(times.connect),
        }
    }
}

impl FederationConfig {
    /// # Errors
    /// With the key and what is wrong with its value.
    pub fn validate(&self) -> Result<(), String> {
        self.trusted().map_err(|error| format!("gateways: {error}"))?;
        if let Some(secret) = &self.signing_key {
            GatewayKey::new(&self.name, secret.expose_secret()).map_err(|error| format!("signing_key: {error}"))?;
        }
        Part::of(self.subgraphs.keys().map(String::as_str)).map_err(|error| format!("subgraphs: {error}"))?;
        if !(100..=300_000).contains(&self.call_ms) || !(50..=10_000).contains(&self.connect_ms) {
            return Err("call_ms: from 100 to 300000; connect_ms: from 50 to 10000".to_owned());
        }
        Ok(())
    }

    fn trusted(&self) -> Result<TrustedGateways, vostro_schema::federation::KeyError> {
        TrustedGateways::new(self.gateways.iter().map(|(name, key)| (name.as_str(), key.as_str())))
    }

    /// The gateways whose calls are answered.
    ///
    /// # Errors
    /// When there are none: a process with subgraphs that answers nobody was configured by mistake.
    pub fn trusted_gateways(&self) -> anyhow::Result<TrustedGateways> {
        let trusted = self.trusted()?;
        anyhow::ensure!(
            !trusted.is_empty(),
            "nobody could call the subgraphs of this process: put the gateways' public keys into federation.gateways \
             (`vostro federation key` makes a pair)"
        );
        Ok(trusted)
    }

    fn key(&self) -> anyhow::Result<Arc<GatewayKey>> {
        let secret = self
            .signing_key
            .as_ref()
            .context("calls of subgraphs are signed: set federation.signing_key (`vostro federation key` makes one)")?;
        Ok(Arc::new(GatewayKey::new(&self.name, secret.expose_secret())?))
    }

    const fn times(&self) -> HttpTimes {
        HttpTimes {
            connect: Duration::from_millis(self.connect_ms),
            call: Duration::from_millis(self.call_ms),
            silence: Duration::from_secs(60),
        }
    }

    /// The ways to subgraphs in other processes, by their names.
    ///
    /// # Errors
    /// When there is no key to sign with, or an address is none.
    pub fn transports(&self) -> anyhow::Result<Vec<(String, Http)>> {
        let key = self.key()?;
        let open = |(name, base): (&String, &String)| {
            let transport = Http::new(name, base, Arc::clone(&key), Arc::new(SystemClock), self.times());
            Ok((name.clone(), transport.with_context(|| format!("federation.subgraphs.{name}"))?))
        };
        self.subgraphs.iter().map(open).collect()
    }

    /// Whoever reads access tokens.
    ///
    /// # Errors
    /// When the auth subgraph has no address.
    pub fn authenticator(&self) -> anyhow::Result<RemoteAuthenticator> {
        let base = self.subgraphs.get("auth").context("federation.subgraphs.auth: needed to read access tokens")?;
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        RemoteAuthenticator::new(base, self.key()?, clock, ids, self.times()).context("federation.subgraphs.auth")
    }
}
