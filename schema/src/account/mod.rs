//! The sub-schema of accounts and the ledger.

mod mutation;
mod query;
mod statement;
#[cfg(test)]
mod statement_tests;
mod subscription;
#[cfg(test)]
mod tests;
mod types;

use async_graphql::{Context, Error, Result};
use vostro_account::{AccountError, AccountErrorCode as Code, Accounts};

use crate::faults::{forbidden, internal, module_unavailable};
use crate::stitch::subgraph::{self, Builder};

pub use mutation::{AccountErrorCode, AccountUserError, Mutation};
pub use query::Query;
pub(crate) use query::{batch, statement_batch};
pub use statement::{Statement, StatementStatus};
pub use subscription::Subscription;
pub use types::{Account, AccountStatus, Balance, Entry, Product};

/// The module's subgraph; whoever wires the bank adds [`Accounts`] as data.
pub fn builder() -> Builder<Query, Mutation, Subscription> {
    subgraph::begin(Query, Mutation, Subscription)
}

fn facade<'a>(ctx: &Context<'a>) -> Result<&'a Accounts> {
    ctx.data::<Accounts>()
}

/// A failure that is not an answer, as a top-level error. What may pass by itself says so; a missing role is a fault of
/// the request.
pub(crate) fn failure(error: AccountError) -> Error {
    if error.is_passing() {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "accounts are not available");
        return module_unavailable();
    }
    match error {
        AccountError::Refused(refusal) if refusal.code == Code::Forbidden => forbidden(),
        AccountError::Refused(refusal) => internal(refusal),
        AccountError::Database(cause) => internal(cause),
    }
}
