//! The sub-schema of operators: what is parked and what to do about it, outboxes, consumers, and the broker's topology.
//! It owns no data. What it decides it decides at the same desks as the command line, in the name of whoever holds the
//! access token.

mod maintenance;
#[cfg(test)]
mod maintenance_tests;
mod mutation;
mod query;
mod subscription;
#[cfg(test)]
mod tests;
mod types;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Error, Result};
use async_trait::async_trait;
use vostro_kernel::{Clock, Role};
use vostro_messaging::ConsumptionDesk;
use vostro_messaging::maintenance::MaintenanceDesks;
use vostro_messaging::parking::{DeskError, ParkingDesks};

use crate::faults::{bad_user_input, forbidden, internal, module_unavailable};
use crate::stitch::subgraph::{self, Builder};

pub use maintenance::{
    MaintenanceErrorCode, MaintenanceJob, MaintenanceJobErrorCode, MaintenanceKind, MaintenanceState,
    MaintenanceUserError,
};
pub use mutation::{Mutation, OperationsErrorCode, OperationsUserError};
pub use query::Query;
pub use subscription::Subscription;
pub use types::{ParkedMessageFilter, ParkedReason, ParkedState, ParkingAction, ParkingRequestState};

/// Who operates the bank.
const OPERATORS: &[Role] = &[Role::Operator, Role::Admin];

/// What the subgraph works on. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    pub parking: ParkingDesks,
    /// One desk per module, in the order the modules are listed in.
    pub consumption: Vec<ConsumptionDesk>,
    pub maintenance: MaintenanceDesks,
    pub broker: Arc<dyn BrokerView>,
    pub clock: Arc<dyn Clock>,
}

/// What the broker says. This crate knows no broker; whoever wires the bank does.
#[async_trait]
pub trait BrokerView: Send + Sync {
    /// What each module's queues hold, together, by module. One that has none is missing.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn queues(&self) -> Result<HashMap<String, QueueTotals>, BrokerAway>;

    /// How the broker's topology differs from what the manifests say.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn topology_differences(&self) -> Result<Vec<Difference>, BrokerAway>;
}

/// What a module's queues hold. The broker counts every five seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Messages waiting for a consumer.
    pub ready: u64,
    /// Messages with a consumer, not settled yet.
    pub unacknowledged: u64,
    pub consumers: u64,
}

/// One way in which the broker is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub text: String,
    /// Whether events would go astray.
    pub is_harmful: bool,
}

/// The broker does not answer; the text is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the broker's management API: {0}")]
pub struct BrokerAway(pub String);

/// The subgraph; whoever wires the bank adds [`Operations`] as data.
pub fn builder() -> Builder<Query, Mutation, Subscription> {
    subgraph::begin(Query, Mutation, Subscription).data(watch::OperationsWatch::default())
}

fn desks<'a>(ctx: &Context<'a>) -> Result<&'a Operations> {
    ctx.data::<Operations>()
}

/// A failure of a query as a top-level error. What may pass by itself says so.
fn failure(error: DeskError) -> Error {
    if error.is_passing() {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "parked messages cannot be seen");
        return module_unavailable();
    }
    match &error {
        DeskError::Database(cause) => internal(cause),
        DeskError::Forbidden => forbidden(),
        refused => bad_user_input(refused.refusal().map_or_else(String::new, |(_, message)| message)),
    }
}

fn fault(error: impl Into<DeskError>) -> Error {
    failure(error.into())
}

fn broker_away(error: BrokerAway) -> Error {
    tracing::warn!(%error, "the broker cannot be asked");
    module_unavailable()
}
