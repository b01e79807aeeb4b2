use uuid::Uuid;
use vostro_kernel::{Currency, ids};

/// What the bank's own accounts are for. One of each exists in every configured currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InternalRole {
    /// Notes and coins: the other side of deposits and withdrawals at the counter.
    Cash,
    /// Money on its way from and to other banks.
    Settlement,
    /// What the bank has earned in fees.
    Fees,
    /// What the bank has paid and received in interest.
    Interest,
    /// Money whose owner is not clear yet.
    Suspense,
}

impl InternalRole {
    pub const ALL: [Self; 5] = [Self::Cash, Self::Settlement, Self::Fees, Self::Interest, Self::Suspense];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "CASH",
            Self::Settlement => "SETTLEMENT",
            Self::Fees => "FEES",
            Self::Interest => "INTEREST",
            Self::Suspense => "SUSPENSE",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Cash => "Cash",
            Self::Settlement => "Settlement",
            Self::Fees => "Fees",
            Self::Interest => "Interest",
            Self::Suspense => "Suspense",
        }
    }

    /// The account's id follows from its role and currency, so that other modules know it without asking.
    pub fn account_id(self, currency: Currency) -> Uuid {
        ids::derived("account", &format!("{}:{currency}", self.as_str()))
    }

    /// Its number, such as `CASH-EUR`.
    pub fn number(self, currency: Currency) -> String {
        format!("{}-{currency}", self.as_str())
    }

    /// Its name, such as `Cash EUR`.
    pub fn name(self, currency: Currency) -> String {
        format!("{} {currency}", self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_account_is_found_by_its_role_and_currency() {
        let euro: Currency = "EUR".parse().expect("a currency");
        assert_eq!(InternalRole::Cash.account_id(euro), ids::derived("account", "CASH:EUR"));
        assert_eq!(InternalRole::Cash.number(euro), "CASH-EUR");
        assert_eq!(InternalRole::Suspense.name(euro), "Suspense EUR");
    }
}
