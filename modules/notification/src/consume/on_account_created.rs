use vostro_events::account::{AccountCreatedV1, AccountKind};
use vostro_messaging::{HandlerError, Incoming};

use super::Work;
use crate::domain::{Message, Product, Suppression, account_tail};
use crate::store::AccountTail;

/// The owner is told, unless nobody asked for the account: one the bank opens because somebody registered is what the
/// welcome speaks of. Such an account is recognised by its event, which follows from another event and names no command.
pub(super) fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    let account: AccountCreatedV1 = event.decode()?;
    let owner = match (account.kind, account.owner_id) {
        (AccountKind::Internal, _) => return Ok(()),
        (AccountKind::Customer, None) => return Err(event.invalid("a customer's account without an owner")),
        (AccountKind::Customer, Some(owner)) => owner,
    };
    work.accounts.push(AccountTail { account_id: account.account_id, tail: account_tail(&account.number) });
    let message = Message::AccountOpened { product: Product::of(&account.product), currency: account.currency };
    let account_id = Some(account.account_id);
    if event.envelope.cause.command.is_some() {
        work.occasion(&event.envelope, index, owner, message, account_id);
    } else {
        work.covered(&event.envelope, index, owner, message, account_id, Suppression::CoveredByWelcome);
    }
    Ok(())
}
