//! How a transaction ends. The ledger says so in an event or in an answer; what follows is the same.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use metrics::counter;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_kernel::Refusal;
use vostro_messaging::trace::{self, KeyValue};

use crate::domain::{Outcome, Status, Transaction};
use crate::error::TransactionErrorCode;
use crate::facade::Shared;
use crate::publish;
use crate::store::outcomes::settle_in_tx;

/// Why transactions were not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndError {
    /// The update has just found this one open, and its own rules say that it has ended: neither is to be believed.
    #[error("transaction {id} is not ended: {refusal}")]
    Refused { id: Uuid, refusal: Refusal<TransactionErrorCode> },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Ends those of the transactions that are under way, says so in the outbox, and returns them as they are now. The others
/// have ended before, or do not exist. `cause` names what the outcome of a transaction was learnt from.
///
/// # Errors
/// Database faults; [`EndError::Refused`] for the first that cannot be ended.
pub(crate) async fn end_in_tx(
    shared: &Shared,
    connection: &mut PgConnection,
    outcomes: &HashMap<Uuid, &Outcome>,
    cause: impl Fn(Uuid) -> Cause,
) -> Result<Vec<Transaction>, EndError> {
    let foundation = &shared.foundation;
    let open = settle_in_tx(connection, outcomes.iter().map(|(id, outcome)| (*id, *outcome))).await?;
    let now = foundation.clock.now();
    let (mut ended, mut events) = (Vec::with_capacity(open.len()), Vec::with_capacity(open.len()));
    for transaction in open {
        let id = transaction.id;
        let transaction = transaction.settle(outcomes[&id]).map_err(|refusal| EndError::Refused { id, refusal })?;
        events.push(publish::ended(foundation.ids.next(), now, cause(id), &transaction));
        ended.push(transaction);
    }
    foundation.outbox.append_in_tx(connection, events).await?;
    Ok(ended)
}

/// What traces show as completion: from the acceptance to the outcome. After the commit only.
pub(crate) fn trace_completion(traceparent: Option<&str>, accepted_at: DateTime<Utc>, status: Status) {
    trace::past(
        "completion",
        traceparent,
        accepted_at,
        vec![KeyValue::new("vostro.transaction.status", status.as_str())],
    );
}

/// Tells those who count, wait or listen in this process. After the commit only.
pub(crate) fn tell_ended(shared: &Shared, ended: Vec<Transaction>) {
    for transaction in ended {
        let (kind, status) = (transaction.kind.as_str(), transaction.status.as_str());
        counter!("vostro_transactions_ended_total", "kind" => kind, "status" => status).increment(1);
        shared.tell(transaction);
    }
}
