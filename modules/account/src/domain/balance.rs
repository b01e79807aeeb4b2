use vostro_events::account::BalanceV1;

/// How an account stands, by phase. Minor units of the account's currency; positive means the bank owes the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// The sum of all entries.
    pub posted: i64,
    /// Announced credits. They never raise what is available.
    pub pending_in: i64,
    /// Reserved for debits that are on their way.
    pub pending_out: i64,
    /// Set aside: liens, pots.
    pub locked: i64,
    /// How far the holder may go below zero.
    pub overdraft_limit: i64,
    /// How many entries there are; the number of the latest.
    pub sequence: i64,
}

impl Balance {
    /// What can be spent: posted − pending out − locked + overdraft limit. [`super::decide`] and
    /// [`super::Account::arrange_overdraft`] keep it within 64 bits.
    pub fn available(&self) -> i64 {
        let exact = self.exactly_available();
        i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
    }

    /// The same, where it could leave 64 bits.
    pub(super) fn exactly_available(&self) -> i128 {
        i128::from(self.posted) - i128::from(self.pending_out) - i128::from(self.locked)
            + i128::from(self.overdraft_limit)
    }

    /// Whether money is reserved or announced.
    pub fn has_holds(&self) -> bool {
        self.pending_in != 0 || self.pending_out != 0 || self.locked != 0
    }

    /// The balance after one more entry of `amount`, or `None` when a part of it would leave 64 bits.
    pub(super) fn after(&self, amount: i64) -> Option<Self> {
        let posted = self.posted.checked_add(amount)?;
        let after = Self { posted, sequence: self.sequence.checked_add(1)?, ..*self };
        i64::try_from(after.exactly_available()).ok().map(|_| after)
    }
}

impl From<Balance> for BalanceV1 {
    fn from(balance: Balance) -> Self {
        Self {
            posted_minor: balance.posted,
            pending_in_minor: balance.pending_in,
            pending_out_minor: balance.pending_out,
            locked_minor: balance.locked,
            available_minor: balance.available(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_or_locked_is_not_available_and_an_overdraft_is() {
        let balance =
            Balance { posted: 100, pending_in: 1_000, pending_out: 30, locked: 20, overdraft_limit: 5, sequence: 1 };
        assert_eq!(balance.available(), 55);
        assert_eq!(BalanceV1::from(balance).available_minor, 55);
    }

    #[test]
    fn an_entry_counts_one_and_moves_posted_alone() {
        let before = Balance { posted: 100, locked: 20, sequence: 7, ..Balance::default() };
        assert_eq!(before.after(-30), Some(Balance { posted: 70, locked: 20, sequence: 8, ..Balance::default() }));
    }

    #[test]
    fn neither_posted_nor_available_leaves_64_bits() {
        let at = |posted, overdraft_limit| Balance { posted, overdraft_limit, ..Balance::default() };
        assert_eq!(at(i64::MAX, 0).after(1), None);
        assert_eq!(at(i64::MIN, 0).after(-1), None);
        assert_eq!(at(i64::MAX - 10, 5).after(6), None);
        assert!(at(i64::MAX - 10, 5).after(5).is_some());
    }
}
