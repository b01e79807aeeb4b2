use uuid::Uuid;
use vostro_events::account::PostingRejectedV1;
use vostro_messaging::{HandlerError, Incoming};

use crate::domain::Outcome;

/// The ledger refused a transaction. The event has no instant of its own: it is refused when it is said to be.
pub(super) fn on_posting_rejected(event: &Incoming) -> Result<(Uuid, Outcome), HandlerError> {
    let rejected: PostingRejectedV1 = event.decode()?;
    Ok((rejected.transaction_id, Outcome::Rejected { code: rejected.code, at: event.envelope.occurred_at }))
}
