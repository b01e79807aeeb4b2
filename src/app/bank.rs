//! The running bank: what is started for each module, and in which order it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use metrics::gauge;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;
use vostro_kernel::{Ids as _, SystemIds};
use vostro_messaging::claim::{ClaimSweeper, Redeeming};
use vostro_messaging::lease::{LeaseKeeper, consume_whenever_held, relay_whenever_held};
use vostro_messaging::rpc::Callee;
use vostro_messaging::{
    AdmissionWatch, ConsumptionSwitch, Foundation, Handler, Intake, Manifest, Module, PublishingHold, Relay,
    RetryWorker, ScheduleWorker,
};
use vostro_rabbitmq::rpc::{self, AmqpCaller};
use vostro_rabbitmq::topology::{LiveTopology, diff, read_live};
use vostro_rabbitmq::{
    AmqpBroker, AmqpPublisher, ConnectionHealth, Difference, ManagementClient, Supervisor, Topology, watch_certificates,
};

use super::{Modules, Part, manifests, schemas, topology};
use crate::broker;
use crate::config::Config;
use crate::database;
use crate::graphql;
use crate::http::{self, Component, HEAD_TIMEOUT, Health, Operations as HttpOperations};

/// A running bank.
pub struct Bank {
    address: SocketAddr,
    health: Arc<Health>,
    drain: Duration,
    stop_serving: CancellationToken,
    stop_consuming: CancellationToken,
    stop_publishing: CancellationToken,
    stop_keeping: CancellationToken,
    serving: JoinSet<()>,
    consuming: JoinSet<()>,
    publishing: JoinSet<()>,
    keeping: JoinSet<()>,
    connections: Vec<Supervisor>,
}

