use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;
use vostro_kernel::{SystemClock, SystemIds};
use vostro_messaging::rpc::Asking;
use vostro_messaging::{Caching, Company, EventSelector, Foundation, InboxMode, Manifest, Outbox, Subscription};
use vostro_rabbitmq::topology::{self, user_name};
use vostro_rabbitmq::{AmqpBroker, AmqpPublisher, Endpoint, ManagementClient, Passwords, Supervisor, Topology};

use crate::broker;
use crate::config::{Config, DatabaseConfig};
use crate::database::{self, ModuleSchema};

/// Publishes.
pub const METER: &str = "meter";
/// Consumes.
pub const SINK: &str = "sink";
/// What is published; of the second only where frames of one event are wanted.
pub const MEASURED: &str = "meter.measured.v1";
pub const ALSO_MEASURED: &str = "meter.also-measured.v1";
/// What the bare publisher sends; its queue has no consumer.
pub const BARE: &str = "meter.bare.v1";

static MIGRATIONS: Migrator = sqlx::migrate!("src/bench/messaging/migrations");

/// A database and a virtual host of the benchmark's own, made as the bank's are: schemas, roles and grants by the
/// migration, exchanges, queues, policies and users by the topology of two manifests.
pub struct Ground {
    database: DatabaseConfig,
    database_name: String,
    server: DatabaseConfig,
    management: ManagementClient,
    vhost: String,
    endpoint: Endpoint,
    passwords: Passwords,
    topology: Topology,
    silence: Duration,
}

impl Ground {
    pub async fn prepare(config: &Config) -> anyhow::Result<Self> {
        let name = format!("vostro_bench_{}", Uuid::now_v7().simple());
        let server = config.database.clone();
        let (address, _) = server.url.expose_secret().rsplit_once('/').context("database.url names no database")?;
        let database = DatabaseConfig { url: format!("{address}/{name}").into(), ..server.clone() };
        let (management, _) = broker::management(&config.broker)?;
        let vhost = name.replace('_', "-");
        let topology = Topology::of(&manifests())?;
        let password = |role: &String| (role.clone(), Uuid::new_v4().simple().to_string());
        let passwords = topology.users.keys().map(password).collect();
        let endpoint = broker::endpoint(&config.broker)?.with_vhost(&vhost);
        let silence = config.messaging.silence();
        let database_name = name;
        let ground =
            Self { database, database_name, server, management, vhost, endpoint, passwords, topology, silence };
        match ground.build().await {
            Ok(()) => Ok(ground),
            Err(error) => {
                // The first failure is the one worth telling.
                let _ = ground.clear_away().await;
                Err(error)
            }
        }
    }

    async fn build(&self) -> anyhow::Result<()> {
        self.on_server(&format!("create database {} template template0", self.database_name)).await?;
        let schemas = [METER, SINK].map(|module| ModuleSchema { module, migrations: &MIGRATIONS });
        database::migrate(&self.database, &schemas, |_| ()).await?;
        self.management
            .create_vhost(&self.vhost)
            .await
            .context("making a virtual host; broker.management_url has to name an administrator")?;
        self.apply_topology().await
    }

    async fn apply_topology(&self) -> anyhow::Result<()> {
        let applied = topology::apply(&self.topology, &self.management, &self.vhost, &self.passwords).await?;
        anyhow::ensure!(applied.is_empty(), "the benchmark's topology could not be applied: {applied:?}");
        Ok(())
    }

    /// Deletes what earlier parts have left in the queues, with the queues.
    pub async fn fresh_queues(&self) -> anyhow::Result<()> {
        for queue in self.topology.queues.keys() {
            self.management.delete_queue(&self.vhost, queue).await?;
        }
        self.apply_topology().await
    }

