//! The wire: everything that knows RabbitMQ, and nothing else does.
//!
//! - [`Supervisor`] keeps one connection to the broker alive and throws it away whole when anything about it is in doubt;
//! - [`AmqpPublisher`] and [`AmqpBroker`] are what `vostro-messaging` publishes to and consumes from;
//! - [`TlsFiles`] say whom to trust and who we are, [`watch_certificates`] when that ends;
//! - [`rpc`] carries questions between modules and their replies;
//! - [`topology`] derives exchanges, queues, bindings, policies and users from the module manifests, applies them and names
//!   every difference between what should be there and what is;
//! - [`yardstick`] measures the broker alone;
//! - [`ManagementClient`] talks to the broker's management API for the topology, for queue figures and for tests.
//!
//! ```no_run
//! # use vostro_rabbitmq::{AmqpBroker, AmqpPublisher, Endpoint, Supervisor};
//! # fn start() -> Result<(), vostro_rabbitmq::InvalidEndpoint> {
//! let endpoint = Endpoint::parse("amqp://vostro:secret@127.0.0.1:5672")?.with_vhost("vostro");
//! let publisher = AmqpPublisher::new(Supervisor::start(endpoint.clone(), "vostro account publish"), "account");
//! let broker = AmqpBroker::new(Supervisor::start(endpoint, "vostro account consume"));
//! # Ok(()) }
//! ```

mod certificates;
mod confirms;
mod consumer;
mod endpoint;
mod line;
mod management;
mod message;
mod nodes;
mod passwords;
mod picker;
mod publisher;
pub mod rpc;
mod session;
mod supervisor;
pub mod testing;
mod tls;
pub mod topology;
pub mod yardstick;

pub use certificates::watch_certificates;
pub use consumer::{AmqpBroker, QueueDepth};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use management::{BrokerConnection, ManagementClient, ManagementError, QueueStatistics};
pub use passwords::Passwords;
pub use picker::Picker;
pub use publisher::AmqpPublisher;
pub use supervisor::{ConnectionHealth, Supervisor};
pub use tls::{TlsFault, TlsFiles};
pub use topology::{Difference, Topology};
