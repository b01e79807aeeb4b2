//! The sub-schema of people and their sessions, and the seam that lets the door know whom a token speaks for.

mod authenticator;
mod mutation;
mod query;
#[cfg(test)]
mod tests;
mod types;

use async_graphql::{Context, EmptySubscription, Error, Result};
use vostro_auth::{Auth, AuthError};

use crate::faults::{internal, module_unavailable};
use crate::stitch::subgraph::{self, Builder};

pub use mutation::{AuthErrorCode, AuthUserError, Mutation};
pub use query::Query;
pub(crate) use query::batch;
pub use types::{Role, Tokens, User, UserStatus};

/// The module's subgraph; whoever wires the bank adds [`Auth`] as data.
pub fn builder() -> Builder<Query, Mutation, EmptySubscription> {
    subgraph::begin(Query, Mutation, EmptySubscription)
}

fn facade<'a>(ctx: &Context<'a>) -> Result<&'a Auth> {
    ctx.data::<Auth>()
}

/// A failure that is not an answer, as a top-level error. What may pass by itself says so.
pub(crate) fn failure(error: AuthError) -> Error {
    if error.is_passing() {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "auth is not available");
        return module_unavailable();
    }
    match &error {
        AuthError::Database(cause) => internal(cause),
        _ => internal(error),
    }
}
