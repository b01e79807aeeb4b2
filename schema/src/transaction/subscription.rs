use async_graphql::{Context, ID, Result};
use futures::{Stream, StreamExt as _};
use vostro_transaction::{Position, Since, Subject, TransactionError};

use super::types::{Transaction, TransactionUpdate};
use super::{facade, failure};
use crate::access::{Access, signed_in};
use crate::faults::bad_user_input;
use crate::guards::{self, Authenticated};
use crate::ids::{self, IdKind};
use crate::live;

/// Watching payments.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// The state now, and then every change. Name either a transaction, whose stream ends with its outcome, or an account,
    /// whose stream begins with its latest 20 transactions, oldest first. With `after`, the cursor of an earlier update,
    /// everything since then and no snapshot. Of changes that follow each other while nobody listens the last is told.
    #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
    async fn transaction_updated(
        &self,
        ctx: &Context<'_>,
        account_id: Option<ID>,
        transaction_id: Option<ID>,
        after: Option<String>,
        #[graphql(deprecation = "since 2026-11; remove after 2027-05; use `after`")] after_sequence: Option<i64>,
    ) -> Result<impl Stream<Item = Result<TransactionUpdate>> + use<>> {
        let subject = match (account_id, transaction_id) {
            (Some(account), None) => Subject::Account(ids::decode(IdKind::Account, &account)?),
            (None, Some(transaction)) => Subject::Transaction(ids::decode(IdKind::Transaction, &transaction)?),
            _ => return Err(bad_user_input("Name either `accountId` or `transactionId`.")),
        };
        let stream = match subject {
            Subject::Account(id) | Subject::Transaction(id) => format!("transactionUpdated:{id}"),
        };
        if after.is_some() && after_sequence.is_some() {
            return Err(bad_user_input("Name either `after` or `afterSequence`."));
        }
        let since = match live::position::<String>(&stream, after.as_deref())? {
            Some(position) => {
                let position = position.parse::<Position>();
                Since::Position(position.map_err(|_| bad_user_input("`after` is not the `cursor` of an update."))?)
            }
            None => Since::Now(after_sequence.unwrap_or(0)),
        };
        let updates = facade(ctx)?.updates(guards::context(ctx)?, subject, since).await;
        let updates = updates.map_err(|error| match error {
            TransactionError::Refused(refusal) => bad_user_input(refusal.message),
            error => failure(error),
        })?;
        Ok(updates.map(move |update| {
            let update = update.map_err(failure)?;
            Ok(TransactionUpdate {
                sequence: update.sequence(),
                occurred_at: update.occurred_at().into(),
                kind: update.kind.into(),
                cursor: live::cursor(&stream, &update.position.to_string()),
                transaction: Transaction(update.transaction),
            })
        }))
    }
}
