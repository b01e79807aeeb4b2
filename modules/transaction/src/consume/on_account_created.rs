use vostro_events::account::AccountCreatedV1;
use vostro_messaging::{HandlerError, Incoming};

use crate::store::accounts::LifecycleChange;

/// An account exists.
pub(super) fn on_account_created(event: &Incoming) -> Result<LifecycleChange, HandlerError> {
    let created: AccountCreatedV1 = event.decode()?;
    Ok(LifecycleChange {
        account_id: created.account_id,
        sequence: event.envelope.sequence,
        creation: Some((created.number, created.kind)),
        owner_id: created.owner_id,
        currency: created.currency,
        status: created.status,
    })
}
