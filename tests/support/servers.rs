use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use uuid::Uuid;
use vostro_testkit::{Authority, Issued};

/// Where PostgreSQL and RabbitMQ are.
#[derive(Debug, Clone)]
pub struct Servers {
    pub database_url: String,
    pub amqp_url: String,
    pub management_url: String,
    /// Where the bank's `ca.pem`, `certificate.pem` and `key.pem` are, for a broker with TLS.
    pub certificates: Option<PathBuf>,
}

impl Servers {
    /// The servers all tests share. Nobody may stop them.
    ///
    /// # Panics
    /// When the environment does not name them: `make test` starts them and does.
    pub fn shared() -> Self {
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run the tests with `make test`"))
        };
        Self {
            database_url: variable("VOSTRO_TEST_DATABASE_URL"),
            amqp_url: variable("VOSTRO_TEST_AMQP_URL"),
            management_url: variable("VOSTRO_TEST_MANAGEMENT_URL"),
            certificates: None,
        }
    }
}

/// Ports far from the other stacks that no other test of this machine uses while the file is held. No two of a stack's
/// ports end in the same two digits, so stacks a hundred apart do not meet.
fn free_ports() -> (u16, File) {
    (26_000..31_000)
        .step_by(100)
        .find_map(|base| {
            let file = File::create(std::env::temp_dir().join(format!("vostro-ports-{base}.lock"))).ok()?;
            file.try_lock().ok().map(|()| (base, file))
        })
        .expect("fifty tests with servers of their own run already")
}

