use std::time::Duration;

use metrics::counter;
use uuid::Uuid;
use vostro_events::query::auth::{NameCheckAnswerV1, NameCheckResult, NameCheckV1};
use vostro_kernel::Iban;

use super::Transactions;
use crate::domain::PayeeCheck;
use crate::error::TransactionError;
use crate::store;

/// A payer waits for the answer before they pay.
const BUDGET: Duration = Duration::from_secs(2);

impl Transactions {
    /// Whether the account with this number belongs to somebody of this name. Whoever may give transfers may ask; the
    /// price of asking keeps them from asking for everybody.
    ///
    /// The name is compared by the auth module, which keeps it. When that gives no answer the check is
    /// [`PayeeCheck::Unavailable`], and the payer decides without it.
    ///
    /// # Errors
    /// Database faults.
    pub async fn payee_check(&self, number: &Iban, name: &str) -> Result<PayeeCheck, TransactionError> {
        let pool = &self.shared.foundation.pool;
        let check = match store::accounts::holder_of(pool, number.as_str()).await? {
            Some(user_id) => self.compare_name(user_id, name).await,
            None => PayeeCheck::Unavailable,
        };
        counter!("vostro_payee_checks_total", "result" => check.as_str()).increment(1);
        Ok(check)
    }

    async fn compare_name(&self, user_id: Uuid, name: &str) -> PayeeCheck {
        let question = NameCheckV1 { user_id, name: name.to_owned() };
        let Ok(answer) = self.shared.foundation.asking.ask(&question, BUDGET).await else {
            return PayeeCheck::Unavailable;
        };
        let NameCheckAnswerV1 { result, suggestion } = answer;
        match result {
            NameCheckResult::Match => PayeeCheck::Match,
            NameCheckResult::CloseMatch => PayeeCheck::CloseMatch { suggestion: suggestion.unwrap_or_default() },
            NameCheckResult::NoMatch => PayeeCheck::NoMatch,
        }
    }
}
