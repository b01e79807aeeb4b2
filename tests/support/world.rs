use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;
use vostro::app::{self, Bank};
use vostro::config::Config;
use vostro::database;
use vostro_messaging::Manifest;
use vostro_rabbitmq::topology::{UNROUTED_QUEUE, apply};
use vostro_rabbitmq::{ManagementClient, Topology};

use super::port::Port;
use super::{Servers, eventually};

/// With this in the environment, the world of a test that fails is left as it is, to be looked into.
const KEEP: &str = "VOSTRO_TEST_KEEP";

const THIS_RELEASE: &str = env!("CARGO_BIN_EXE_vostro");

/// A migrated database, a virtual host with the topology, and the configuration of a bank on both. Gone when dropped.
pub struct World {
    pub config: Config,
    name: String,
    server: PgConnectOptions,
    folder: PathBuf,
    /// The bank's program, of this release unless the world was made by another.
    program: PathBuf,
    expects_parked: AtomicBool,
    /// Where its banks listen.
    ports: Mutex<Vec<Port>>,
}

impl World {
    /// A world on the servers all tests share.
    pub async fn create() -> Self {
        Self::create_on(&Servers::shared()).await
    }

    /// A world on servers the test may kill.
    pub async fn create_on(servers: &Servers) -> Self {
        Self::create_with(servers, "lease_ms = 3000").await
    }

    /// A world whose configuration has these lines in its `messaging` section.
    pub async fn create_with(servers: &Servers, messaging: &str) -> Self {
        let world = Self::empty(servers, messaging).await;
        database::migrate(&world.config.database, &app::schemas(), |_| ()).await.expect("the database can be migrated");
        world.provision_broker().await;
        world
    }

    /// A world as this program of an earlier release makes it: its schemas, its topology, and its banks.
    pub async fn made_by(program: PathBuf) -> Self {
        let mut world = Self::empty(&Servers::shared(), "lease_ms = 3000").await;
        world.starts(program);
        world.management().create_vhost(&world.name).await.expect("the test broker's management API answers");
        world.is_brought_up().await;
        world
    }

