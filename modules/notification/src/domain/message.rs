use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use vostro_events::account::AccountStatus;
use vostro_events::transaction::TransactionKind;
use vostro_kernel::{Currency, Money};

use super::Topic;

/// What is said, without the words: a template and its variables. Stored as JSON with the notification.
///
/// Nothing in it is free text somebody typed: not the payer's reference, not the reason an officer gave for freezing an
/// account. The first may hold personal data, the second must never reach the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "template", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Message {
    Welcome,
    Login { at: DateTime<Utc> },
    AccountOpened { product: Product, currency: Currency },
    AccountStatus { status: AccountStatus },
    AccountOverdraft { limit: Money },
    StatementReady { from: NaiveDate, to: NaiveDate },
    PaymentSent { amount: Money, kind: TransactionKind },
    PaymentReceived { amount: Money, kind: TransactionKind },
    PaymentFailed { amount: Money, kind: TransactionKind, cause: FailureCause },
}

/// An account product as texts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Product {
    Current,
    Savings,
    /// One the templates have no word for.
    Other,
}

impl Product {
    pub fn of(product: &str) -> Self {
        match product {
            "CURRENT" => Self::Current,
            "SAVINGS" => Self::Savings,
            _ => Self::Other,
        }
    }
}

/// What the customer is told about why a payment failed. Everything but the lack of money stays general: other codes
/// could tell about somebody else's account, or about what compliance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureCause {
    InsufficientFunds,
    Other,
}

impl FailureCause {
    pub fn of(code: &str) -> Self {
        match code {
            "ACC_INSUFFICIENT_FUNDS" => Self::InsufficientFunds,
            _ => Self::Other,
        }
    }
}

impl Message {
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Welcome => Topic::Welcome,
            Self::Login { .. } => Topic::Security,
            Self::AccountOpened { .. }
            | Self::AccountStatus { .. }
            | Self::AccountOverdraft { .. }
            | Self::StatementReady { .. } => Topic::Account,
            Self::PaymentSent { .. } => Topic::PaymentSent,
            Self::PaymentReceived { .. } => Topic::PaymentReceived,
            Self::PaymentFailed { .. } => Topic::PaymentFailed,
        }
    }

    /// The stem of the template's file names.
    pub const fn template(&self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Login { .. } => "login",
            Self::AccountOpened { .. } => "account_opened",
            Self::AccountStatus { .. } => "account_status",
            Self::AccountOverdraft { .. } => "account_overdraft",
            Self::StatementReady { .. } => "statement_ready",
            Self::PaymentSent { .. } => "payment_sent",
            Self::PaymentReceived { .. } => "payment_received",
            Self::PaymentFailed { .. } => "payment_failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_stored_as_its_template_and_variables() {
        let amount = Money::new(1250, "EUR".parse().expect("a currency"));
        let message = Message::PaymentSent { amount, kind: TransactionKind::Transfer };
        let json = serde_json::to_string(&message).expect("plain data");
        assert_eq!(json, r#"{"template":"payment_sent","amount":{"minor":1250,"currency":"EUR"},"kind":"TRANSFER"}"#);
        assert_eq!(serde_json::from_str::<Message>(&json).expect("read back"), message);
    }

    #[test]
    fn only_the_lack_of_money_is_told_as_a_cause() {
        assert_eq!(FailureCause::of("ACC_INSUFFICIENT_FUNDS"), FailureCause::InsufficientFunds);
        for code in ["ACC_FROZEN", "CMP_SCREENING_HIT", "", "anything"] {
            assert_eq!(FailureCause::of(code), FailureCause::Other, "{code}");
        }
    }
}
