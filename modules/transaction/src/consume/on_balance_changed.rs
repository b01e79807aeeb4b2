use vostro_events::account::BalanceChangedV1;
use vostro_messaging::{HandlerError, Incoming};

use crate::store::accounts::BalanceChange;

/// A posting changed an account's balance.
pub(super) fn on_balance_changed(event: &Incoming) -> Result<BalanceChange, HandlerError> {
    let changed: BalanceChangedV1 = event.decode()?;
    Ok(BalanceChange {
        account_id: changed.account_id,
        sequence: event.envelope.sequence,
        available_minor: changed.after.available_minor,
    })
}