    /// From now on banks and commands are this program's, of whichever release. Banks that run go on running.
    pub fn starts(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Brings database and broker up to the release of the program, as an operator does before its first bank.
    pub async fn is_brought_up(&self) {
        self.does(&["migrate"]).await;
        self.does(&["topology", "apply"]).await;
    }

    /// Runs a command that has to succeed.
    pub async fn does(&self, words: &[&str]) {
        let mut command = self.command(words);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined");
        let output = output.expect("the bank's program can be started");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A database and a configuration, with nothing in it and no virtual host.
    async fn empty(servers: &Servers, messaging: &str) -> Self {
        let name = format!("vostro_test_{}", Uuid::now_v7().simple());
        let server: PgConnectOptions = servers.database_url.parse().expect("a PostgreSQL URL");
        let mut connection = PgConnection::connect_with(&server).await.expect("the test database server answers");
        run(&mut connection, &format!("create database {name} template template0")).await;
        connection.close().await.expect("a clean goodbye");

        let folder = std::env::temp_dir().join(&name);
        let port = Port::free();
        let config = configuration(servers, &name, &folder, &port, messaging);
        Self {
            config,
            name,
            server,
            folder,
            program: THIS_RELEASE.into(),
            expects_parked: AtomicBool::new(false),
            ports: Mutex::new(vec![port]),
        }
    }

    /// Creates the virtual host and its topology, also after the broker lost everything.
    pub async fn provision_broker(&self) {
        let management = self.management();
        management.create_vhost(&self.name).await.expect("the test broker's management API answers");
        self.apply(&app::topology(&self.config).expect("the manifests agree")).await;
    }

    /// Limits a subscription's queues to so many messages; [`World::provision_broker`] takes that back.
    pub async fn limit_queue(&self, subscription: &str, messages: u64) {
        let mut topology = app::topology(&self.config).expect("the manifests agree");
        let policy = topology.policies.get_mut(&format!("sub-{subscription}")).expect("a subscription");
        policy.definition.insert("max-length".to_owned(), messages.into());
        self.apply(&topology).await;
    }

    async fn apply(&self, topology: &Topology) {
        let management = self.management();
        let passwords = vostro::broker::passwords(&self.config.broker, topology).expect("every module has a password");
        apply(topology, &management, &self.name, &passwords).await.expect("the topology can be applied");
    }

    pub fn management(&self) -> ManagementClient {
        vostro::broker::management(&self.config.broker).expect("a management URL").0
    }

    pub fn vhost(&self) -> &str {
        &self.name
    }

    /// The database server's, for a proxy before it.
    pub fn database_address(&self) -> SocketAddr {
        let host = (self.server.get_host(), self.server.get_port());
        host.to_socket_addrs().expect("a host").next().expect("an address")
    }

    /// The database of this world as it is found at another address.
    pub fn database_url_through(&self, address: SocketAddr) -> String {
        at(self.config.database.url.expose_secret(), address)
    }

    /// The broker, for a proxy before it.
    pub fn broker_address(&self) -> SocketAddr {
        let url = self.config.broker.url.expose_secret();
        let place =
            url.rsplit_once('@').and_then(|(_, place)| place.split_once('/')).expect("an address with a user").0;
        place.to_socket_addrs().expect("a host and a port").next().expect("an address")
    }

    /// The virtual host of this world as it is found at another address.
    pub fn broker_url_through(&self, address: SocketAddr) -> String {
        at(self.config.broker.url.expose_secret(), address)
    }

    /// Where this world keeps files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A bank in this process, ready.
    pub async fn open_bank(&self) -> Bank {
        let bank = Bank::start(self.config.clone()).await.expect("the bank starts");
        let address = bank.address();
        eventually("the bank is ready", || async { is_ready(address).await.then_some(()) }).await;
        bank
    }

    /// A bank in a process of its own, ready, with these additional environment variables.
    pub async fn spawn_bank(&self, environment: &[(&str, &str)]) -> BankProcess {
        let mut process = self.spawn_bank_without_waiting(environment);
        process.until_ready(self.config.http.address).await;
        process
    }

    /// One more instance of the bank, ready, at an address of its own.
    pub async fn spawn_another(&self) -> (BankProcess, SocketAddr) {
        let address = self.place();
        let mut process = self.spawn_at(address, &["serve"], &[]);
        process.until_ready(address).await;
        (process, address)
    }

    /// An address for a further process.
    pub fn place(&self) -> SocketAddr {
        let port = Port::free();
        let address = port.address();
        self.ports.lock().expect("nobody panicked with it").push(port);
        address
    }

    pub fn spawn_bank_without_waiting(&self, environment: &[(&str, &str)]) -> BankProcess {
        self.spawn(&["serve"], environment)
    }

    /// A process that listens at this address, not ready yet.
    pub fn spawn_at(&self, address: SocketAddr, arguments: &[&str], environment: &[(&str, &str)]) -> BankProcess {
        let address = address.to_string();
        let environment: Vec<_> =
            environment.iter().copied().chain([("VOSTRO__HTTP__ADDRESS", address.as_str())]).collect();
        self.spawn(arguments, &environment)
    }

    fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> BankProcess {
        let mut command = self.command(arguments);
        let log = self.folder.join(format!("{}.log", Uuid::now_v7()));
        let said = std::fs::File::create(&log).expect("a log file");
        let child = command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(said).spawn();
        BankProcess { child: child.expect("the bank's program can be started"), log }
    }

    /// The bank's program with this world's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.join("vostro.toml")).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command that prints JSON and returns its exit status and answer.
    pub async fn json_command(&self, arguments: &[&str]) -> (ExitStatus, Value) {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("joined")
            .expect("the bank's program can be started");
        let value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{arguments:?} said: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status, value)
    }

    async fn everything_is_published(&self) {
        eventually("every outbox is empty", || async {
            let (_, outboxes) = self.json_command(&["outbox", "status", "--json"]).await;
            outboxes.as_array()?.iter().all(|outbox| outbox["rows"] == 0).then_some(())
        })
        .await;
    }

    /// Every proof of the bank must hold once everything has arrived.
    pub async fn proofs_hold(&self) {
        self.everything_is_published().await;
        let (status, ledger) = self.json_command(&["ledger", "verify", "--json"]).await;
        assert!(status.success(), "the ledger proof is broken: {ledger}");
        let (status, audit) = self.json_command(&["audit", "verify", "--json"]).await;
        assert!(status.success(), "the audit chain is broken: {audit}");
    }

    /// Waits until what was parked has been given back by itself. An attempt that was cut off holds its key for a minute and
    /// a half, so this may take longer than anything else.
    pub async fn everything_is_released(&self) {
        let deadline = Instant::now() + Duration::from_secs(180);
        let database = self.server.clone().database(&self.name);
        while parked_keys(&database).await.expect("the database answers") > 0 {
            if Instant::now() > deadline {
                let (_, parked) = self.json_command(&["parked", "list", "--json"]).await;
                panic!("these are parked and nothing comes of it: {parked}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Nothing waits anywhere: no event in an outbox, no parked key, no message in a queue or with a consumer. What an
    /// outage or a slow machine has cut off may be parked, but has to come back by itself.
    pub async fn leaves_nothing_behind(&self) {
        self.everything_is_published().await;
        self.everything_is_released().await;
        let management = self.management();
        let mut ours = app::topology(&self.config).expect("the manifests agree").queues;
        // What nobody subscribes to.
        ours.remove(UNROUTED_QUEUE);
        let queues_are_empty = async || {
            let queues = management.queues(&self.name).await.ok()?;
            // Also queues that nobody consumes, which is how events stay behind. Tests bind queues of their own, though.
            let mut ours = queues.iter().filter(|queue| ours.contains_key(&queue.name));
            ours.all(|queue| queue.messages == 0).then_some(())
        };
        eventually("every delivery is acknowledged and leads to no other", || async {
            // What leaves an outbox is in a queue before it is looked at, and what leaves a queue leads to more in an
            // outbox: only if no event was written during two looks at each is none on its way.
            let before = self.on_its_way().await;
            queues_are_empty().await?;
            let between = self.on_its_way().await;
            queues_are_empty().await?;
            let OnItsWay { waiting, .. } = before;
            (waiting == 0 && between == before && self.on_its_way().await == before).then_some(())
        })
        .await;
    }

    async fn on_its_way(&self) -> OnItsWay {
        let mut connection =
            PgConnection::connect_with(&self.server.clone().database(&self.name)).await.expect("connects");
        let modules = app::manifests().into_iter().map(|Manifest { module, .. }| {
            format!(
                "select (select count(*) from {module}.outbox) + (select count(*) from {module}.parked_key) waiting,
                        (select last_value + is_called::int from {module}.outbox_id_seq) written"
            )
        });
        let query = format!(
            "select sum(waiting)::bigint, sum(written)::bigint from ({}) modules",
            modules.collect::<Vec<_>>().join(" union all ")
        );
        let (waiting, written) =
            sqlx::query_as(AssertSqlSafe(query)).fetch_one(&mut connection).await.expect("counted");
        connection.close().await.expect("a clean goodbye");
        OnItsWay { waiting, written }
    }

    /// The test means to leave keys parked. Without this a test that leaves one fails when it ends.
    pub fn expects_parked(&self) {
        self.expects_parked.store(true, Ordering::Relaxed);
    }

    /// The owner's view of the database: what tests look into, never what the bank does.
    pub async fn pool(&self) -> PgPool {
        let options = self.server.clone().database(&self.name);
        sqlx::postgres::PgPoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .expect("the database answers")
    }

    /// One number out of the database.
    pub async fn count(&self, query: &str) -> i64 {
        let mut connection =
            PgConnection::connect_with(&self.server.clone().database(&self.name)).await.expect("connects");
        let count = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await;
        connection.close().await.expect("a clean goodbye");
        count.unwrap_or_else(|error| panic!("{query}: {error}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os(KEEP).is_some() {
            eprintln!("kept: database and virtual host {}, logs in {}", self.name, self.folder.display());
            return;
        }
        let (server, name, management) = (self.server.clone(), self.name.clone(), self.management());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                // A broker that a test has stopped cannot forget the virtual host; the next `make test` starts afresh.
                let _ = management.delete_vhost(&name).await;
                let parked = parked_keys(&server.clone().database(&name)).await.unwrap_or(0);
                let mut connection =
                    PgConnection::connect_with(&server).await.expect("the test database server answers");
                run(&mut connection, &format!("drop database if exists {name} with (force)")).await;
                parked
            })
        });
        // Servers that are gone already have nothing to say.
        let parked = dropping.join().unwrap_or(0);
        let _ = std::fs::remove_dir_all(&self.folder);
        let is_meant = self.expects_parked.load(Ordering::Relaxed) || std::thread::panicking();
        assert!(parked == 0 || is_meant, "the test leaves {parked} parked keys behind");
    }
}

/// What a database says about events that may not have arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
struct OnItsWay {
    /// In outboxes, and keys that are parked.
    waiting: i64,
    /// Grows with each event that is written, also before its transaction ends.
    written: i64,
}

async fn parked_keys(database: &PgConnectOptions) -> sqlx::Result<i64> {
    let mut connection = PgConnection::connect_with(database).await?;
    let tables = app::manifests().into_iter().map(|manifest| format!("select key from {}.parked_key", manifest.module));
    let query = format!("select count(*) from ({}) parked", tables.collect::<Vec<_>>().join(" union all "));
    let parked = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(parked)
}

/// A bank as a process, ended when dropped.
pub struct BankProcess {
    child: Child,
    log: PathBuf,
}

impl BankProcess {
    /// For a start and for an end: a slow machine is given time.
    pub const PATIENCE: Duration = Duration::from_secs(120);

    /// # Panics
    /// When it ends instead, with what it said.
    pub async fn until_ready(&mut self, address: SocketAddr) {
        let deadline = Instant::now() + Self::PATIENCE;
        while !is_ready(address).await {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("the bank ended before it was ready ({status}): {said}");
            }
            assert!(Instant::now() < deadline, "the bank was not ready within two minutes");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_some()
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Self::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "the bank did not end within two minutes");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Like a power cut: SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }

    /// SIGTERM: drain and stop.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        self.ended().await
    }