    /// Removes the database and the virtual host with its users. The two roles stay on the database server: without a
    /// schema they can do nothing, and another benchmark may be using them.
    pub async fn clear_away(&self) -> anyhow::Result<()> {
        let virtual_host = self.management.delete_vhost(&self.vhost).await;
        // Also when the broker does not answer: what can go goes.
        let database = self.on_server(&format!("drop database if exists {} with (force)", self.database_name)).await;
        virtual_host.with_context(|| format!("the virtual host {} is left", self.vhost))?;
        database.with_context(|| format!("the database {} is left", self.database_name))
    }

    /// What it is called, on the database server and on the broker.
    pub fn names(&self) -> (&str, &str) {
        (&self.database_name, &self.vhost)
    }

    async fn on_server(&self, statement: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect_with(&database::owner_options(&self.server)?).await?;
        // The name in it is made above, of letters and digits.
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// What a module of the bank stands on, connected as the module's own role.
    pub fn foundation(&self, module: &'static str) -> anyhow::Result<Foundation> {
        Ok(Foundation {
            pool: self.pool(module)?,
            outbox: Outbox::default(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            company: Company::default(),
            asking: Asking::new(module),
            caching: Caching::OFF,
        })
    }

    fn pool(&self, module: &str) -> anyhow::Result<PgPool> {
        Ok(database::module_pool(&self.database, module, self.silence)?)
    }

    /// The broker, as one of the two modules.
    pub fn endpoint_of(&self, module: &str) -> anyhow::Result<Endpoint> {
        let password = self.passwords.of(module).context("every module has a password")?;
        Ok(self.endpoint.clone().with_login(&user_name(&self.vhost, module), password))
    }

    pub fn publisher(&self) -> anyhow::Result<AmqpPublisher> {
        Ok(AmqpPublisher::new(Supervisor::start(self.endpoint_of(METER)?, "vostro bench publish"), METER))
    }

    pub fn consuming_broker(&self) -> anyhow::Result<AmqpBroker> {
        Ok(AmqpBroker::new(Supervisor::start(self.endpoint_of(SINK)?, "vostro bench consume")))
    }

    /// What the servers say about themselves, for the report: figures without durability would be worth nothing.
    pub async fn servers(&self) -> anyhow::Result<Servers> {
        let options = sqlx::postgres::PgConnectOptions::from_str(self.database.url.expose_secret())?;
        let mut connection = PgConnection::connect_with(&options).await?;
        let setting = sqlx::query!(
            r#"select current_setting('server_version') as "version!", current_setting('fsync') as "fsync!",
                   current_setting('synchronous_commit') as "synchronous_commit!""#
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(Servers {
            database: self.database_name.clone(),
            virtual_host: self.vhost.clone(),
            postgresql: setting.version,
            rabbitmq: self.management.version().await?,
            is_durable: setting.fsync == "on" && setting.synchronous_commit != "off",
        })
    }
}

/// The servers under the benchmark.
pub struct Servers {
    /// Where it was measured; gone by the time anybody reads it.
    pub database: String,
    pub virtual_host: String,
    pub postgresql: String,
    pub rabbitmq: String,
    /// Whether a commit waits for the disk.
    pub is_durable: bool,
}

/// The subscription that is measured; `batch` and `linger` are what is varied.
pub fn measured(batch: usize, linger: Duration) -> Subscription {
    Subscription {
        module: SINK,
        name: "measured",
        events: EventSelector::Types(&[MEASURED, ALSO_MEASURED]),
        batch,
        linger,
        inbox: InboxMode::Rows,
    }
}

fn manifests() -> [Manifest; 2] {
    let module = |module, publishes, subscribes| Manifest {
        module,
        version: "1",
        purpose: "Measures messaging.",
        publishes,
        claimed: &[],
        subscribes,
        calls: &[],
        serves: &[],
        depends_on: &[],
        publish_linger: Duration::ZERO,
    };
    let bare = Subscription { name: "bare", events: EventSelector::Types(&[BARE]), ..measured(1, Duration::ZERO) };
    [
        module(METER, &[MEASURED, ALSO_MEASURED, BARE], vec![]),
        module(SINK, &[], vec![measured(1, Duration::ZERO), bare]),
    ]
}
