//! The composition root: which modules there are, what each stands on, and in which order they start and stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use vostro_account::Accounts;
use vostro_auth::Auth;
use vostro_compliance::Compliance;
use vostro_kernel::{Ids as _, SystemClock, SystemIds};
use vostro_messaging::lease::{LeaseKeeper, consume_whenever_held, relay_whenever_held};
use vostro_messaging::parking::{ParkingDesk, ParkingDesks};
use vostro_messaging::rpc::{Asking, Callee};
use vostro_messaging::{
    Company, ConsumptionDesk, ConsumptionSwitch, ContactKey, Foundation, Intake, Manifest, Module, Outbox, Projection,
    Relay, RetryWorker, ScheduleWorker,
};
use vostro_notification::Notifications;
use vostro_rabbitmq::rpc::{self, AmqpCaller};
use vostro_rabbitmq::topology::{diff, read_live};
use vostro_rabbitmq::{
    AmqpBroker, AmqpPublisher, ConnectionHealth, Difference, ManagementClient, Supervisor, Topology,
};
use vostro_schema::operations::Operations;
use vostro_transaction::Transactions;

use crate::broker::{self, BrokerEyes};
use crate::config::Config;
use crate::database::{self, ModuleSchema};
use crate::http::{self, Component, Health, Operations as HttpOperations};

/// Each module's part of the database.
pub fn schemas() -> [ModuleSchema; 5] {
    [
        ModuleSchema { module: "auth", migrations: &vostro_auth::MIGRATIONS },
        ModuleSchema { module: "account", migrations: &vostro_account::MIGRATIONS },
        ModuleSchema { module: "transaction", migrations: &vostro_transaction::MIGRATIONS },
        ModuleSchema { module: "notification", migrations: &vostro_notification::MIGRATIONS },
        ModuleSchema { module: "compliance", migrations: &vostro_compliance::MIGRATIONS },
    ]
}

/// What each module is to the others.
pub fn manifests() -> Vec<Manifest> {
    vec![
        vostro_auth::manifest(),
        vostro_account::manifest(),
        vostro_transaction::manifest(),
        vostro_notification::manifest(),
        vostro_compliance::manifest(),
    ]
}

/// What the broker has to have for this bank.
///
/// # Errors
/// When the manifests contradict each other.
pub fn topology(config: &Config) -> anyhow::Result<Topology> {
    Ok(Topology::divided(&manifests(), config.messaging.partitions())?)
}

/// The five facades, and what each stands on.
pub struct Modules {
    pub auth: Auth,
    pub account: Accounts,
    pub transaction: Transactions,
    pub notification: Notifications,
    pub compliance: Compliance,
    foundations: Vec<(&'static str, Foundation)>,
}

impl Modules {
    /// Sets the modules up. Nothing is read or written yet.
    ///
    /// # Errors
    /// When a module refuses its configuration.
    fn build(config: &Config) -> anyhow::Result<Self> {
        let contact_key = Arc::new(ContactKey::derive(config.auth.contact_secret.expose_secret()));
        let mut foundations = Vec::new();
        for schema in schemas() {
            foundations.push((schema.module, foundation(config, schema.module)?));
        }
        let of = |module: &str| {
            let found = foundations.iter().find(|(name, _)| *name == module);
            found.map(|(_, foundation)| foundation.clone()).with_context(|| format!("no module is called {module}"))
        };
        Ok(Self {
            auth: Auth::new(of("auth")?, config.auth.clone())?,
            account: Accounts::new(of("account")?, config.account.clone())?,
            transaction: Transactions::new(of("transaction")?, config.transaction.clone())?,
            notification: Notifications::new(of("notification")?, config.notification.clone(), contact_key)?,
            compliance: Compliance::new(of("compliance")?, config.compliance.clone())?,
            foundations,
        })
    }

    fn all(&self) -> Vec<Arc<dyn Module>> {
        let modules: [Arc<dyn Module>; 5] = [
            Arc::new(self.auth.clone()),
            Arc::new(self.account.clone()),
            Arc::new(self.transaction.clone()),
            Arc::new(self.notification.clone()),
            Arc::new(self.compliance.clone()),
        ];
        in_order_of_dependence(modules.into())
    }

    fn foundation(&self, module: &str) -> anyhow::Result<&Foundation> {
        let found = self.foundations.iter().find(|(name, _)| *name == module);
        found.map(|(_, foundation)| foundation).with_context(|| format!("no module is called {module}"))
    }