    /// SIGSTOP: the process does nothing until [`Self::go_on`], and knows nothing of it then.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// The operating system's number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.expect("kill(1) can be started").success());
    }
}

impl Drop for BankProcess {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same thing at another address.
pub fn at(url: &str, address: SocketAddr) -> String {
    let (scheme_and_user, place) = url.rsplit_once('@').expect("an address with a user");
    let (_, name) = place.split_once('/').expect("an address with a name at the end");
    format!("{scheme_and_user}@{address}/{name}")
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = vostro::client::Connection::open(address).await else { return false };
    connection.get("/health/ready").await.is_ok_and(|(status, _)| status.is_success())
}

fn configuration(servers: &Servers, name: &str, folder: &Path, port: &Port, messaging: &str) -> Config {
    let (database, _) = servers.database_url.rsplit_once('/').expect("the test database URL names a database");
    let text = format!(
        r#"
        [database]
        url = "{database}/{name}"
        module_secret = "the module secret of all tests"
        connections_per_module = 4
        [broker]
        url = "{broker}/{name}"
        management_url = "{management}"
        module_secret = "the broker's module secret of all tests"
        {tls}
        [http]
        address = "{address}"
        drain_seconds = 20
        [log]
        format = "text"
        filter = "info"
        [auth]
        secret = "the auth secret of all tests, long enough"
        contact_secret = "the contact secret of all tests, long enough"
        allow_weak_hashing = true
        memory_kib = 64
        iterations = 1
        access_token_minutes = 15
        stale_seconds = 60
        [messaging]
        retry_pauses_seconds = [1, 1, 2]
        retry_attempts = 100
        {messaging}
        [notification.email]
        folder = "{folder}"
        # A machine that stands still for some seconds makes nobody give up who would not on another.
        [transaction]
        wait_ms = 50000
        [graphql]
        timeout_millis = 60000
        [federation]
        call_ms = 60000
        connect_ms = 10000
        "#,
        broker = servers.amqp_url,
        tls = servers.certificates.as_deref().map_or_else(String::new, tls_section),
        management = servers.management_url,
        address = port.address(),
        folder = folder.join("mails").display(),
    );
    std::fs::create_dir_all(folder).expect("the temporary folder is writable");
    let file = folder.join("vostro.toml");
    std::fs::write(&file, text).expect("the configuration can be written");
    Config::load(Some(&file)).expect("the configuration of the tests is good")
}

fn tls_section(folder: &Path) -> String {
    let file = |name| folder.join(name).display().to_string();
    let (ca, certificate, key) = (file("ca.pem"), file("certificate.pem"), file("key.pem"));
    format!("[broker.tls]\nca_file = \"{ca}\"\ncertificate_file = \"{certificate}\"\nkey_file = \"{key}\"")
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}
