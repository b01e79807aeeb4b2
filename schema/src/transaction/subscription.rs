use async_graphql::{Context, ID, Result};
use futures::{Stream, StreamExt as _};
use vostro_transaction::{Subject, TransactionError};

use super::types::{Transaction, TransactionUpdate};
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::faults::bad_user_input;
use crate::guards::{self, Authenticated};
use crate::ids::{self, IdKind};

/// Watching payments.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// The state now, and then every change. Name either a transaction, whose stream ends with its outcome, or an account,
    /// whose stream begins with its latest 20 transactions, oldest first. Only changes with a sequence above
    /// `afterSequence` are told: 1 stands for acceptance, 2 for the outcome.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn transaction_updated(
        &self,
        ctx: &Context<'_>,
        account_id: Option<ID>,
        transaction_id: Option<ID>,
        after_sequence: Option<i64>,
    ) -> Result<impl Stream<Item = Result<TransactionUpdate>> + use<>> {
        let subject = match (account_id, transaction_id) {
            (Some(account), None) => Subject::Account(ids::decode(IdKind::Account, &account)?),
            (None, Some(transaction)) => Subject::Transaction(ids::decode(IdKind::Transaction, &transaction)?),
            _ => return Err(bad_user_input("Name either `accountId` or `transactionId`.")),
        };
        let updates = facade(ctx)?.updates(guards::context(ctx)?, subject, after_sequence.unwrap_or(0)).await;
        let updates = updates.map_err(|error| match error {
            TransactionError::Refused(refusal) => bad_user_input(refusal.message),
            error => failure(error),
        })?;
        Ok(updates.map(|update| {
            let update = update.map_err(failure)?;
            let (sequence, occurred_at) = (update.sequence(), update.occurred_at().into());
            Ok(TransactionUpdate { transaction: Transaction(update.transaction), sequence, occurred_at })
        }))
    }
}
