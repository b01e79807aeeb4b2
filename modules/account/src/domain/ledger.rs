use std::collections::HashMap;

use uuid::Uuid;
use vostro_events::account::{AccountKind, AccountStatus};
use vostro_kernel::{Currency, Money};

use super::{Balance, PostingRefusal};

/// What the ledger knows about an account while it decides: the account's locked row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerAccount {
    pub id: Uuid,
    pub owner_id: Option<Uuid>,
    pub kind: AccountKind,
    pub currency: Currency,
    pub status: AccountStatus,
    pub balance: Balance,
}

/// A transfer somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostingRequest {
    pub transaction_id: Uuid,
    /// Debited.
    pub source: Uuid,
    /// Credited.
    pub destination: Uuid,
    pub amount: Money,
}

/// One entry, with the balance it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booking {
    pub account_id: Uuid,
    pub owner_id: Option<Uuid>,
    /// Minor units; negative for the debit.
    pub amount: i64,
    /// The balance after it; its sequence is the entry's number.
    pub after: Balance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Both entries; their amounts sum to zero.
    Applied { debit: Booking, credit: Booking },
    /// No entry; nothing has changed.
    Rejected(PostingRefusal),
}

/// The accounts a batch of transfers is about. Later transfers of the batch see what earlier ones did.
#[derive(Debug, Clone, Default)]
pub struct LedgerState {
    accounts: HashMap<Uuid, (LedgerAccount, bool)>,
}

impl LedgerState {
    pub fn new(accounts: impl IntoIterator<Item = LedgerAccount>) -> Self {
        Self { accounts: accounts.into_iter().map(|account| (account.id, (account, false))).collect() }
    }

    pub fn account(&self, id: Uuid) -> Option<&LedgerAccount> {
        self.accounts.get(&id).map(|(account, _)| account)
    }

    /// The accounts that have got entries, as they stand now.
    pub fn changed(&self) -> impl Iterator<Item = &LedgerAccount> {
        self.accounts.values().filter(|(_, changed)| *changed).map(|(account, _)| account)
    }

    fn book(&mut self, booking: &Booking) {
        if let Some((account, changed)) = self.accounts.get_mut(&booking.account_id) {
            account.balance = booking.after;
            *changed = true;
        }
    }
}

/// Decides one transfer and, when it is applied, moves the money in `state`.
///
/// This is the only place where funds are checked. The rules are asked in the order of [`PostingRefusal::ALL`].
pub fn decide(state: &mut LedgerState, request: &PostingRequest) -> Decision {
    match bookings(state, request) {
        Ok([debit, credit]) => {
            state.book(&debit);
            state.book(&credit);
            Decision::Applied { debit, credit }
        }
        Err(refusal) => Decision::Rejected(refusal),
    }
}

