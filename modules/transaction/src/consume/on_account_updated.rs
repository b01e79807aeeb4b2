use vostro_events::account::AccountUpdatedV2;
use vostro_messaging::{HandlerError, Incoming};

use crate::store::accounts::LifecycleChange;

/// An account's terms changed; the event carries the state after the change.
pub(super) fn on_account_updated(event: &Incoming) -> Result<LifecycleChange, HandlerError> {
    let updated: AccountUpdatedV2 = event.decode()?;
    Ok(LifecycleChange {
        account_id: updated.account_id,
        sequence: event.envelope.sequence,
        creation: None,
        owner_id: updated.owner_id,
        currency: updated.currency,
        status: updated.status,
    })
}
