use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::account::{AccountKind, AccountStatus};
use vostro_kernel::{Currency, Money, Refusal};

use super::{Balance, Product};
use crate::error::AccountErrorCode;

/// The largest overdraft that can be arranged, in minor units. The database has the same bound.
pub const MAX_OVERDRAFT_MINOR: i64 = 1_000_000_000_000_000;

/// An account and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: Uuid,
    /// What people write: an IBAN, or the code of an internal account such as `CASH-EUR`.
    pub number: String,
    pub name: String,
    pub kind: AccountKind,
    pub product: Product,
    /// The version of the product's terms it was opened under.
    pub product_version: i32,
    /// `None` for the bank's own accounts.
    pub owner_id: Option<Uuid>,
    pub currency: Currency,
    pub status: AccountStatus,
    pub balance: Balance,
    /// When the balance became what it is.
    pub balance_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    /// The number of the latest account event: 1 after opening.
    pub version: i64,
    /// When it became that.
    pub changed_at: DateTime<Utc>,
}

/// What can be done to an account's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    Freeze,
    Unfreeze,
    Close,
}

/// Where a step leads, or why it cannot be taken: the whole table.
///
/// # Errors
/// The code that says what state the account is in.
pub const fn transition(from: AccountStatus, step: Lifecycle) -> Result<AccountStatus, AccountErrorCode> {
    use AccountStatus::{Active, Closed, Frozen};
    use Lifecycle::{Close, Freeze, Unfreeze};
    match (from, step) {
        (Active, Freeze) => Ok(Frozen),
        (Active, Unfreeze) => Err(AccountErrorCode::NotFrozen),
        (Active, Close) => Ok(Closed),
        (Frozen, Unfreeze) => Ok(Active),
        (Frozen, Freeze | Close) => Err(AccountErrorCode::Frozen),
        (Closed, Freeze | Unfreeze | Close) => Err(AccountErrorCode::Closed),
    }
}

impl Account {
    /// Takes a step of the account's life and counts it.
    ///
    /// # Errors
    /// The first rule that refuses: internal accounts stay as they are, then the table of [`transition`], then what an
    /// account must be to be closed.
    pub fn step(&mut self, step: Lifecycle) -> Result<(), Refusal<AccountErrorCode>> {
        self.customers_only()?;
        let status = transition(self.status, step)?;
        if step == Lifecycle::Close {
            self.closable()?;
            // A closed account has no credit line.
            self.balance.overdraft_limit = 0;
        }
        self.status = status;
        self.version += 1;
        Ok(())
    }

    /// Sets how far the balance may go below zero. The limit it has already changes nothing, so that a command whose answer
    /// was lost can be repeated.
    ///
    /// # Errors
    /// The first rule that refuses: kind, status, product, currency, range, and that the new limit covers what is
    /// already overdrawn or reserved.
    pub fn arrange_overdraft(&mut self, limit: Money) -> Result<(), Refusal<AccountErrorCode>> {
        let at = |code| Refusal::new(code).at(&["input", "limit"]);
        self.customers_only()?;
        match self.status {
            AccountStatus::Active => {}
            AccountStatus::Frozen => return Err(AccountErrorCode::Frozen.into()),
            AccountStatus::Closed => return Err(AccountErrorCode::Closed.into()),
        }
        if !self.product.terms().overdraft {
            return Err(AccountErrorCode::OverdraftNotOffered.into());
        }
        if limit.currency != self.currency {
            return Err(at(AccountErrorCode::CurrencyMismatch));
        }
        let balance = Balance { overdraft_limit: limit.minor, ..self.balance };
        if !(0..=MAX_OVERDRAFT_MINOR).contains(&limit.minor) || i64::try_from(balance.exactly_available()).is_err() {
            return Err(at(AccountErrorCode::OverdraftOutOfRange));
        }
        if balance.exactly_available() < 0 {
            return Err(at(AccountErrorCode::OverdraftExceeded));
        }
        if self.balance.overdraft_limit != limit.minor {
            self.balance = balance;
            self.version += 1;
        }
        Ok(())
    }

    fn customers_only(&self) -> Result<(), AccountErrorCode> {
        match self.kind {
            AccountKind::Customer => Ok(()),
            AccountKind::Internal => Err(AccountErrorCode::Internal),
        }
    }

