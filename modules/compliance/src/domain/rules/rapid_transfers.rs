use std::collections::BTreeMap;

use vostro_events::compliance::Severity;
use vostro_kernel::{Currency, Money};

use super::{Finding, Payment, Window};
use crate::domain::Velocity;

/// The rule's stable name.
pub const RAPID_TRANSFERS: &str = "RAPID_TRANSFERS";

/// Many payments, or much money in several, from one customer's account in a short time.
///
/// The time slides with every payment; what it finds is reported once per fixed window of the same length, so that a
/// burst is one or two findings and not a finding per payment.
#[derive(Debug, Clone)]
pub struct RapidTransfers {
    /// The length of the window in minutes, at least 1.
    pub window_minutes: i64,
    /// From how many payments on.
    pub payments: i64,
    /// From which sum on, in minor units. A currency that is not in here is only counted.
    pub sums: BTreeMap<Currency, i64>,
}

impl RapidTransfers {
    /// Payments are remembered for two windows, so that one that arrives late still finds its neighbours.
    const WINDOWS_KEPT: i64 = 2;
    /// Windows whose reports are remembered: more than the remembered payments can touch.
    const REPORTS_KEPT: usize = 4;

    pub(super) fn examine(&self, payment: &Payment, velocity: &mut Velocity, version: i32) -> Vec<Finding> {
        let Some(subject_id) = payment.source else { return Vec::new() };
        let length = self.window_minutes;
        velocity.record(payment.minute, payment.amount.minor, length * Self::WINDOWS_KEPT);
        let reached: Vec<_> = velocity
            .totals(payment.minute, length)
            .filter_map(|total| {
                let (score, threshold, what) =
                    self.exceeded(total.payments, total.sum_minor, payment.amount.currency)?;
                Some((total.until, score, threshold, what))
            })
            .collect();
        let mut findings = Vec::new();
        for (until, score, threshold, what) in reached {
            let window = until.div_euclid(length);
            if !velocity.report(window, Self::REPORTS_KEPT) {
                continue;
            }
            findings.push(Finding {
                rule_id: RAPID_TRANSFERS,
                rule_version: version,
                severity: Severity::Medium,
                subject_id,
                transaction_id: payment.transaction_id,
                window: Some(Window { from_minute: until - length + 1, until_minute: until }),
                score,
                threshold,
                explanation: format!("{what} within {length} minutes."),
                dedupe_key: format!("{RAPID_TRANSFERS}/{subject_id}/{window}"),
            });
        }
        findings
    }

    /// The count goes first: it means the same in every currency.
    fn exceeded(&self, payments: i64, sum_minor: i64, currency: Currency) -> Option<(i64, i64, String)> {
        if payments >= self.payments {
            let what = format!("{payments} outgoing payments; {} are reported,", self.payments);
            return Some((payments, self.payments, what));
        }
        let limit = *self.sums.get(&currency)?;
        // One payment is not rapid, however large.
        (payments > 1 && sum_minor >= limit).then(|| {
            let (sum, limit_money) = (Money::new(sum_minor, currency), Money::new(limit, currency));
            (sum_minor, limit, format!("{sum} paid out in {payments} payments; {limit_money} is reported,"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn rule() -> RapidTransfers {
        let euro: Currency = "EUR".parse().expect("known");
        RapidTransfers { window_minutes: 10, payments: 5, sums: BTreeMap::from([(euro, 100_000)]) }
    }

    fn payment(minute: i64, minor: i64) -> Payment {
        Payment {
            transaction_id: Uuid::from_u128(1),
            source: Some(Uuid::from_u128(2)),
            destination: None,
            amount: Money::new(minor, "EUR".parse().expect("known")),
            minute,
        }
    }

    fn examine(payments: &[(i64, i64)]) -> Vec<Finding> {
        let mut velocity = Velocity::default();
        payments
            .iter()
            .flat_map(|(minute, minor)| rule().examine(&payment(*minute, *minor), &mut velocity, 1))
            .collect()
    }

    #[test]
    fn the_last_payment_needed_is_the_one_that_is_found() {
        assert_eq!(examine(&[(100, 1); 4]), []);
        let findings = examine(&[(100, 1); 5]);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].score, findings[0].threshold), (5, 5));
    }

    #[test]
    fn payments_of_ten_minutes_count_together_and_those_of_eleven_do_not() {
        assert_eq!(examine(&[(100, 1), (100, 1), (109, 1), (109, 1), (109, 1)]).len(), 1);
        assert_eq!(examine(&[(100, 1), (100, 1), (110, 1), (110, 1), (110, 1)]), []);
    }

    #[test]
    fn the_sum_is_reached_to_the_cent() {
        assert_eq!(examine(&[(100, 50_000), (101, 49_999)]), []);
        let findings = examine(&[(100, 50_000), (101, 50_000)]);
        assert_eq!((findings.len(), findings[0].score, findings[0].threshold), (1, 100_000, 100_000));
        assert!(findings[0].explanation.contains("1000.00 EUR"), "{}", findings[0].explanation);
    }

    #[test]
    fn one_payment_is_not_rapid() {
        assert_eq!(examine(&[(100, 100_000)]), []);
    }

    #[test]
    fn a_long_burst_is_reported_once_per_window() {
        let burst: Vec<_> = (100..130).map(|minute| (minute, 1)).collect();
        let windows: Vec<_> = examine(&burst).into_iter().map(|finding| finding.dedupe_key).collect();
        let account = Uuid::from_u128(2);
        assert_eq!(windows, [10, 11, 12].map(|window| format!("RAPID_TRANSFERS/{account}/{window}")));
    }

    #[test]
    fn payments_of_the_bank_itself_are_not_looked_at() {
        let mut velocity = Velocity::default();
        let own = Payment { source: None, ..payment(100, 1) };
        assert!((0..50).all(|_| rule().examine(&own, &mut velocity, 1).is_empty()));
        assert_eq!(velocity, Velocity::default());
    }

    proptest! {
        #[test]
        fn the_windows_found_do_not_depend_on_the_order_of_arrival(
            (straight, shuffled) in prop::collection::vec((100_i64..115, 1_i64..40_000), 1..40)
                .prop_flat_map(|payments| (Just(payments.clone()), Just(payments).prop_shuffle()))
        ) {
            let keys = |payments: &[(i64, i64)]| {
                examine(payments).into_iter().map(|finding| finding.dedupe_key).collect::<BTreeSet<_>>()
            };
            let mut in_order = straight;
            in_order.sort_unstable();
            prop_assert_eq!(keys(&in_order), keys(&shuffled));
        }
    }
}
