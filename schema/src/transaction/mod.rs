//! The sub-schema of payments.

mod mutation;
mod payee_budget;
mod query;
mod subscription;
#[cfg(test)]
mod tests;
mod types;

use async_graphql::{Context, Error, Result};
use vostro_transaction::{TransactionError, Transactions};

use crate::faults::{internal, module_unavailable};
use crate::stitch::subgraph::{self, Builder};

use payee_budget::PayeeBudget;

pub use mutation::{Mutation, TransactionErrorCode, TransactionUserError};
pub use query::Query;
pub(crate) use query::batch;
pub use subscription::Subscription;
pub use types::{
    Account, CashChannel, PayeeMatch, PayeeVerification, Transaction, TransactionFilter, TransactionKind,
    TransactionStatus, TransactionUpdate, WaitFor,
};

/// The module's subgraph; whoever wires the bank adds [`Transactions`] as data.
pub fn builder() -> Builder<Query, Mutation, Subscription> {
    subgraph::begin(Query, Mutation, Subscription).data(PayeeBudget::new())
}

fn facade<'a>(ctx: &Context<'a>) -> Result<&'a Transactions> {
    ctx.data::<Transactions>()
}

/// A failure that is not an answer, as a top-level error. What may pass by itself says so.
pub(crate) fn failure(error: TransactionError) -> Error {
    if error.is_passing() {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "payments are not available");
        return module_unavailable();
    }
    match &error {
        TransactionError::Database(cause) => internal(cause),
        TransactionError::Refused(_) | TransactionError::ShuttingDown => internal(error),
    }
}
