use async_graphql::{Error, ErrorExtensionValues};
use uuid::Uuid;

use crate::door::{Budget, Budgets, Spender};
use crate::faults::{FaultCode, fault};

/// What everybody has for asking whose an account is, apart from their budget for everything else, which is made for many
/// cheap questions: 20 checks at once, then six a minute, in each instance of the bank. A person who pays needs no more, and
/// a list of names and numbers takes months.
pub(super) struct PayeeBudget(Budgets);

impl PayeeBudget {
    const CHECK: u32 = 10;
    const BUDGET: Budget = Budget { maximum: 20 * Self::CHECK, restore_per_second: 1 };

    pub(super) fn new() -> Self {
        Self(Budgets::new(Self::BUDGET))
    }

    /// Pays for one check; refused, with the time to wait, when nothing is left.
    pub(super) fn spend(&self, user: Uuid) -> Result<(), Error> {
        self.0.of(Spender::User(user)).charge(Self::CHECK).map_err(|shortage| {
            let mut error =
                fault(FaultCode::RateLimited, "Too many payees were checked; wait before you check another.");
            let wait = u64::try_from(shortage.wait.as_millis()).unwrap_or(u64::MAX);
            error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("retryAfterMs", wait);
            error
        })
    }
}
