use uuid::Uuid;
use vostro_events::account::PostingAppliedV1;
use vostro_messaging::{HandlerError, Incoming};

use crate::domain::Outcome;

/// The ledger booked a transaction.
pub(super) fn on_posting_applied(event: &Incoming) -> Result<(Uuid, Outcome), HandlerError> {
    let applied: PostingAppliedV1 = event.decode()?;
    Ok((applied.transaction_id, Outcome::Booked { at: applied.booked_at }))
}
