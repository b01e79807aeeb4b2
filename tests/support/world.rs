use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;
use vostro::app::{self, Bank};
use vostro::config::Config;
use vostro::database;
use vostro_rabbitmq::ManagementClient;
use vostro_rabbitmq::topology::apply;

use super::{Servers, eventually};

/// A migrated database, a virtual host with the topology, and the configuration of a bank on both. Gone when dropped.
pub struct World {
    pub config: Config,
    name: String,
    server: PgConnectOptions,
    folder: std::path::PathBuf,
    expects_parked: AtomicBool,
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
        let name = format!("vostro_test_{}", Uuid::now_v7().simple());
        let server: PgConnectOptions = servers.database_url.parse().expect("a PostgreSQL URL");
        let mut connection = PgConnection::connect_with(&server).await.expect("the test database server answers");
        run(&mut connection, &format!("create database {name} template template0")).await;
        connection.close().await.expect("a clean goodbye");

        let folder = std::env::temp_dir().join(&name);
        let config = configuration(servers, &name, &folder, messaging);
        database::migrate(&config.database, &app::schemas(), |_| ()).await.expect("the database can be migrated");
        let world = Self { config, name, server, folder, expects_parked: AtomicBool::new(false) };
        world.provision_broker().await;
        world
    }

    /// Creates the virtual host and its topology, also after the broker lost everything.
    pub async fn provision_broker(&self) {
        let management = self.management();
        management.create_vhost(&self.name).await.expect("the test broker's management API answers");
        let topology = app::topology(&self.config).expect("the manifests agree");
        let passwords = vostro::broker::passwords(&self.config.broker, &topology).expect("every module has a password");
        apply(&topology, &management, &self.name, &passwords).await.expect("the topology can be applied");
    }

    pub fn management(&self) -> ManagementClient {
        ManagementClient::new(self.config.broker.management_url.expose_secret()).expect("a management URL")
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
        let url = self.config.database.url.expose_secret();
        let (scheme_and_user, place) = url.rsplit_once('@').expect("an address with a user");
        let (_, database) = place.split_once('/').expect("an address with a database");
        format!("{scheme_and_user}@{address}/{database}")
    }

    /// Where this world keeps files.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// A bank in this process, ready.
    pub async fn open_bank(&self) -> Bank {
        let bank = Bank::start(self.config.clone()).await.expect("the bank starts");
        until_ready(bank.address()).await;
        bank
    }

    /// A bank in a process of its own, ready, with these additional environment variables.
    pub async fn spawn_bank(&self, environment: &[(&str, &str)]) -> BankProcess {
        let process = self.spawn_bank_without_waiting(environment);
        until_ready(self.config.http.address).await;
        process
    }

    /// One more instance of the bank, ready, at an address of its own.
    pub async fn spawn_another(&self) -> (BankProcess, SocketAddr) {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = self.spawn_bank_without_waiting(&[("VOSTRO__HTTP__ADDRESS", &address.to_string())]);
        until_ready(address).await;
        (process, address)
    }

    pub fn spawn_bank_without_waiting(&self, environment: &[(&str, &str)]) -> BankProcess {
        let mut command = self.command(&["serve"]);
        let log = std::fs::File::create(self.folder.join(format!("{}.log", Uuid::now_v7()))).expect("a log file");
        let child = command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(log).spawn();
        BankProcess { child: child.expect("the bank's program can be started") }
    }

    /// The bank's program with this world's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vostro"));
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

    /// Nothing waits anywhere: no event in an outbox, no parked key, no message in a queue or with a consumer.
    pub async fn leaves_nothing_behind(&self) {
        self.everything_is_published().await;
        let (status, parked) = self.json_command(&["parked", "list", "--json"]).await;
        assert!(status.success(), "messages are parked: {parked}");
        let management = self.management();
        eventually("every delivery is acknowledged", || async {
            let queues = management.queues(&self.name).await.ok()?;
            // What nobody subscribes to ends in ev.unrouted, and tests bind queues of their own.
            let mut used = queues.iter().filter(|queue| queue.consumers > 0);
            used.all(|queue| queue.messages == 0).then_some(())
        })
        .await;
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
}

impl BankProcess {
    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "the bank did not end within a minute");
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

async fn until_ready(address: SocketAddr) {
    eventually("the bank is ready", || async {
        let mut connection = vostro::client::Connection::open(address).await.ok()?;
        let (status, _) = connection.get("/health/ready").await.ok()?;
        status.is_success().then_some(())
    })
    .await;
}

fn configuration(servers: &Servers, name: &str, folder: &std::path::Path, messaging: &str) -> Config {
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
        [http]
        address = "127.0.0.1:{port}"
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
        [messaging]
        retry_pauses_seconds = [1, 1, 2]
        retry_attempts = 100
        {messaging}
        [notification.email]
        folder = "{folder}"
        "#,
        broker = servers.amqp_url,
        management = servers.management_url,
        port = free_port(),
        folder = folder.join("mails").display(),
    );
    std::fs::create_dir_all(folder).expect("the temporary folder is writable");
    let file = folder.join("vostro.toml");
    std::fs::write(&file, text).expect("the configuration can be written");
    Config::load(Some(&file)).expect("the configuration of the tests is good")
}

/// A port nobody listens on just now, below the range the kernel gives to outgoing connections, and that this process has
/// not given out before: who got one may listen on it later.
fn free_port() -> u16 {
    static GIVEN_OUT: AtomicU16 = AtomicU16::new(0);
    let first = 24_000 + u16::try_from(std::process::id() % 4000).expect("below 4000");
    std::iter::repeat_with(|| first + GIVEN_OUT.fetch_add(1, Ordering::Relaxed))
        .take_while(|port| *port < 30_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of thousands of ports is free")
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}
