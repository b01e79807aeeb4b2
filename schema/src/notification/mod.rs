//! The sub-schema of notifications.

mod mutation;
mod query;
mod subscription;
#[cfg(test)]
mod tests;
mod types;

use async_graphql::{Context, Error, Result};
use vostro_notification::{NotificationError, Notifications};

use crate::faults::{internal, module_unavailable};
use crate::stitch::subgraph::{self, Builder};

pub use mutation::{Mutation, NotificationErrorCode, NotificationUserError};
pub use query::Query;
pub use subscription::Subscription;
pub use types::{
    Notification, NotificationChannel, NotificationFilter, NotificationPreference, NotificationStatus,
    NotificationTopic,
};

/// The module's subgraph; whoever wires the bank adds [`Notifications`] as data.
pub fn builder() -> Builder<Query, Mutation, Subscription> {
    subgraph::begin(Query, Mutation, Subscription)
}

fn facade<'a>(ctx: &Context<'a>) -> Result<&'a Notifications> {
    ctx.data::<Notifications>()
}

/// A failure that is not an answer, as a top-level error. What may pass by itself says so.
pub(crate) fn failure(error: NotificationError) -> Error {
    if error.is_passing() {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "notifications are not available");
        return module_unavailable();
    }
    match &error {
        NotificationError::Database(cause) => internal(cause),
        NotificationError::Refused(_) => internal(error),
    }
}
