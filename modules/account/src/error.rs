use vostro_kernel::{Refusal, RefusalCode};
use vostro_messaging::may_pass;

/// Why a command on an account was refused: a closed list, shown to clients and kept in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountErrorCode {
    Forbidden,
    NotFound,
    Frozen,
    NotFrozen,
    Closed,
    CloseNonZero,
    CloseHasHolds,
    CurrencyUnsupported,
    CurrencyMismatch,
    ProductNotOffered,
    Internal,
    OverdraftNotOffered,
    OverdraftOutOfRange,
    OverdraftExceeded,
    NameInvalid,
    ReasonInvalid,
    NumbersExhausted,
    StatementNotFound,
    StatementInPreparation,
    StatementEnded,
    PeriodInvalid,
    PeriodNotOver,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
}

impl AccountErrorCode {
    pub const ALL: [Self; 24] = [
        Self::Forbidden,
        Self::NotFound,
        Self::Frozen,
        Self::NotFrozen,
        Self::Closed,
        Self::CloseNonZero,
        Self::CloseHasHolds,
        Self::CurrencyUnsupported,
        Self::CurrencyMismatch,
        Self::ProductNotOffered,
        Self::Internal,
        Self::OverdraftNotOffered,
        Self::OverdraftOutOfRange,
        Self::OverdraftExceeded,
        Self::NameInvalid,
        Self::ReasonInvalid,
        Self::NumbersExhausted,
        Self::StatementNotFound,
        Self::StatementInPreparation,
        Self::StatementEnded,
        Self::PeriodInvalid,
        Self::PeriodNotOver,
        Self::IdempotencyKeyRequired,
        Self::IdempotencyKeyReused,
    ];
}

impl RefusalCode for AccountErrorCode {
    fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "ACC_FORBIDDEN",
            Self::NotFound => "ACC_NOT_FOUND",
            Self::Frozen => "ACC_FROZEN",
            Self::NotFrozen => "ACC_NOT_FROZEN",
            Self::Closed => "ACC_CLOSED",
            Self::CloseNonZero => "ACC_CLOSE_NON_ZERO",
            Self::CloseHasHolds => "ACC_CLOSE_HAS_HOLDS",
            Self::CurrencyUnsupported => "ACC_CURRENCY_UNSUPPORTED",
            Self::CurrencyMismatch => "ACC_CURRENCY_MISMATCH",
            Self::ProductNotOffered => "ACC_PRODUCT_NOT_OFFERED",
            Self::Internal => "ACC_INTERNAL",
            Self::OverdraftNotOffered => "ACC_OVERDRAFT_NOT_OFFERED",
            Self::OverdraftOutOfRange => "ACC_OVERDRAFT_OUT_OF_RANGE",
            Self::OverdraftExceeded => "ACC_OVERDRAFT_EXCEEDED",
            Self::NameInvalid => "ACC_NAME_INVALID",
            Self::ReasonInvalid => "ACC_REASON_INVALID",
            Self::NumbersExhausted => "ACC_NUMBERS_EXHAUSTED",
            Self::StatementNotFound => "ACC_STATEMENT_NOT_FOUND",
            Self::StatementInPreparation => "ACC_STATEMENT_IN_PREPARATION",
            Self::StatementEnded => "ACC_STATEMENT_ENDED",
            Self::PeriodInvalid => "ACC_PERIOD_INVALID",
            Self::PeriodNotOver => "ACC_PERIOD_NOT_OVER",
            Self::IdempotencyKeyRequired => "IDEMPOTENCY_KEY_REQUIRED",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Forbidden => "Your roles do not allow this.",
            Self::NotFound => "There is no account with this id.",
            Self::Frozen => "The account is frozen.",
            Self::NotFrozen => "The account is not frozen.",
            Self::Closed => "The account is closed.",
            Self::CloseNonZero => "The balance must be zero before the account can be closed.",
            Self::CloseHasHolds => {
                "Money is still reserved or announced on the account; try again when it has settled."
            }
            Self::CurrencyUnsupported => "The bank does not keep accounts in this currency.",
            Self::CurrencyMismatch => "The amount must be in the currency of the account.",
            Self::ProductNotOffered => "This product cannot be opened by customers.",
            Self::Internal => "Internal accounts cannot be frozen, closed or given an overdraft.",
            Self::OverdraftNotOffered => "This product has no overdraft.",
            Self::OverdraftOutOfRange => "The limit must be zero or more, and not beyond what the bank can grant.",
            Self::OverdraftExceeded => "More than this limit is already in use.",
            Self::NameInvalid => "A name is one line of 1 to 100 characters.",
            Self::ReasonInvalid => "A reason is one line of 1 to 500 characters.",
            Self::NumbersExhausted => "The bank has no account numbers left.",
            Self::StatementNotFound => "There is no statement with this id.",
            Self::StatementInPreparation => "A statement of this account is being prepared; wait for it or cancel it.",
            Self::StatementEnded => "Only a statement that is being prepared can be cancelled.",
            Self::PeriodInvalid => "A period has between 1 and 366 days and ends after it begins.",
            Self::PeriodNotOver => "The period must be over; a day is over an hour after midnight UTC.",
            Self::IdempotencyKeyRequired => "An idempotency key of 1 to 128 visible ASCII characters is needed.",
            Self::IdempotencyKeyReused => "This idempotency key was used before with another input.",
        }
    }
}

/// Why a use case gave no result.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A rule of the bank refused; the caller is told the code.
    #[error(transparent)]
    Refused(#[from] Refusal<AccountErrorCode>),
    /// The database did not do its part.
    #[error("database")]
    Database(#[from] sqlx::Error),
}

impl AccountError {
    /// What the audit log calls a refused command; `None` for a fault.
    pub(crate) fn refusal_code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.code.code()),
            Self::Database(_) => None,
        }
    }

    /// Whether it may pass by itself: the database could not be reached, as opposed to having refused a statement.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(error) if may_pass(error))
    }
}

impl From<AccountErrorCode> for AccountError {
    fn from(code: AccountErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_a_name_and_a_sentence_of_its_own() {
        let names = AccountErrorCode::ALL.map(AccountErrorCode::code);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for code in AccountErrorCode::ALL {
            assert!(code.message().ends_with('.'), "{code:?}");
        }
    }
}
