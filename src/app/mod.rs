//! The composition root: which modules there are, and what each stands on.

mod bank;

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

/// The five facades, and what each stands on.
pub struct Modules {
    pub auth: Auth,
    pub account: Accounts,
    pub transaction: Transactions,
    pub notification: Notifications,
    pub compliance: Compliance,
    /// Where operators order long work, on what the running modules stand on.
    pub maintenance: MaintenanceDesks,
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
        let mut modules = Self {
            auth: Auth::new(of("auth")?, config.auth.clone())?,
            account: Accounts::new(of("account")?, config.account.clone())?,
            transaction: Transactions::new(of("transaction")?, config.transaction.clone())?,
            notification: Notifications::new(of("notification")?, config.notification.clone(), contact_key)?,
            compliance: Compliance::new(of("compliance")?, config.compliance.clone())?,
            maintenance: MaintenanceDesks::new(Vec::new()),
            foundations,
        };
        modules.maintenance = modules.maintenance_desks(&config.messaging.approval_policy())?;
        Ok(modules)
    }

    fn maintenance_desks(&self, policy: &ApprovalPolicy) -> anyhow::Result<MaintenanceDesks> {
        let archive = Arc::new(Archive(self.compliance.clone()));
        let desk = |module: Arc<dyn Module>| {
            let name = module.manifest().module;
            let (foundation, projections) = (self.foundation(name)?.clone(), module.projections());
            Ok(MaintenanceDesk::new(name, foundation, policy.clone(), Arc::clone(&archive) as _, projections))
        };
        Ok(MaintenanceDesks::new(self.all().into_iter().map(desk).collect::<anyhow::Result<_>>()?))
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
    })
}

/// A module that answers for the data of its events may leave it behind.
fn outbox(config: &Config, module: &str) -> Outbox {
    let claim = format!("{module}.claim.v1");
    let answers = manifests().iter().any(|manifest| manifest.serves.contains(&claim.as_str()));
    if answers { Outbox::claiming(config.messaging.claim_over_bytes) } else { Outbox::default() }
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

/// Where operators order long work about every module.
///
/// # Errors
/// When a module refuses its configuration.
pub fn maintenance_desks(config: &Config) -> anyhow::Result<MaintenanceDesks> {
    Ok(Modules::build(config)?.maintenance)
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
