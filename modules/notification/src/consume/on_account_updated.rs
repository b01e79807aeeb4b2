use vostro_events::account::{AccountChange, AccountUpdatedV1};
use vostro_kernel::Money;
use vostro_messaging::{HandlerError, Incoming};

use super::Work;
use crate::domain::Message;

/// The owner is told what changed, never why: the reason is written for colleagues.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let account: AccountUpdatedV1 = event.decode()?;
    let Some(owner) = account.owner_id else { return Ok(()) };
    let message = match account.change {
        AccountChange::Status => Message::AccountStatus { status: account.status },
        AccountChange::Overdraft => {
            if account.overdraft_limit_minor < 0 {
                return Err(event.invalid("the overdraft limit is negative"));
            }
            Message::AccountOverdraft { limit: Money::new(account.overdraft_limit_minor, account.currency) }
        }
    };
    work.occasion(&event.envelope, index, owner, message, Some(account.account_id));
    Ok(())
}