/// What `scripts/stack.sh` runs in a folder of its own. Stopped and deleted when dropped.
struct Stack {
    folder: PathBuf,
    port_base: u16,
    environment: Vec<(&'static str, String)>,
    /// Held as long as the ports are used.
    _ports: File,
}

impl Stack {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("vostro-servers-{}", Uuid::now_v7().simple()));
        let (port_base, ports) = free_ports();
        Self { folder, port_base, environment: Vec::new(), _ports: ports }
    }

    /// One whose servers belong together with another's.
    fn beside(other: &Self) -> Self {
        let mut stack = Self::new();
        stack.environment = vec![
            ("VOSTRO_JOIN", other.folder.display().to_string()),
            ("VOSTRO_JOIN_PORT_BASE", other.port_base.to_string()),
        ];
        stack
    }

    fn database(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port_base + 432))
    }

    fn script(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/stack.sh");
        let output = Command::new(script)
            .args(arguments)
            .env("VOSTRO_LOCAL", &self.folder)
            .env("PORT_BASE", self.port_base.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("scripts/stack.sh can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn addresses(&self) -> Servers {
        let text = self.script(&["env"]);
        let value = |name: &str| {
            let line =
                text.lines().find_map(|line| line.trim_start_matches("export ").strip_prefix(&format!("{name}=")));
            line.unwrap_or_else(|| panic!("{name} is missing in {text}")).trim_matches(['\'', '"']).to_owned()
        };
        Servers {
            database_url: value("VOSTRO_TEST_DATABASE_URL"),
            amqp_url: value("VOSTRO_TEST_AMQP_URL"),
            management_url: value("VOSTRO_TEST_MANAGEMENT_URL"),
            certificates: None,
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let cleaning = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.script(&["clean"])));
        // A second panic would hide the first; what could not be cleaned lies in the temporary folder.
        drop(cleaning);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A PostgreSQL and a RabbitMQ for one test, which may kill them. Stopped and deleted when dropped.
pub struct PrivateServers {
    /// The broker's other nodes, or a standby of the database; they go before the first.
    more: Vec<Stack>,
    stack: Stack,
    pub servers: Servers,
}

impl PrivateServers {
    /// Starts both with the project's own script.
    ///
    /// # Panics
    /// When they do not come up; the script has then said why.
    pub fn start() -> Self {
        let stack = Stack::new();
        stack.script(&["up"]);
        let servers = stack.addresses();
        Self { more: Vec::new(), stack, servers }
    }

    /// A PostgreSQL and a RabbitMQ of three nodes.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with_three_nodes() -> Self {
        let mut started = Self::start();
        started.more = vec![Stack::beside(&started.stack), Stack::beside(&started.stack)];
        std::thread::scope(|scope| {
            for node in &started.more {
                scope.spawn(|| node.script(&["up", "rabbitmq"]));
            }
        });
        let Servers { amqp_url, management_url, .. } = &mut started.servers;
        for node in &started.more {
            *amqp_url = format!("{amqp_url},127.0.0.1:{}", node.port_base + 672);
            *management_url = format!("{management_url},127.0.0.1:{}", node.port_base + 673);
        }
        started
    }

    /// A PostgreSQL that commits nothing without its standby, and a RabbitMQ.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with_standby() -> Self {
        let mut started = Self::start();
        started.more = vec![Stack::beside(&started.stack)];
        started.more[0].script(&["up", "postgresql"]);
        started
    }

    /// A RabbitMQ with TLS that has one certificate and wants the bank to have the other. The database is everybody's.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with_tls(authority: &Authority, broker: &Issued, bank: &Issued) -> Self {
        let mut stack = Stack::new();
        for (whose, certificate) in [("broker", broker), ("bank", bank)] {
            authority.write_to(&stack.folder.join(whose));
            certificate.write_to(&stack.folder.join(whose));
        }
        stack.environment = vec![("VOSTRO_TLS", stack.folder.join("broker").display().to_string())];
        stack.script(&["up", "rabbitmq"]);
        let servers = Servers {
            database_url: Servers::shared().database_url,
            certificates: Some(stack.folder.join("bank")),
            ..stack.addresses()
        };
        Self { more: Vec::new(), stack, servers }
    }

    /// Gives the broker with TLS another certificate. Whoever is connected has to connect anew, and sees it.
    pub fn renew_certificate(&self, certificate: &Issued) {
        certificate.write_to(&self.stack.folder.join("broker"));
        let forget = "ssl:clear_pem_cache()";
        let close =
            r#"[rabbit_networking:close_connection(Each, "renewed") || Each <- rabbit_networking:connections()]"#;
        self.stack.script(&["ctl", "eval", &format!("{forget}, {close}, ok.")]);
    }

    /// Where the database is.
    pub fn database(&self) -> SocketAddr {
        self.stack.database()
    }

    /// Kills the database and makes the standby the one that commits. Where that is.
    pub fn fail_over(&self) -> SocketAddr {
        self.kill("postgresql");
        self.more[0].script(&["promote"]);
        self.more[0].database()
    }

    /// As a power cut would: SIGKILL.
    pub fn kill(&self, service: &str) {
        self.stack.script(&["kill9", service]);
    }

    /// Kills one of the broker's nodes, counted from 1.
    pub fn kill_node(&self, number: usize) {
        self.node(number).script(&["kill9", "rabbitmq"]);
    }

    /// Starts killed nodes of the broker together and waits until they answer. Of nodes that were lost at about the same time
    /// none may know that it was the last, and each then waits for the others before it answers.
    pub fn start_nodes_again(&self, numbers: &[usize]) {
        std::thread::scope(|scope| {
            for number in numbers {
                scope.spawn(|| self.node(*number).script(&["up", "rabbitmq"]));
            }
        });
    }

    fn node(&self, number: usize) -> &Stack {
        if number == 1 { &self.stack } else { &self.more[number - 2] }
    }

    pub fn stop(&self, service: &str) {
        self.stack.script(&["down", service]);
    }

    /// Starts a stopped or killed service and waits until it answers.
    pub fn start_again(&self, service: &str) {
        self.stack.script(&["up", service]);
    }

    /// The broker's disk is lost: it comes back knowing nothing.
    pub fn wipe_the_broker(&self) {
        self.stop("rabbitmq");
        std::fs::remove_dir_all(self.stack.folder.join("rabbit")).expect("the broker's data can be deleted");
        self.start_again("rabbitmq");
    }

    /// Whether the broker has too little memory to take messages.
    pub fn memory_alarm(&self, on: bool) {
        self.stack.script(&["ctl", "set_vm_memory_high_watermark", "absolute", if on { "1MB" } else { "1GB" }]);
    }
}
