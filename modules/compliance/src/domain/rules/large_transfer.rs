use std::collections::BTreeMap;

use vostro_events::compliance::Severity;
use vostro_kernel::{Currency, Money};

use super::{Finding, Payment};

/// The rule's stable name.
pub const LARGE_TRANSFER: &str = "LARGE_TRANSFER";

/// One payment of a large amount from or to a customer. Its window is the payment: each one is a finding of its own.
#[derive(Debug, Clone, Default)]
pub struct LargeTransfer {
    /// From which amount on, in minor units. A currency that is not in here is not looked at.
    pub thresholds: BTreeMap<Currency, i64>,
}

impl LargeTransfer {
    /// About the customer who pays, or who is paid by the bank.
    pub(super) fn examine(&self, payment: &Payment, version: i32) -> Option<Finding> {
        let subject_id = payment.source.or(payment.destination)?;
        let threshold = *self.thresholds.get(&payment.amount.currency)?;
        if payment.amount.minor < threshold {
            return None;
        }
        let limit = Money::new(threshold, payment.amount.currency);
        Some(Finding {
            rule_id: LARGE_TRANSFER,
            rule_version: version,
            severity: Severity::High,
            subject_id,
            transaction_id: payment.transaction_id,
            window: None,
            score: payment.amount.minor,
            threshold,
            explanation: format!("One payment of {}; payments from {limit} on are reported.", payment.amount),
            dedupe_key: format!("{LARGE_TRANSFER}/{subject_id}/{}", payment.transaction_id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn examine(source: Option<u128>, destination: Option<u128>, minor: i64, currency: &str) -> Option<Finding> {
        let euro: Currency = "EUR".parse().expect("known");
        let rule = LargeTransfer { thresholds: BTreeMap::from([(euro, 1_000_000)]) };
        let payment = Payment {
            transaction_id: Uuid::from_u128(9),
            source: source.map(Uuid::from_u128),
            destination: destination.map(Uuid::from_u128),
            amount: Money::new(minor, currency.parse().expect("known")),
            minute: 0,
        };
        rule.examine(&payment, 3)
    }

    #[test]
    fn the_threshold_itself_is_large_and_one_cent_less_is_not() {
        assert_eq!(examine(Some(1), Some(2), 999_999, "EUR"), None);
        let finding = examine(Some(1), Some(2), 1_000_000, "EUR").expect("large");
        assert_eq!((finding.score, finding.threshold, finding.rule_version), (1_000_000, 1_000_000, 3));
        assert!(finding.explanation.contains("10000.00 EUR"), "{}", finding.explanation);
    }

    #[test]
    fn a_currency_without_a_threshold_is_not_looked_at() {
        assert_eq!(examine(Some(1), Some(2), i64::MAX, "USD"), None);
    }

    #[test]
    fn it_is_about_the_customer_and_never_about_the_bank_itself() {
        let subject = |source, destination| {
            examine(source, destination, 2_000_000, "EUR").map(|finding| finding.subject_id.as_u128())
        };
        assert_eq!(subject(Some(1), Some(2)), Some(1));
        assert_eq!(subject(None, Some(2)), Some(2), "a deposit");
        assert_eq!(subject(Some(1), None), Some(1), "a withdrawal");
        assert_eq!(subject(None, None), None, "the bank's own accounts");
    }
}
