use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vostro_schema::federation::GatewayKey;

use crate::support::{BankProcess, World};

/// Which subgraphs run together.
const PARTS: [&str; 3] = ["auth,account", "transaction,notification", "compliance,operations,node"];

/// A bank in several processes, and a gateway before them.
pub struct Parts {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// The base address of each subgraph's process.
    pub subgraphs: BTreeMap<String, String>,
    processes: BTreeMap<&'static str, BankProcess>,
    environment: Vec<(String, String)>,
    _gateway: BankProcess,
}

/// The secret of the tests' gateways.
pub fn secret() -> String {
    STANDARD.encode([7; 32])
}

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl Parts {
    /// Starts them all; they are ready.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, &[]).await
    }

    /// The same with these additional environment variables.
    pub async fn start_with(world: &World, more: &[(&str, &str)]) -> Self {
        let public = GatewayKey::new("gateway", &secret()).expect("a key").public();
        let places: Vec<_> = PARTS.iter().map(|part| (*part, world.place())).collect();
        let mut subgraphs = BTreeMap::new();
        for (part, address) in &places {
            subgraphs.extend(part.split(',').map(|name| (name.to_owned(), format!("http://{address}"))));
        }
        let mut environment = vec![
            ("VOSTRO__FEDERATION__SIGNING_KEY".to_owned(), secret()),
            ("VOSTRO__FEDERATION__GATEWAYS__GATEWAY".to_owned(), public),
        ];
        environment.extend(
            subgraphs
                .iter()
                .map(|(name, base)| (format!("VOSTRO__FEDERATION__SUBGRAPHS__{}", name.to_uppercase()), base.clone())),
        );
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let kept = environment.clone();
        let environment = borrowed(&environment);
        let mut processes = BTreeMap::new();
        for (part, address) in &places {
            processes.insert(*part, world.spawn_at(*address, &["serve", "--modules", part], &environment));
        }
        let place = world.place();
        let mut gateway = world.spawn_at(place, &["gateway"], &environment);
        for (part, address) in &places {
            processes.get_mut(part).expect("just spawned").until_ready(*address).await;
        }
        gateway.until_ready(place).await;
        Self { gateway: place, subgraphs, processes, environment: kept, _gateway: gateway }
    }

    /// One more gateway, ready, with these environment variables instead of the others'.
    pub async fn another_gateway(&self, world: &World, instead: &[(&str, &str)]) -> (BankProcess, SocketAddr) {
        let place = world.place();
        let environment: Vec<_> = borrowed(&self.environment).into_iter().chain(instead.iter().copied()).collect();
        let mut gateway = world.spawn_at(place, &["gateway"], &environment);
        gateway.until_ready(place).await;
        (gateway, place)
    }

    /// Kills the process that runs this subgraph.
    pub fn kill(&mut self, subgraph: &str) {
        let part = PARTS.into_iter().find(|part| part.split(',').any(|name| name == subgraph)).expect("a subgraph");
        self.processes.remove(part).expect("it still runs").kill();
    }
}
