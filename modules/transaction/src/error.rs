use std::sync::Arc;

use vostro_kernel::{Refusal, RefusalCode};
use vostro_messaging::may_pass;

/// The closed list of reasons to refuse a command of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionErrorCode {
    /// The caller's roles do not allow the command at all.
    Forbidden,
    /// No idempotency key, or a text that cannot be one.
    IdempotencyKeyRequired,
    /// The key belongs to an earlier command with another input.
    IdempotencyKeyReused,
    /// No such currency, or the bank holds no cash in it.
    CurrencyUnknown,
    /// Not a plain decimal, not positive, or beyond what an account can hold.
    InvalidAmount,
    /// More decimals than the currency has.
    AmountPrecision,
    /// Source and destination are the same account.
    SelfTransfer,
    /// No such account, or not one the caller may use.
    AccountNotFound,
    /// An account is kept in another currency than the amount.
    CurrencyMismatch,
    AccountFrozen,
    AccountClosed,
    ReferenceTooLong,
    /// The reference holds characters that cannot be printed.
    InvalidReference,
    /// No such transaction, or not one of the caller's.
    NotFound,
    /// The transaction has already ended.
    InvalidState,
}

impl TransactionErrorCode {
    /// Every code, for tests and documentation, in the order in which a command is checked; the last two are not
    /// reasons to refuse a payment.
    pub const ALL: [Self; 15] = [
        Self::Forbidden,
        Self::IdempotencyKeyRequired,
        Self::IdempotencyKeyReused,
        Self::CurrencyUnknown,
        Self::InvalidAmount,
        Self::AmountPrecision,
        Self::SelfTransfer,
        Self::AccountNotFound,
        Self::CurrencyMismatch,
        Self::AccountFrozen,
        Self::AccountClosed,
        Self::ReferenceTooLong,
        Self::InvalidReference,
        Self::NotFound,
        Self::InvalidState,
    ];
}

impl RefusalCode for TransactionErrorCode {
    fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "TXN_FORBIDDEN",
            Self::IdempotencyKeyRequired => "IDEMPOTENCY_KEY_REQUIRED",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::CurrencyUnknown => "TXN_CURRENCY_UNKNOWN",
            Self::InvalidAmount => "TXN_INVALID_AMOUNT",
            Self::AmountPrecision => "TXN_AMOUNT_PRECISION",
            Self::SelfTransfer => "TXN_SELF_TRANSFER",
            Self::AccountNotFound => "TXN_ACCOUNT_NOT_FOUND",
            Self::CurrencyMismatch => "TXN_CURRENCY_MISMATCH",
            Self::AccountFrozen => "TXN_ACCOUNT_FROZEN",
            Self::AccountClosed => "TXN_ACCOUNT_CLOSED",
            Self::ReferenceTooLong => "TXN_REFERENCE_TOO_LONG",
            Self::InvalidReference => "TXN_INVALID_REFERENCE",
            Self::NotFound => "TXN_NOT_FOUND",
            Self::InvalidState => "TXN_INVALID_STATE",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Forbidden => "Your roles do not allow this; ask an operator of the bank.",
            Self::IdempotencyKeyRequired => {
                "Give an idempotency key of 1 to 128 visible ASCII characters, a new one for each payment."
            }
            Self::IdempotencyKeyReused => {
                "This idempotency key belongs to an earlier payment with other data; use a new key for a new payment."
            }
            Self::CurrencyUnknown => {
                "The bank does not know this currency; use an ISO 4217 code it offers, such as EUR."
            }
            Self::InvalidAmount => "Give an amount above zero as a plain decimal, such as 12.50.",
            Self::AmountPrecision => "The amount has more decimals than its currency; round it first.",
            Self::SelfTransfer => "Source and destination are the same account; choose two different ones.",
            Self::AccountNotFound => "There is no such account; check its id.",
            Self::CurrencyMismatch => {
                "The account is kept in another currency; send an amount in the account's currency."
            }
            Self::AccountFrozen => {
                "The account is frozen; it takes part in payments again when the bank lifts the freeze."
            }
            Self::AccountClosed => "The account is closed; use another one.",
            Self::ReferenceTooLong => "The reference is longer than 140 characters; shorten it.",
            Self::InvalidReference => "The reference contains control characters; remove them.",
            Self::NotFound => "There is no such transaction; check its id.",
            Self::InvalidState => "The transaction has already ended and cannot change any more.",
        }
    }
}

/// Why a use case has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransactionError {
    /// An answer: the rules do not allow it, and nothing was changed.
    #[error(transparent)]
    Refused(Refusal<TransactionErrorCode>),
    /// The database did not do its part. Whether the command took effect is not known: repeat it with the same key.
    #[error("database")]
    Database(#[source] Arc<sqlx::Error>),
    /// The bank is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

impl TransactionError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal<TransactionErrorCode>> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Database(_) | Self::ShuttingDown => None,
        }
    }

    /// Whether the same call may well succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::ShuttingDown => true,
            Self::Database(error) => may_pass(error),
        }
    }
}

impl From<Refusal<TransactionErrorCode>> for TransactionError {
    fn from(refusal: Refusal<TransactionErrorCode>) -> Self {
        Self::Refused(refusal)
    }
}

impl From<TransactionErrorCode> for TransactionError {
    fn from(code: TransactionErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

impl From<sqlx::Error> for TransactionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_refusal_has_a_code_of_its_own_and_says_what_to_do() {
        let codes: BTreeSet<_> = TransactionErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(codes.len(), TransactionErrorCode::ALL.len());
        for code in TransactionErrorCode::ALL {
            assert!(code.message().ends_with('.'), "{code:?}");
        }
    }

    #[test]
    fn a_lost_database_may_come_back_and_a_refusal_stays() {
        assert!(TransactionError::from(sqlx::Error::PoolTimedOut).is_passing());
        assert!(!TransactionError::from(sqlx::Error::RowNotFound).is_passing());
        assert!(!TransactionError::from(TransactionErrorCode::NotFound).is_passing());
    }
}
