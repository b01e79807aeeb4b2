//! A virtual host per test, on the broker that the environment names.

use std::time::Duration;

use uuid::Uuid;
use vostro_messaging::Manifest;

use crate::topology::{Topology, apply, user_name};
use crate::{AmqpBroker, AmqpPublisher, Endpoint, ManagementClient, Passwords, Supervisor};

/// `amqp://user:password@host:port` of the broker to test with.
pub const AMQP_URL: &str = "VOSTRO_TEST_AMQP_URL";
/// `http://user:password@host:port` of its management API.
pub const MANAGEMENT_URL: &str = "VOSTRO_TEST_MANAGEMENT_URL";

/// A virtual host of one test with users of its own, deleted with everything in it when dropped.
pub struct TestBroker {
    pub vhost: String,
    /// As an administrator, who may do everything.
    pub endpoint: Endpoint,
    pub management: ManagementClient,
    passwords: Passwords,
}

impl TestBroker {
    /// Creates an empty virtual host.
    ///
    /// # Panics
    /// When the environment names no broker or the broker does not answer: the test cannot run.
    pub async fn create(purpose: &str) -> Self {
        let management = ManagementClient::new(&variable(MANAGEMENT_URL)).expect("the management API's address");
        let vhost = format!("test-{purpose}-{}", Uuid::now_v7().simple());
        management.create_vhost(&vhost).await.expect("the test broker must be running");
        let endpoint = Endpoint::parse(&variable(AMQP_URL)).expect("the broker's address").with_vhost(&vhost);
        Self { vhost, endpoint, management, passwords: Passwords::default() }
    }

    /// Creates a virtual host with the topology and the users of the given modules.
    ///
    /// # Panics
    /// As [`Self::create`], and when the manifests or the resulting topology are wrong.
    pub async fn with_topology(purpose: &str, manifests: &[Manifest]) -> Self {
        let mut broker = Self::create(purpose).await;
        let topology = Topology::of(manifests).expect("valid manifests");
        broker.passwords =
            topology.users.keys().map(|role| (role.clone(), format!("{:032x}", rand::random::<u128>()))).collect();
        let applied = apply(&topology, &broker.management, &broker.vhost, &broker.passwords).await;
        let differences = applied.expect("the topology applies");
        assert!(differences.is_empty(), "{differences:?}");
        broker
    }

    /// The passwords of the users that [`Self::with_topology`] created.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// As the user of a module, who may do what the module may.
    ///
    /// # Panics
    /// When the virtual host was created without that module.
    pub fn endpoint_of(&self, module: &str) -> Endpoint {
        let password = self.passwords.of(module).expect("a module of the topology");
        self.endpoint.clone().with_login(&user_name(&self.vhost, module), password)
    }

    /// A module's publisher, logged in as its user, with a connection of its own.
    ///
    /// # Panics
    /// When the virtual host was created without that module.
    pub fn publisher(&self, module: &str) -> AmqpPublisher {
        let name = format!("{} {module} publish", self.vhost);
        AmqpPublisher::new(Supervisor::start(self.endpoint_of(module), &name), module)
    }

    /// A broker with a connection of its own, for looking into any queue.
    pub fn broker(&self) -> AmqpBroker {
        AmqpBroker::new(Supervisor::start(self.endpoint.clone(), &format!("{} consume", self.vhost)))
    }

    /// What a module consumes with: logged in as its user, with a connection of its own.
    ///
    /// # Panics
    /// When the virtual host was created without that module.
    pub fn broker_of(&self, module: &str) -> AmqpBroker {
        let name = format!("{} {module} consume", self.vhost);
        AmqpBroker::new(Supervisor::start(self.endpoint_of(module), &name))
    }

    /// Closes every connection in this virtual host by force, as a failing broker would; waits until there is one.
    ///
    /// # Panics
    /// When no connection appears within half a minute.
    pub async fn close_connections(&self) -> usize {
        for _ in 0..300 {
            let connections = self.management.connections(&self.vhost).await.expect("the broker answers");
            for connection in &connections {
                self.management.close_connection(&connection.name).await.expect("the broker closes it");
            }
            if !connections.is_empty() {
                return connections.len();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no connection in {}", self.vhost);
    }
}

impl Drop for TestBroker {
    /// Needs a runtime and a client of its own: the test's runtime is busy with dropping, or panicking, and the
    /// connections of its client stand still with it.
    fn drop(&mut self) {
        let vhost = self.vhost.clone();
        let deletion = std::thread::spawn(move || {
            let management = ManagementClient::new(&variable(MANAGEMENT_URL)).expect("it was valid before");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let deleted = runtime.map(|runtime| runtime.block_on(management.delete_vhost(&vhost)));
            if !matches!(deleted, Ok(Ok(()))) {
                tracing::warn!(vhost, "a test's virtual host could not be deleted");
            }
        });
        let _ = deletion.join();
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; `scripts/stack.sh env` prints it"))
}
