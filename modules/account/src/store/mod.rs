//! The module's SQL. Every statement is set-based; functions that take the caller's transaction end in `_in_tx`.

pub(crate) mod accounts;
pub(crate) mod decisions;
pub(crate) mod entries;
pub(crate) mod openings;
pub(crate) mod postings;
pub(crate) mod proof;
pub(crate) mod statements;
mod text;

use uuid::Uuid;
use vostro_kernel::{Actor, ActorKind};

use crate::domain::Account;

/// Whose accounts a query may find. Everybody else's do not exist for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// The bank and its staff.
    Everything,
    Owner(Uuid),
    Nothing,
}

impl Viewer {
    pub(crate) fn of(actor: &Actor) -> Self {
        match (actor.kind, actor.id) {
            (ActorKind::System | ActorKind::Staff, _) => Self::Everything,
            (ActorKind::User, Some(id)) => Self::Owner(id),
            (ActorKind::User | ActorKind::Anonymous, _) => Self::Nothing,
        }
    }

    /// The same for an account that was read already.
    pub(crate) fn may_see(self, account: &Account) -> bool {
        self.owner().is_none_or(|owner| account.owner_id == Some(owner))
    }

    /// The owner to narrow to; `None` for all. [`Viewer::Nothing`] narrows to the nil id, which owns nothing.
    fn owner(self) -> Option<Uuid> {
        match self {
            Self::Everything => None,
            Self::Owner(id) => Some(id),
            Self::Nothing => Some(Uuid::nil()),
        }
    }
}