    fn closable(&self) -> Result<(), AccountErrorCode> {
        if self.balance.posted != 0 {
            return Err(AccountErrorCode::CloseNonZero);
        }
        if self.balance.has_holds() {
            return Err(AccountErrorCode::CloseHasHolds);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccountErrorCode as Code;
    use AccountStatus::{Active, Closed, Frozen};
    use Lifecycle::{Close, Freeze, Unfreeze};

    fn account() -> Account {
        Account {
            id: Uuid::from_u128(1),
            number: "LT121000011101001000".into(),
            name: "Current account".into(),
            kind: AccountKind::Customer,
            product: Product::Current,
            product_version: 1,
            owner_id: Some(Uuid::from_u128(2)),
            currency: "EUR".parse().expect("a currency"),
            status: Active,
            balance: Balance::default(),
            balance_at: DateTime::UNIX_EPOCH,
            created_at: DateTime::UNIX_EPOCH,
            version: 1,
            changed_at: DateTime::UNIX_EPOCH,
        }
    }

    fn internal() -> Account {
        Account { kind: AccountKind::Internal, product: Product::Internal, owner_id: None, ..account() }
    }

    fn euro(minor: i64) -> Money {
        Money::new(minor, "EUR".parse().expect("a currency"))
    }

    fn code(result: Result<(), Refusal<Code>>) -> Option<Code> {
        result.err().map(|refusal| refusal.code)
    }

    #[test]
    fn every_step_from_every_status_is_decided() {
        let table = [
            (Active, Freeze, Ok(Frozen)),
            (Active, Unfreeze, Err(Code::NotFrozen)),
            (Active, Close, Ok(Closed)),
            (Frozen, Freeze, Err(Code::Frozen)),
            (Frozen, Unfreeze, Ok(Active)),
            (Frozen, Close, Err(Code::Frozen)),
            (Closed, Freeze, Err(Code::Closed)),
            (Closed, Unfreeze, Err(Code::Closed)),
            (Closed, Close, Err(Code::Closed)),
        ];
        for (from, step, expected) in table {
            assert_eq!(transition(from, step), expected, "{from:?} {step:?}");
            let mut subject = Account { status: from, ..account() };
            let refused = code(subject.step(step));
            assert_eq!(refused, expected.err());
            assert_eq!((subject.status, subject.version), expected.map_or((from, 1), |to| (to, 2)));
        }
    }

    #[test]
    fn an_account_with_money_or_holds_is_not_closed() {
        let with = |balance| code(Account { balance, ..account() }.step(Close));
        assert_eq!(with(Balance { posted: 1, ..Balance::default() }), Some(Code::CloseNonZero));
        assert_eq!(with(Balance { posted: -1, ..Balance::default() }), Some(Code::CloseNonZero));
        for balance in [
            Balance { pending_in: 1, ..Balance::default() },
            Balance { pending_out: 1, ..Balance::default() },
            Balance { locked: 1, ..Balance::default() },
        ] {
            assert_eq!(with(balance), Some(Code::CloseHasHolds), "{balance:?}");
        }
    }

    #[test]
    fn closing_ends_the_overdraft() {
        let balance = Balance { overdraft_limit: 500, sequence: 4, ..Balance::default() };
        let mut subject = Account { balance, ..account() };
        assert_eq!(subject.step(Close), Ok(()));
        assert_eq!(subject.balance, Balance { sequence: 4, ..Balance::default() });
    }

    #[test]
    fn internal_accounts_have_no_life_of_their_own() {
        for step in [Freeze, Unfreeze, Close] {
            assert_eq!(code(internal().step(step)), Some(Code::Internal));
        }
        assert_eq!(code(internal().arrange_overdraft(euro(1))), Some(Code::Internal));
    }

    #[test]
    fn an_overdraft_is_arranged_and_counted() {
        let mut subject = account();
        assert_eq!(subject.arrange_overdraft(euro(500)), Ok(()));
        assert_eq!((subject.balance.overdraft_limit, subject.balance.available(), subject.version), (500, 500, 2));
    }

    #[test]
    fn an_overdraft_needs_an_active_current_account_in_its_currency() {
        let with = |mut account: Account| code(account.arrange_overdraft(euro(1)));
        assert_eq!(with(Account { status: Frozen, ..account() }), Some(Code::Frozen));
        assert_eq!(with(Account { status: Closed, ..account() }), Some(Code::Closed));
        assert_eq!(with(Account { product: Product::Savings, ..account() }), Some(Code::OverdraftNotOffered));
        let crowns = Account { currency: "CZK".parse().expect("a currency"), ..account() };
        assert_eq!(with(crowns), Some(Code::CurrencyMismatch));
    }

    #[test]
    fn an_overdraft_is_within_its_range_and_covers_what_is_used() {
        let with = |posted, limit| {
            let balance = Balance { posted, overdraft_limit: 500, ..Balance::default() };
            code(Account { balance, ..account() }.arrange_overdraft(euro(limit)))
        };
        assert_eq!(with(0, -1), Some(Code::OverdraftOutOfRange));
        assert_eq!(with(0, MAX_OVERDRAFT_MINOR), None);
        assert_eq!(with(0, MAX_OVERDRAFT_MINOR + 1), Some(Code::OverdraftOutOfRange));
        assert_eq!(with(i64::MAX - 5, 6), Some(Code::OverdraftOutOfRange));
        assert_eq!(with(-300, 299), Some(Code::OverdraftExceeded));
        assert_eq!(with(-300, 300), None);
    }
}
