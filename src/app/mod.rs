//! The composition root: which modules there are, and what each stands on.

mod bank;
mod part;

use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use vostro_account::Accounts;
use vostro_auth::Auth;
use vostro_compliance::Compliance;
use vostro_kernel::{SystemClock, SystemIds};
use vostro_messaging::maintenance::{MaintenanceDesk, MaintenanceDesks};
use vostro_messaging::parking::{ApprovalPolicy, ParkingDesk, ParkingDesks};
use vostro_messaging::rpc::Asking;
use vostro_messaging::{
    AdmissionGate, Company, ConsumptionDesk, ContactKey, Foundation, Manifest, Module, Outbox, Projection,
};
use vostro_notification::Notifications;
use vostro_rabbitmq::Topology;
use vostro_schema::operations::Operations;
use vostro_transaction::Transactions;

pub use self::bank::Bank;
pub use self::part::{Part, UnknownPart};
use crate::broker::BrokerEyes;
use crate::config::Config;
use crate::database::{self, ModuleSchema};
use crate::rebuild::Archive;

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

/// The facades of the modules that run here, and what each stands on.
pub struct Modules {
    pub auth: Option<Auth>,
    pub account: Option<Accounts>,
    pub transaction: Option<Transactions>,
    pub notification: Option<Notifications>,
    pub compliance: Option<Compliance>,
    /// Where operators order long work; empty where their desks are not.
    pub maintenance: MaintenanceDesks,
    foundations: Vec<(&'static str, Foundation)>,
}

impl Modules {
    /// Sets the modules of a part of the bank up. Nothing is read or written yet.
    ///
    /// # Errors
    /// When a module refuses its configuration.
    fn build(config: &Config, part: &Part) -> anyhow::Result<Self> {
        let mut foundations = Vec::new();
        // The desks of operators stand in all modules.
        for schema in schemas().iter().filter(|schema| part.has(schema.module) || part.has("operations")) {
            foundations.push((schema.module, foundation(config, schema.module)?));
        }
        let mut modules = Self::on(config, foundations, |module| part.has(module))?;
        if part.has("operations") {
            // What they order is worked on here, whether the module runs here or elsewhere.
            let whole = Self::on(config, modules.foundations.clone(), |_| true)?;
            modules.maintenance = whole.maintenance_desks(&config.messaging.approval_policy())?;
        }
        Ok(modules)
    }

    /// The facades of the modules that run here.
    fn on(
        config: &Config,
        foundations: Vec<(&'static str, Foundation)>,
        runs: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Self> {
        let of = |module: &str| {
            let found = foundations.iter().find(|(name, _)| *name == module && runs(module));
            found.map(|(_, foundation)| foundation.clone())
        };
        let contact_key = || Arc::new(ContactKey::derive(config.auth.contact_secret.expose_secret()));
        Ok(Self {
            auth: of("auth").map(|on| Auth::new(on, config.auth.clone())).transpose()?,
            account: of("account").map(|on| Accounts::new(on, config.account.clone())).transpose()?,
            transaction: of("transaction").map(|on| Transactions::new(on, config.transaction.clone())).transpose()?,
            notification: of("notification")
                .map(|on| Notifications::new(on, config.notification.clone(), contact_key()))
                .transpose()?,
            compliance: of("compliance").map(|on| Compliance::new(on, config.compliance.clone())).transpose()?,
            maintenance: MaintenanceDesks::new(Vec::new()),
            foundations,
        })
    }

    fn maintenance_desks(&self, policy: &ApprovalPolicy) -> anyhow::Result<MaintenanceDesks> {
        let compliance = self.compliance.clone().context("the archive is where compliance runs")?;
        let archive = Arc::new(Archive(compliance));
        let desk = |module: Arc<dyn Module>| {
            let name = module.manifest().module;
            let (foundation, projections) = (self.foundation(name)?.clone(), module.projections());
            Ok(MaintenanceDesk::new(name, foundation, policy.clone(), Arc::clone(&archive) as _, projections))
        };
        Ok(MaintenanceDesks::new(self.all().into_iter().map(desk).collect::<anyhow::Result<_>>()?))
    }

    fn all(&self) -> Vec<Arc<dyn Module>> {
        fn module<M: Module + Clone + 'static>(facade: &Option<M>) -> Option<Arc<dyn Module>> {
            facade.clone().map(|facade| Arc::new(facade) as Arc<dyn Module>)
        }
        let modules = [
            module(&self.auth),
            module(&self.account),
            module(&self.transaction),
            module(&self.notification),
            module(&self.compliance),
        ];
        in_order_of_dependence(modules.into_iter().flatten().collect())
    }

    fn foundation(&self, module: &str) -> anyhow::Result<&Foundation> {
        let found = self.foundations.iter().find(|(name, _)| *name == module);
        found.map(|(_, foundation)| foundation).with_context(|| format!("no module is called {module}"))
    }

    /// Whether the module's commands are let in.
    ///
    /// # Errors
    /// When no module has the name.
    pub fn gate(&self, module: &str) -> anyhow::Result<AdmissionGate> {
        Ok(self.foundation(module)?.outbox.gate().clone())
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
            maintenance: self.maintenance.clone(),
            broker: Arc::new(BrokerEyes::open(config)?),
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
        outbox: outbox(config, module),
        clock: Arc::new(SystemClock),
        ids: Arc::new(SystemIds),
        company: Company::default(),
        asking: Asking::new(module),
        caching: config.cache.caching(config.database.module_secret.expose_secret())?,
    })
}

fn outbox(config: &Config, module: &str) -> Outbox {
    let manifest = manifests().into_iter().find(|manifest| manifest.module == module);
    Outbox::claiming(config.messaging.claim_over_bytes, manifest.map_or(&[], |manifest| manifest.claimed))
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

/// All modules, without what moves their messages, for `vostro bench graphql`.
///
/// # Errors
/// When a module refuses its configuration.
pub fn modules_at_rest(config: &Config) -> anyhow::Result<Modules> {
    Modules::build(config, &Part::whole())
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

/// Where operators order long work about every module.
///
/// # Errors
/// When a module refuses its configuration.
pub fn maintenance_desks(config: &Config) -> anyhow::Result<MaintenanceDesks> {
    Ok(Modules::build(config, &Part::whole())?.maintenance)
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
    let modules = Modules::build(config, &Part::whole())?;
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