/// The two entries of a transfer, or the first rule that refuses it.
fn bookings(state: &LedgerState, request: &PostingRequest) -> Result<[Booking; 2], PostingRefusal> {
    let Money { minor: amount, currency } = request.amount;
    let source = state.account(request.source).ok_or(PostingRefusal::SourceMissing)?;
    let destination = state.account(request.destination).ok_or(PostingRefusal::DestinationMissing)?;
    if source.id == destination.id {
        return Err(PostingRefusal::SameAccount);
    }
    match source.status {
        AccountStatus::Active => {}
        AccountStatus::Closed => return Err(PostingRefusal::SourceClosed),
        AccountStatus::Frozen => return Err(PostingRefusal::SourceFrozen),
    }
    match destination.status {
        AccountStatus::Active => {}
        AccountStatus::Closed => return Err(PostingRefusal::DestinationClosed),
        AccountStatus::Frozen => return Err(PostingRefusal::DestinationFrozen),
    }
    if source.currency != currency || destination.currency != currency {
        return Err(PostingRefusal::CurrencyMismatch);
    }
    if amount <= 0 {
        return Err(PostingRefusal::AmountNotPositive);
    }
    let limited = source.kind == AccountKind::Customer;
    if limited && source.balance.exactly_available() < i128::from(amount) {
        return Err(PostingRefusal::InsufficientFunds);
    }
    let book = |account: &LedgerAccount, amount| {
        let after = account.balance.after(amount).ok_or(PostingRefusal::Overflow)?;
        Ok(Booking { account_id: account.id, owner_id: account.owner_id, amount, after })
    };
    Ok([book(source, -amount)?, book(destination, amount)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use PostingRefusal::*;

    const SOURCE: Uuid = Uuid::from_u128(1);
    const DESTINATION: Uuid = Uuid::from_u128(2);

    fn currency(code: &str) -> Currency {
        code.parse().expect("a currency")
    }

    fn account(id: Uuid, posted: i64) -> LedgerAccount {
        LedgerAccount {
            id,
            owner_id: Some(Uuid::from_u128(id.as_u128() + 100)),
            kind: AccountKind::Customer,
            currency: currency("EUR"),
            status: AccountStatus::Active,
            balance: Balance { posted, ..Balance::default() },
        }
    }

    fn internal(id: Uuid, posted: i64) -> LedgerAccount {
        LedgerAccount { kind: AccountKind::Internal, owner_id: None, ..account(id, posted) }
    }

    fn transfer(minor: i64) -> PostingRequest {
        PostingRequest {
            transaction_id: Uuid::from_u128(9),
            source: SOURCE,
            destination: DESTINATION,
            amount: Money::new(minor, currency("EUR")),
        }
    }

    fn refusal(state: &[LedgerAccount], request: PostingRequest) -> Option<PostingRefusal> {
        let mut ledger = LedgerState::new(state.iter().copied());
        match decide(&mut ledger, &request) {
            Decision::Applied { .. } => None,
            Decision::Rejected(refusal) => {
                assert_eq!(ledger.changed().count(), 0, "a refused transfer changes nothing");
                Some(refusal)
            }
        }
    }

    #[test]
    fn a_transfer_debits_one_account_and_credits_the_other() {
        let mut state = LedgerState::new([account(SOURCE, 100), account(DESTINATION, 7)]);
        let Decision::Applied { debit, credit } = decide(&mut state, &transfer(30)) else { panic!("applied") };
        assert_eq!((debit.account_id, debit.amount, debit.after.posted, debit.after.sequence), (SOURCE, -30, 70, 1));
        assert_eq!((credit.account_id, credit.amount, credit.after.posted), (DESTINATION, 30, 37));
        assert_eq!(debit.owner_id, Some(Uuid::from_u128(101)));
        assert_eq!(state.account(SOURCE).map(|account| account.balance), Some(debit.after));
        assert_eq!(state.changed().count(), 2);
    }

    #[test]
    fn later_transfers_of_a_batch_see_what_earlier_ones_did() {
        let mut state = LedgerState::new([account(SOURCE, 100), account(DESTINATION, 0)]);
        assert!(matches!(decide(&mut state, &transfer(60)), Decision::Applied { .. }));
        assert_eq!(decide(&mut state, &transfer(60)), Decision::Rejected(InsufficientFunds));
        let Decision::Applied { debit, .. } = decide(&mut state, &transfer(40)) else { panic!("applied") };
        assert_eq!((debit.after.posted, debit.after.sequence), (0, 2));
    }

    #[test]
    fn an_account_that_does_not_exist_is_missing_on_its_side() {
        assert_eq!(refusal(&[account(DESTINATION, 0)], transfer(1)), Some(SourceMissing));
        assert_eq!(refusal(&[account(SOURCE, 1)], transfer(1)), Some(DestinationMissing));
    }

    #[test]
    fn an_account_cannot_pay_itself() {
        let request = PostingRequest { destination: SOURCE, ..transfer(1) };
        assert_eq!(refusal(&[account(SOURCE, 1)], request), Some(SameAccount));
    }

    #[test]
    fn closed_and_frozen_accounts_neither_pay_nor_receive() {
        let with = |source, destination| {
            let source = LedgerAccount { status: source, ..account(SOURCE, 100) };
            let destination = LedgerAccount { status: destination, ..account(DESTINATION, 0) };
            refusal(&[source, destination], transfer(1))
        };
        use AccountStatus::{Active, Closed, Frozen};
        assert_eq!(with(Closed, Active), Some(SourceClosed));
        assert_eq!(with(Frozen, Active), Some(SourceFrozen));
        assert_eq!(with(Active, Closed), Some(DestinationClosed));
        assert_eq!(with(Active, Frozen), Some(DestinationFrozen));
        assert_eq!(with(Active, Active), None);
    }

    #[test]
    fn currencies_never_mix() {
        let crowns = |account: LedgerAccount| LedgerAccount { currency: currency("CZK"), ..account };
        let (source, destination) = (account(SOURCE, 100), account(DESTINATION, 0));
        assert_eq!(refusal(&[crowns(source), destination], transfer(1)), Some(CurrencyMismatch));
        assert_eq!(refusal(&[source, crowns(destination)], transfer(1)), Some(CurrencyMismatch));
        assert_eq!(refusal(&[crowns(source), crowns(destination)], transfer(1)), Some(CurrencyMismatch));
    }

    #[test]
    fn only_a_positive_amount_moves() {
        let state = [account(SOURCE, 100), account(DESTINATION, 100)];
        for minor in [0, -1, i64::MIN] {
            assert_eq!(refusal(&state, transfer(minor)), Some(AmountNotPositive), "{minor}");
        }
    }

    #[test]
    fn a_customer_spends_what_is_available_and_not_one_unit_more() {
        let source = |balance| [LedgerAccount { balance, ..account(SOURCE, 0) }, account(DESTINATION, 0)];
        let funds = Balance { posted: 100, pending_out: 20, locked: 10, overdraft_limit: 5, ..Balance::default() };
        assert_eq!(refusal(&source(funds), transfer(75)), None);
        assert_eq!(refusal(&source(funds), transfer(76)), Some(InsufficientFunds));
        let expected = Balance { pending_in: 1_000, ..Balance::default() };
        assert_eq!(refusal(&source(expected), transfer(1)), Some(InsufficientFunds));
        assert_eq!(refusal(&source(Balance::default()), transfer(i64::MAX)), Some(InsufficientFunds));
    }

    #[test]
    fn an_internal_account_goes_below_zero_without_limit() {
        assert_eq!(refusal(&[internal(SOURCE, -5), account(DESTINATION, 0)], transfer(1_000_000)), None);
    }

    #[test]
    fn no_balance_leaves_64_bits() {
        let full = [internal(SOURCE, 0), account(DESTINATION, i64::MAX - 5)];
        assert_eq!(refusal(&full, transfer(5)), None);
        assert_eq!(refusal(&full, transfer(6)), Some(Overflow));
        let empty = [internal(SOURCE, i64::MIN + 5), account(DESTINATION, 0)];
        assert_eq!(refusal(&empty, transfer(5)), None);
        assert_eq!(refusal(&empty, transfer(6)), Some(Overflow));
    }

    /// Each rule with everything that comes later in the list broken as well: the answer is the earlier one.
    #[test]
    fn the_first_rule_in_the_list_that_refuses_is_the_answer() {
        // The destination is full, so that overflow would be the answer if nothing before it were.
        let good = || [internal(SOURCE, 0), account(DESTINATION, i64::MAX)];
        let mut expected = Vec::new();
        let mut check = |refused, state: &[LedgerAccount], request| {
            assert_eq!(refusal(state, request), Some(refused));
            expected.push(refused);
        };
        let frozen = |mut account: LedgerAccount, status| {
            account.status = status;
            account
        };
        let wrong = PostingRequest { amount: Money::new(-1, currency("CZK")), ..transfer(0) };
        let [source, destination] = good();
        let poor = LedgerAccount { kind: AccountKind::Customer, ..source };
        use AccountStatus::{Closed, Frozen};
        check(SourceMissing, &[], wrong);
        check(DestinationMissing, &[frozen(source, Closed)], wrong);
        check(SameAccount, &[frozen(source, Closed)], PostingRequest { destination: SOURCE, ..wrong });
        check(SourceClosed, &[frozen(source, Closed), frozen(destination, Closed)], wrong);
        check(SourceFrozen, &[frozen(source, Frozen), frozen(destination, Closed)], wrong);
        check(DestinationClosed, &[source, frozen(destination, Closed)], wrong);
        check(DestinationFrozen, &[source, frozen(destination, Frozen)], wrong);
        check(CurrencyMismatch, &[source, destination], wrong);
        check(AmountNotPositive, &[poor, destination], transfer(-1));
        check(InsufficientFunds, &[poor, destination], transfer(1));
        check(Overflow, &[source, destination], transfer(1));
        assert_eq!(expected, PostingRefusal::ALL);
    }
}
