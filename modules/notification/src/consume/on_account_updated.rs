use vostro_events::account::{AccountTerm, AccountUpdatedV2};
use vostro_kernel::Money;
use vostro_messaging::{HandlerError, Incoming};

use super::Work;
use crate::domain::Message;

/// The owner is told what changed, never why: the reason is written for colleagues. One event is one piece of news: that an
/// account is closed says that its credit line is gone. Nothing is said about terms that only a later release knows.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let account: AccountUpdatedV2 = event.decode()?;
    let Some(owner) = account.owner_id else { return Ok(()) };
    let message = if account.changed.contains(&AccountTerm::Status) {
        Message::AccountStatus { status: account.status }
    } else if account.changed.contains(&AccountTerm::OverdraftLimit) {
        if account.overdraft_limit_minor < 0 {
            return Err(event.invalid("the overdraft limit is negative"));
        }
        Message::AccountOverdraft { limit: Money::new(account.overdraft_limit_minor, account.currency) }
    } else {
        return Ok(());
    };
    work.occasion(&event.envelope, index, owner, message, Some(account.account_id));
    Ok(())
}
