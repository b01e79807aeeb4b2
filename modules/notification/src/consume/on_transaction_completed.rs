use vostro_events::transaction::TransactionCompletedV1;
use vostro_messaging::{HandlerError, Incoming};

use super::{Work, positive};
use crate::domain::Message;

/// Both sides are told, each about its own account; the bank's own accounts have nobody to tell.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let completed: TransactionCompletedV1 = event.decode()?;
    let (amount, kind, route) = (positive(event, completed.amount)?, completed.kind, completed.route);
    if let Some(payer) = route.source_owner_id {
        let message = Message::PaymentSent { amount, kind };
        work.occasion(&event.envelope, index, payer, message, Some(route.source_account_id));
    }
    if let Some(payee) = route.destination_owner_id {
        let message = Message::PaymentReceived { amount, kind };
        work.occasion(&event.envelope, index, payee, message, Some(route.destination_account_id));
    }
    Ok(())
}
