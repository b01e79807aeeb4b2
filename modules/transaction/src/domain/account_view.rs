use uuid::Uuid;
use vostro_events::account::{AccountKind, AccountStatus};
use vostro_kernel::{Actor, Currency, Role};

/// An account as far as this module knows it, from events: good enough to refuse early, never to decide about funds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountView {
    pub id: Uuid,
    pub kind: AccountKind,
    /// `None` for internal accounts.
    pub owner_id: Option<Uuid>,
    pub currency: Currency,
    pub status: AccountStatus,
}

impl AccountView {
    /// Whether the actor may move money out of the account: its owner, or an operator on somebody's behalf.
    pub fn may_be_debited_by(&self, actor: &Actor) -> bool {
        actor.has_any(&[Role::Operator]) || self.owner_id.is_some_and(|owner| actor.is(owner))
    }

    /// Whether the actor may send money to the account. Customers pay each other; the bank's own accounts are for
    /// operators.
    pub fn may_be_credited_by(&self, actor: &Actor) -> bool {
        self.kind == AccountKind::Customer || actor.has_any(&[Role::Operator])
    }
}
