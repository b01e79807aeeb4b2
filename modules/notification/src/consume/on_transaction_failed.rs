use vostro_events::transaction::TransactionFailedV1;
use vostro_messaging::{HandlerError, Incoming};

use super::{Work, positive};
use crate::domain::{FailureCause, Message};

/// Whoever wanted to pay is told. Whoever would have been paid knows nothing of it and learns nothing.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let failed: TransactionFailedV1 = event.decode()?;
    let amount = positive(event, failed.amount)?;
    let Some(payer) = failed.route.source_owner_id else { return Ok(()) };
    let message = Message::PaymentFailed { amount, kind: failed.kind, cause: FailureCause::of(&failed.code) };
    work.occasion(&event.envelope, index, payer, message, Some(failed.route.source_account_id));
    Ok(())
}