    /// The desks of operators, on what the running modules stand on: an order wakes their relays.
    pub fn operations(&self, config: &Config) -> anyhow::Result<Operations> {
        let policy = config.messaging.approval_policy();
        let parking = |(module, foundation): &(&'static str, Foundation)| {
            ParkingDesk::new(module, foundation.clone(), policy.clone())
        };
        let consumption =
            |(module, foundation): &(&'static str, Foundation)| ConsumptionDesk::new(module, foundation.clone());
        Ok(Operations {
            parking: ParkingDesks::new(self.foundations.iter().map(parking).collect()),
            consumption: self.foundations.iter().map(consumption).collect(),
            broker: Arc::new(BrokerEyes::open(&config.broker)?),
            clock: Arc::new(SystemClock),
        })
    }

    fn pools(&self) -> Vec<(&'static str, PgPool)> {
        self.foundations.iter().map(|(module, foundation)| (*module, foundation.pool.clone())).collect()
    }
}

fn foundation(config: &Config, module: &'static str) -> anyhow::Result<Foundation> {
    Ok(Foundation {
        pool: database::module_pool(&config.database, module, config.messaging.silence())?,
        outbox: Outbox::default(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(SystemIds),
        company: Company::default(),
        asking: Asking::new(module),
    })
}

/// Modules after those they depend on. A circle keeps its order: events flow both ways, only the start has a first.
fn in_order_of_dependence(mut waiting: Vec<Arc<dyn Module>>) -> Vec<Arc<dyn Module>> {
    let mut ordered: Vec<Arc<dyn Module>> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let free = waiting.iter().position(|module| {
            let needed = module.manifest().depends_on;
            waiting.iter().all(|other| !needed.contains(&other.manifest().module))
        });
        ordered.push(waiting.remove(free.unwrap_or(0)));
    }
    ordered
}

/// The account module for `vostro ledger verify`: no broker, no HTTP.
///
/// # Errors
/// When the configuration names no usable database.
pub fn accounts_for_proof(config: &Config) -> anyhow::Result<Accounts> {
    Ok(Accounts::new(foundation(config, "account")?, config.account.clone())?)
}

/// The compliance module for `vostro audit verify`.
///
/// # Errors
/// When the configuration names no usable database.
pub fn compliance_for_proof(config: &Config) -> anyhow::Result<Compliance> {
    Ok(Compliance::new(foundation(config, "compliance")?, config.compliance.clone())?)
}

/// The auth module for commands that create people of the bank.
///
/// # Errors
/// When the database cannot be reached.
pub fn auth_for_commands(config: &Config) -> anyhow::Result<Auth> {
    Ok(Auth::new(foundation(config, "auth")?, config.auth.clone())?)
}

/// What a module stands on, for commands that work on its messaging.
///
/// # Errors
/// When no module has the name.
pub fn foundation_for_commands(config: &Config, module: &str) -> anyhow::Result<(&'static str, Foundation)> {
    let known = manifests().into_iter().map(|manifest| manifest.module).find(|name| *name == module);
    let module = known.with_context(|| format!("no module is called {module}"))?;
    Ok((module, foundation(config, module)?))
}

/// Where operators decide about the parked messages of all modules.
///
/// # Errors
/// When the configuration names no usable database.
pub fn parking_desks(config: &Config) -> anyhow::Result<ParkingDesks> {
    let desk = |manifest: Manifest| {
        let module = manifest.module;
        Ok(ParkingDesk::new(module, foundation(config, module)?, config.messaging.approval_policy()))
    };
    Ok(ParkingDesks::new(manifests().into_iter().map(desk).collect::<anyhow::Result<_>>()?))
}

/// A projection that can be rebuilt, and what it stands on.
pub struct KnownProjection {
    pub module: &'static str,
    pub foundation: Foundation,
    pub projection: Arc<dyn Projection>,
}

impl KnownProjection {
    /// `<module>.<projection>`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.module, self.projection.name())
    }
}

/// Every projection of every module.
///
/// # Errors
/// When a module refuses its configuration.
pub fn projections(config: &Config) -> anyhow::Result<Vec<KnownProjection>> {
    let modules = Modules::build(config)?;
    let mut known = Vec::new();
    for module in modules.all() {
        let name = module.manifest().module;
        let foundation = modules.foundation(name)?;
        known.extend(module.projections().into_iter().map(|projection| KnownProjection {
            module: name,
            foundation: foundation.clone(),
            projection,
        }));
    }
    Ok(known)
}

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
        crate::telemetry::metrics();
        refuse_pending_migrations(&config).await?;
        let modules = Modules::build(&config)?;
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
        let graphql = crate::graphql::router(&config, &modules, bank.stop_serving.clone())?;
        bank.serve(listener, http::router(graphql, operations));
        bank.move_messages(&config, &modules)?;
        Ok(bank)
    }

    /// Where the bank listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    fn serve(&mut self, listener: TcpListener, router: axum::Router) {
        let stop = self.stop_serving.clone();
        self.serving.spawn(async move {
            let serving = router.into_make_service_with_connect_info::<SocketAddr>();
            let serving = axum::serve(listener, serving).with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = serving.await {
                warn!(%error, "serving ended");
            }
        });
    }

    /// Relays, consumers and background work, each behind the topology check: until the broker has every queue, an event
    /// could be published into nothing.
    fn move_messages(&mut self, config: &Config, modules: &Modules) -> anyhow::Result<()> {
        let (management, vhost) = broker::management(&config.broker)?;
        let partitions = config.messaging.partitions();
        let topology = topology(config)?;
        broker::passwords(&config.broker, &topology)?;
        let (instance, times) = (SystemIds.next(), config.messaging.lease_times());
        let place = format!("{} (process {})", self.address, std::process::id());
        let verified = CancellationToken::new();
        for module in modules.all() {
            let Manifest { module: name, publish_linger, .. } = module.manifest();
            let foundation = modules.foundation(name)?.clone();
            let Foundation { pool, outbox, .. } = foundation.clone();
            let endpoint = broker::endpoint_of(&config.broker, name)?;
            let publishing = Supervisor::start(endpoint.clone(), &format!("vostro {name} publish"));
            let consuming = Supervisor::start(endpoint.clone(), &format!("vostro {name} consume"));
            self.connections.extend([publishing.clone(), consuming.clone()]);
            let publisher = Arc::new(AmqpPublisher::new(publishing.clone(), name));
            let broker = Arc::new(AmqpBroker::new(consuming.clone()));
            let keeper = LeaseKeeper::new(name, &foundation, instance, &place, times);
            let keeping = keeper.clone();
            self.keeping.spawn(after(verified.clone(), self.stop_keeping.clone(), |stop| keeping.run(stop)));
            let relay = Relay::new(name, pool.clone(), outbox.clone(), publisher.clone(), publish_linger, partitions);
            let relaying = keeper.clone();
            self.publishing.spawn(after(verified.clone(), self.stop_publishing.clone(), move |stop| {
                relay_whenever_held(relaying, name, relay, publisher, stop)
            }));
            let switch = ConsumptionSwitch::paused_until_read();
            let schedule = ScheduleWorker::new(name, pool.clone(), outbox);
            self.consuming.spawn(schedule.run(self.stop_consuming.clone()));
            self.consuming.spawn(switch.clone().watch(name, pool, self.stop_consuming.clone()));
            for bound in module.handlers() {
                let queues = bound.subscription.queues(partitions);
                let intake =
                    Intake::new(bound.subscription, &foundation, config.messaging.retry_schedule(), switch.clone());
                let worker = RetryWorker::new(Arc::clone(&intake), Arc::clone(&bound.handler));
                let (keeper, handler, broker) = (keeper.clone(), bound.handler, broker.clone());
                self.consuming.spawn(after(verified.clone(), self.stop_consuming.clone(), move |stop| {
                    consume_whenever_held(keeper, queues, intake, handler, broker, stop)
                }));
                self.consuming.spawn(after(verified.clone(), self.stop_consuming.clone(), |stop| worker.run(stop)));
            }
            foundation.asking.connect(Arc::new(AmqpCaller::new(name, publishing.clone(), consuming.clone())));
            let callee = Callee::new(name, module.responders(), &manifests());
            if !callee.answers_nothing() {
                self.consuming.spawn(after(verified.clone(), self.stop_consuming.clone(), |stop| {
                    rpc::serve(Arc::new(callee), consuming, publishing, stop)
                }));
            }
            for work in module.background(self.stop_consuming.clone()) {
                self.consuming.spawn(work);
            }
        }
        let (health, connections) = (Arc::clone(&self.health), self.connections.clone());
        let stop = self.stop_consuming.clone();
        self.consuming.spawn(async move {
            tokio::select! {
                () = verify_broker(&topology, &management, &vhost, &connections, &health) => {
                    health.serving();
                    verified.cancel();
                }
                () = stop.cancelled() => {}
            }
        });
        Ok(())
    }

    /// Drains and stops: no new requests, batches finished, outboxes published, connections closed. Each step has a share
    /// of the drain limit; what a step does not finish is finished after the next start.
    pub async fn stop(mut self) {
        self.health.draining();
        self.stop_serving.cancel();
        finish(&mut self.serving, self.drain / 5, "requests").await;
        self.stop_consuming.cancel();
        finish(&mut self.consuming, self.drain * 2 / 5, "batches").await;
        self.stop_publishing.cancel();
        finish(&mut self.publishing, self.drain * 2 / 5, "the outbox").await;
        self.stop_keeping.cancel();
        finish(&mut self.keeping, self.drain / 5, "giving leases back").await;
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
        let detail = match read_live(management, vhost).await.map(|live| diff(topology, &live)) {
            Ok(differences) if differences.iter().any(Difference::is_harmful) => {
                let names = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                format!("the topology differs (run `vostro topology apply`): {names}")
            }
            Ok(_) => match connections.iter().find_map(not_connected) {
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

fn not_connected(connection: &Supervisor) -> Option<String> {
    match connection.health() {
        ConnectionHealth::Connected | ConnectionHealth::Blocked(_) => None,
        ConnectionHealth::Down(reason) => {
            Some(format!("{} cannot connect as {}: {reason}", connection.name(), connection.endpoint().user()))
        }
    }
}

async fn finish(tasks: &mut JoinSet<()>, within: Duration, what: &str) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(within, all).await.is_err() {
        warn!(what, "not finished within the drain limit");
        tasks.shutdown().await;
    }
}