impl Bank {
    /// Starts everything. Returns when the bank listens; it is *ready* once the broker's topology was found right, which
    /// this waits for in the background, so that a broker that is late does not keep the bank from starting.
    ///
    /// # Errors
    /// When a migration is pending, the database is away, a module cannot start, or the address is taken.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let modules = Modules::build(&config, &Part::whole())?;
        Self::start_modules(config, modules, graphql::public).await
    }

    /// Starts a part of the bank, which answers gateways and no clients.
    ///
    /// # Errors
    /// As [`Self::start`], and when no gateway is trusted or a subgraph it needs elsewhere has no address.
    pub async fn start_part(config: Config, part: &Part) -> anyhow::Result<Self> {
        let modules = Modules::build(&config, part)?;
        let part = part.clone();
        let open = move |config: &Config, modules: &Modules, stop| graphql::for_gateways(config, modules, &part, stop);
        Self::start_modules(config, modules, open).await
    }

    async fn start_modules(
        config: Config,
        modules: Modules,
        open: impl FnOnce(&Config, &Modules, CancellationToken) -> anyhow::Result<axum::Router>,
    ) -> anyhow::Result<Self> {
        crate::telemetry::metrics();
        refuse_pending_migrations(&config).await?;
        for module in modules.all() {
            module.start().await?;
        }
        let health = Arc::new(Health::new(modules.pools(), config.database.connections_per_module));
        let listener = TcpListener::bind(config.http.address)
            .await
            .with_context(|| format!("listening on {}; set http.address to a free one", config.http.address))?;
        let mut bank = Self {
            address: listener.local_addr()?,
            health: Arc::clone(&health),
            drain: config.http.drain(),
            stop_serving: CancellationToken::new(),
            stop_consuming: CancellationToken::new(),
            stop_publishing: CancellationToken::new(),
            stop_keeping: CancellationToken::new(),
            serving: JoinSet::new(),
            consuming: JoinSet::new(),
            publishing: JoinSet::new(),
            keeping: JoinSet::new(),
            connections: Vec::new(),
        };
        let operations = HttpOperations { health: Arc::clone(&health), auth: modules.auth.clone() };
        let routes = open(&config, &modules, bank.stop_serving.clone())?;
        let serving = http::serve(listener, http::router(routes, operations), HEAD_TIMEOUT, bank.stop_serving.clone());
        bank.serving.spawn(serving);
        bank.move_messages(&config, &modules)?;
        Ok(bank)
    }

    /// Where the bank listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Relays, consumers and background work, each behind the topology check: until the broker has every queue, an event
    /// could be published into nothing.
    fn move_messages(&mut self, config: &Config, modules: &Modules) -> anyhow::Result<()> {
        let (management, vhost) = broker::management(&config.broker)?;
        let topology = topology(config)?;
        broker::passwords(&config.broker, &topology)?;
        let (verified, hold) = (CancellationToken::new(), PublishingHold::default());
        let here = (SystemIds.next(), format!("{} (process {})", self.address, std::process::id()));
        for module in modules.all() {
            let foundation = modules.foundation(module.manifest().module)?;
            self.move_messages_of(&module, foundation, config, &here, &verified, &hold)?;
        }
        for desk in modules.maintenance.iter() {
            self.consuming.spawn(desk.worker().run(self.stop_consuming.clone()));
        }
        if let Some(connection) = self.connections.first() {
            let watching = watch_certificates(connection.endpoint().clone(), self.stop_consuming.clone());
            self.consuming.spawn(watching);
        }
        let (health, connections) = (Arc::clone(&self.health), self.connections.clone());
        let stop = self.stop_consuming.clone();
        self.consuming.spawn(async move {
            tokio::select! {
                () = verify_broker(&topology, &management, &vhost, &connections, &health) => {
                    health.serving();
                    verified.cancel();
                }
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = watch_topology(&topology, &management, &vhost, &health, &hold) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(())
    }

    /// One module's connections, and what moves messages over them. `here` is this instance: its id, and where it runs.
    fn move_messages_of(
        &mut self,
        module: &Arc<dyn Module>,
        foundation: &Foundation,
        config: &Config,
        here: &(Uuid, String),
        verified: &CancellationToken,
        hold: &PublishingHold,
    ) -> anyhow::Result<()> {
        let manifest = module.manifest();
        let Manifest { module: name, publish_linger, .. } = manifest;
        let (partitions, times) = (config.messaging.partitions(), config.messaging.lease_times());
        let Foundation { pool, outbox, asking, .. } = foundation.clone();
        let endpoint = broker::endpoint_of(&config.broker, name)?;
        let publishing = Supervisor::start(endpoint.clone(), &format!("vostro {name} publish"));
        let consuming = Supervisor::start(endpoint, &format!("vostro {name} consume"));
        self.connections.extend([publishing.clone(), consuming.clone()]);

        let keeper = LeaseKeeper::new(name, foundation, here.0, &here.1, times);
        let keeping = keeper.clone();
        self.keeping.spawn(after(verified.clone(), self.stop_keeping.clone(), |stop| keeping.run(stop)));

        let publisher = Arc::new(AmqpPublisher::new(publishing.clone(), name));
        let relay = Relay::new(name, pool.clone(), outbox.clone(), publisher.clone(), publish_linger, partitions);
        let relay = relay.under(hold.clone());
        let relaying = keeper.clone();
        self.publishing.spawn(after(verified.clone(), self.stop_publishing.clone(), move |stop| {
            relay_whenever_held(relaying, name, relay, publisher, stop)
        }));

        let switch = ConsumptionSwitch::paused_until_read();
        self.consuming.spawn(switch.clone().watch(name, pool.clone(), self.stop_consuming.clone()));
        let broker = Arc::new(AmqpBroker::new(consuming.clone()));
        for bound in module.handlers() {
            let handler: Arc<dyn Handler> = Arc::new(Redeeming::new(bound.handler, asking.clone(), &manifest));
            let queues = bound.subscription.queues(partitions);
            let intake = Intake::new(bound.subscription, foundation, config.messaging.retry_schedule(), switch.clone());
            let worker = RetryWorker::new(Arc::clone(&intake), Arc::clone(&handler));
            let (keeper, handler, broker) = (keeper.clone(), handler, broker.clone());
            self.consuming.spawn(after(verified.clone(), self.stop_consuming.clone(), move |stop| {
                consume_whenever_held(keeper, queues, intake, handler, broker, stop)
            }));
            self.consuming.spawn(after(verified.clone(), self.stop_consuming.clone(), |stop| worker.run(stop)));
        }

        asking.connect(Arc::new(AmqpCaller::new(name, publishing.clone(), consuming.clone())));
        let callee = Callee::new(name, module.responders(), &manifests());
        if !callee.answers_nothing() {
            self.consuming.spawn(after(verified.clone(), self.stop_consuming.clone(), |stop| {
                rpc::serve(Arc::new(callee), consuming, publishing, stop)
            }));
        }

        let watch = AdmissionWatch::new(name, pool.clone(), config.messaging.admission(), outbox.gate().clone());
        self.consuming.spawn(watch.run(self.stop_consuming.clone()));
        let sweeper = ClaimSweeper::new(name, pool.clone(), config.messaging.claims_kept());
        self.consuming.spawn(sweeper.run(self.stop_consuming.clone()));
        self.consuming.spawn(ScheduleWorker::new(name, pool, outbox).run(self.stop_consuming.clone()));
        for work in module.background(self.stop_consuming.clone()) {
            self.consuming.spawn(work);
        }
        let warming = Arc::clone(module);
        self.consuming.spawn(after(verified.clone(), self.stop_consuming.clone(), |stop| async move {
            stop.run_until_cancelled(warming.warm()).await;
        }));
        Ok(())
    }

    /// Drains and stops: no new requests, batches finished, outboxes published, connections closed. Each step has a share
    /// of the drain limit; what a step does not finish is finished after the next start.
    pub async fn stop(mut self) {
        let [serving, consuming, publishing, keeping] = shares_of(self.drain);
        self.health.draining();
        self.stop_serving.cancel();
        finish(&mut self.serving, serving, "requests").await;
        self.stop_consuming.cancel();
        finish(&mut self.consuming, consuming, "batches").await;
        self.stop_publishing.cancel();
        finish(&mut self.publishing, publishing, "the outbox").await;
        self.stop_keeping.cancel();
        finish(&mut self.keeping, keeping, "giving leases back").await;
        for connection in &self.connections {
            connection.close().await;
        }
        info!("the bank is closed");
    }
}

async fn refuse_pending_migrations(config: &Config) -> anyhow::Result<()> {
    let pending = database::pending(&config.database, &schemas()).await?;
    if let Some(first) = pending.first() {
        bail!(
            "{} migrations are pending, the first is {:?} of {}: run `vostro migrate` before serving",
            pending.len(),
            first.description,
            first.module
        );
    }
    Ok(())
}

/// Runs `work` once `gate` is open, unless `stop` comes first.
async fn after<F: Future<Output = ()>>(
    gate: CancellationToken,
    stop: CancellationToken,
    work: impl FnOnce(CancellationToken) -> F,
) {
    tokio::select! {
        () = gate.cancelled() => {}
        () = stop.cancelled() => return,
    }
    work(stop).await;
}

/// Compares the broker with the manifests, and tries whether every module can log in, until nothing is wrong; says each
/// time what is.
async fn verify_broker(
    topology: &Topology,
    management: &ManagementClient,
    vhost: &str,
    connections: &[Supervisor],
    health: &Health,
) {
    let mut said = String::new();
    loop {
        let detail = match read_live(management, vhost).await.map(|live| wrong(topology, &live, Difference::is_harmful))
        {
            Ok(Some(detail)) => detail,
            Ok(None) => match connections.iter().find_map(not_connected) {
                None => {
                    health.set_broker(Component { ok: true, detail: "the topology is right".to_owned() });
                    info!("the broker's topology is right");
                    return;
                }
                Some(reason) => reason,
            },
            Err(error) => format!("the broker's topology cannot be read: {error}"),
        };
        if detail != said {
            warn!(detail, "not ready");
            said.clone_from(&detail);
        }
        health.set_broker(Component { ok: false, detail });
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Looks again and again whether the broker still has everything. A queue or a binding that somebody deletes loses
/// events for its subscriber without anybody noticing: the broker confirms what reaches the others. So until it is
/// there again nothing is published (outboxes grow, and turn commands away at their bound), and the bank is not ready.
/// A broker that does not answer is another matter: nothing is lost while it is away. So is what was changed: that is
/// how the next release prepares the broker while this one runs.
async fn watch_topology(
    topology: &Topology,
    management: &ManagementClient,
    vhost: &str,
    health: &Health,
    hold: &PublishingHold,
) {
    const EVERY: Duration = Duration::from_secs(10);
    let mut said = String::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let component = match read_live(management, vhost).await.map(|live| wrong(topology, &live, is_missing)) {
            Ok(None) => Component { ok: true, detail: "the topology is right".to_owned() },
            Ok(Some(detail)) => Component { ok: false, detail },
            Err(error) => {
                debug!(%error, "the broker's topology cannot be looked at");
                continue;
            }
        };
        hold.set(!component.ok);
        if component.detail != said {
            if !component.ok {
                error!(detail = component.detail, "not ready: nothing is published, as it would not reach everybody");
            } else if !said.is_empty() {
                info!("ready again: the broker's topology is right");
            }
            said.clone_from(&component.detail);
        }
        gauge!("vostro_topology_differs").set(if component.ok { 0.0 } else { 1.0 });
        health.set_broker(component);
    }
}

const fn is_missing(difference: &Difference) -> bool {
    matches!(difference, Difference::Missing { .. })
}

/// How the broker differs and what to do about it, in words, if it does so in any way that counts.
fn wrong(topology: &Topology, live: &LiveTopology, counts: fn(&Difference) -> bool) -> Option<String> {
    let differences = diff(topology, live);
    if !differences.iter().any(counts) {
        return None;
    }
    let names = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Some(format!("the topology differs (run `vostro topology apply`): {names}"))
}

fn not_connected(connection: &Supervisor) -> Option<String> {
    match connection.health() {
        ConnectionHealth::Connected | ConnectionHealth::Blocked(_) => None,
        ConnectionHealth::Down(reason) => {
            Some(format!("{} cannot connect as {}: {reason}", connection.name(), connection.endpoint().user()))
        }
    }
}

/// How the drain limit is divided: requests, batches, the outbox, leases. Whoever stops the bank kills it after the limit.
fn shares_of(drain: Duration) -> [Duration; 4] {
    [2, 4, 4, 1].map(|share| drain * share / 11)
}

async fn finish(tasks: &mut JoinSet<()>, within: Duration, what: &str) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(within, all).await.is_err() {
        warn!(what, "not finished within the drain limit");
        tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_stopping_fit_into_the_drain_limit() {
        for drain in [Duration::from_secs(25), Duration::from_millis(1), Duration::ZERO] {
            assert!(shares_of(drain).iter().sum::<Duration>() <= drain, "{drain:?}");
        }
        assert!(shares_of(Duration::from_secs(25)).iter().all(|share| *share >= Duration::from_secs(2)));
    }
}
