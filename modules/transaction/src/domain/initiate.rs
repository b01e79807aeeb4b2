use std::collections::HashMap;

use uuid::Uuid;
use vostro_events::account::AccountStatus;
use vostro_kernel::{Actor, Currency, Money, MoneyError, Refusal, Role};

use super::{AccountView, Command, Instruction};
use crate::error::TransactionErrorCode as Code;

type Decision<T> = Result<T, Refusal<Code>>;

/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 128;
/// The longest reference, in characters: what SEPA carries unstructured.
const LONGEST_REFERENCE: usize = 140;

const AMOUNT: &[&str] = &["input", "amount", "amount"];
const CURRENCY: &[&str] = &["input", "amount", "currency"];
const REFERENCE: &[&str] = &["input", "reference"];

/// What a command that passed every check turns into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draft {
    /// Always positive.
    pub amount: Money,
    pub source_owner_id: Option<Uuid>,
    pub destination_owner_id: Option<Uuid>,
}

/// Whether the caller may give the command at all, and in whose name its key counts. Decided before the key is looked
/// at, because without an initiator or a key there is nothing to look up.
///
/// # Errors
/// 1. `TXN_FORBIDDEN`: nobody is logged in, or somebody other than an operator records a deposit;
/// 2. `IDEMPOTENCY_KEY_REQUIRED`.
pub fn admit(instruction: &Instruction, actor: &Actor) -> Decision<Uuid> {
    let initiator = actor.id.ok_or(Code::Forbidden)?;
    if instruction.command == Command::DepositRecord && !actor.has_any(&[Role::Operator]) {
        return Err(Code::Forbidden.into());
    }
    let key = &instruction.idempotency_key;
    if !(1..=LONGEST_KEY).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::new(Code::IdempotencyKeyRequired).at(&["input", "idempotencyKey"]));
    }
    Ok(initiator)
}

/// Checks a command that was given for the first time. The first rule that is broken is the answer:
///
/// 1. `TXN_CURRENCY_UNKNOWN`: first, because an amount means nothing without its currency;
/// 2. `TXN_INVALID_AMOUNT` when it is not a plain decimal, `TXN_AMOUNT_PRECISION`, `TXN_INVALID_AMOUNT` when it is out
///    of range or not positive;
/// 3. `TXN_SELF_TRANSFER`;
/// 4. `TXN_ACCOUNT_NOT_FOUND`: the source is missing or not the caller's, then the destination;
/// 5. `TXN_CURRENCY_MISMATCH`: the source, then the destination;
/// 6. `TXN_ACCOUNT_FROZEN`, `TXN_ACCOUNT_CLOSED`: the source, then the destination;
/// 7. `TXN_REFERENCE_TOO_LONG`, `TXN_INVALID_REFERENCE`.
///
/// Funds are no business of this function: `accounts` may be behind, and only the ledger knows.
///
/// # Errors
/// The refusal.
pub fn decide_initiate(
    instruction: &Instruction,
    actor: &Actor,
    accounts: &HashMap<Uuid, AccountView>,
) -> Decision<Draft> {
    let command = instruction.command;
    let amount = amount(instruction)?;
    if instruction.source_account_id == instruction.destination_account_id {
        return Err(Refusal::new(Code::SelfTransfer).at(command.destination_field()));
    }

    let source = accounts.get(&instruction.source_account_id);
    let source = source.filter(|account| command == Command::DepositRecord || account.may_be_debited_by(actor));
    let source = source.ok_or_else(|| not_found(command, command.source_field()))?;
    let destination = accounts.get(&instruction.destination_account_id);
    let destination =
        destination.filter(|account| command == Command::WithdrawalInitiate || account.may_be_credited_by(actor));
    let destination = destination.ok_or_else(|| not_found(command, command.destination_field()))?;

    for account in [source, destination] {
        if account.currency != amount.currency {
            let refusal = Refusal::new(Code::CurrencyMismatch).at(CURRENCY);
            return Err(refusal.saying(format!("The account is kept in {}; send {0}.", account.currency)));
        }
    }
    usable(source, command.source_field())?;
    usable(destination, command.destination_field())?;
    check_reference(instruction.reference.as_deref())?;
    Ok(Draft { amount, source_owner_id: source.owner_id, destination_owner_id: destination.owner_id })
}

fn amount(instruction: &Instruction) -> Decision<Money> {
    let currency: Currency =
        instruction.currency.parse().map_err(|_| Refusal::new(Code::CurrencyUnknown).at(CURRENCY))?;
    let money = Money::parse(&instruction.amount, currency).map_err(|error| {
        let refusal = match error {
            MoneyError::TooManyDecimals { currency, allowed } => {
                let refusal = Refusal::new(Code::AmountPrecision);
                refusal.saying(format!("{currency} has {allowed} decimals; round the amount first."))
            }
            MoneyError::OutOfRange => Refusal::new(Code::InvalidAmount).saying("The amount is too large; split it."),
            MoneyError::NotANumber | MoneyError::CurrencyMismatch { .. } => Refusal::new(Code::InvalidAmount),
        };
        refusal.at(AMOUNT)
    })?;
    if money.is_positive() { Ok(money) } else { Err(Refusal::new(Code::InvalidAmount).at(AMOUNT)) }
}

/// A missing cash account is the bank's doing, not a wrong id of the caller's: it holds no cash in that currency.
fn not_found(command: Command, field: &'static [&'static str]) -> Refusal<Code> {
    if command != Command::TransferCreate && field == CURRENCY {
        let refusal = Refusal::new(Code::CurrencyUnknown).at(CURRENCY);
        return refusal.saying("The bank holds no cash in this currency; use another one.");
    }
    Refusal::new(Code::AccountNotFound).at(field)
}

fn usable(account: &AccountView, field: &'static [&'static str]) -> Decision<()> {
    match account.status {
        AccountStatus::Active => Ok(()),
        AccountStatus::Frozen => Err(Refusal::new(Code::AccountFrozen).at(field)),
        AccountStatus::Closed => Err(Refusal::new(Code::AccountClosed).at(field)),
    }
}

fn check_reference(reference: Option<&str>) -> Decision<()> {
    let reference = reference.unwrap_or_default();
    if reference.chars().count() > LONGEST_REFERENCE {
        return Err(Refusal::new(Code::ReferenceTooLong).at(REFERENCE));
    }
    if reference.contains(char::is_control) {
        return Err(Refusal::new(Code::InvalidReference).at(REFERENCE));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_events::account::AccountKind;
    use vostro_kernel::Roles;

    const PAYER: Uuid = Uuid::from_u128(1);
    const PAYEE: Uuid = Uuid::from_u128(2);
    const SOURCE: Uuid = Uuid::from_u128(10);
    const DESTINATION: Uuid = Uuid::from_u128(11);
    const CLEARING: Uuid = Uuid::from_u128(12);

    fn person(id: Uuid, role: Role) -> Actor {
        Actor::person(id, Roles::from_iter([role]), None)
    }

    fn payer() -> Actor {
        person(PAYER, Role::Customer)
    }

    fn operator() -> Actor {
        person(Uuid::from_u128(77), Role::Operator)
    }

    fn account(id: Uuid, owner_id: Option<Uuid>) -> AccountView {
        let kind = if owner_id.is_some() { AccountKind::Customer } else { AccountKind::Internal };
        let currency = "EUR".parse().expect("a currency");
        AccountView { id, kind, owner_id, currency, status: AccountStatus::Active }
    }

    fn accounts() -> HashMap<Uuid, AccountView> {
        let cash = Instruction::cash_account("EUR");
        let accounts = [
            account(SOURCE, Some(PAYER)),
            account(DESTINATION, Some(PAYEE)),
            account(CLEARING, None),
            account(cash, None),
        ];
        accounts.into_iter().map(|account| (account.id, account)).collect()
    }

    fn with(id: Uuid, change: impl FnOnce(&mut AccountView)) -> HashMap<Uuid, AccountView> {
        let mut accounts = accounts();
        change(accounts.get_mut(&id).expect("one of the accounts"));
        accounts
    }

    fn transfer() -> Instruction {
        Instruction::transfer("key-1".into(), SOURCE, DESTINATION, "12.50".into(), "EUR".into(), Some("rent"))
    }

    fn deposit() -> Instruction {
        Instruction::deposit("key-1".into(), DESTINATION, "12.50".into(), "EUR".into(), None, None)
    }

    fn withdrawal() -> Instruction {
        Instruction::withdrawal("key-1".into(), SOURCE, "12.50".into(), "EUR".into(), None, None)
    }

    fn refusal(instruction: &Instruction) -> (Code, Vec<&'static str>) {
        let refusal = decide_initiate(instruction, &payer(), &accounts()).expect_err("it is refused");
        (refusal.code, refusal.field)
    }

    fn refusal_of_transfer(accounts: &HashMap<Uuid, AccountView>) -> (Code, Vec<&'static str>) {
        let refusal = decide_initiate(&transfer(), &payer(), accounts).expect_err("it is refused");
        (refusal.code, refusal.field)
    }

    #[test]
    fn a_good_transfer_is_accepted_with_the_owners_of_both_accounts() {
        let draft = decide_initiate(&transfer(), &payer(), &accounts()).expect("accepted");
        assert_eq!(draft.amount.to_string(), "12.50 EUR");
        assert_eq!((draft.source_owner_id, draft.destination_owner_id), (Some(PAYER), Some(PAYEE)));
    }

    #[test]
    fn nobody_pays_anonymously() {
        for instruction in [transfer(), deposit(), withdrawal()] {
            for actor in [Actor::ANONYMOUS, Actor::SYSTEM] {
                assert_eq!(admit(&instruction, &actor).map_err(|refusal| refusal.code), Err(Code::Forbidden));
            }
        }
    }

    #[test]
    fn only_an_operator_records_deposits() {
        for role in [Role::Customer, Role::ComplianceOfficer, Role::Admin] {
            let admitted = admit(&deposit(), &person(PAYEE, role));
            assert_eq!(admitted.map_err(|refusal| refusal.code), Err(Code::Forbidden), "{role}");
        }
        assert!(admit(&deposit(), &operator()).is_ok());
        let draft = decide_initiate(&deposit(), &operator(), &accounts()).expect("accepted");
        assert_eq!((draft.source_owner_id, draft.destination_owner_id), (None, Some(PAYEE)));
    }

    #[test]
    fn a_text_that_cannot_be_an_idempotency_key_is_refused() {
        let with_key = |key: &str| admit(&Instruction { idempotency_key: key.into(), ..transfer() }, &payer());
        for key in ["", "a b", "a\n", "schlüssel", &"k".repeat(129), "nul\0"] {
            let refusal = with_key(key).expect_err("no key");
            assert_eq!(refusal.code, Code::IdempotencyKeyRequired, "{key:?}");
            assert_eq!(refusal.field, ["input", "idempotencyKey"]);
        }
        assert_eq!(with_key(&"k".repeat(128)), Ok(PAYER));
        assert_eq!(with_key("0190-aBc_./~!"), Ok(PAYER));
    }

    #[test]
    fn a_currency_nobody_knows_is_refused() {
        for currency in ["", "eur", "ZZZ", "XAU", "E\0R"] {
            let instruction = Instruction { currency: currency.into(), ..transfer() };
            assert_eq!(refusal(&instruction), (Code::CurrencyUnknown, vec!["input", "amount", "currency"]));
        }
    }

    #[test]
    fn an_amount_that_is_not_a_positive_number_in_range_is_refused() {
        for amount in ["", "NaN", "1e3", "0", "0.00", "-0.01", "-12.50", "92233720368547758.08", &"9".repeat(64)] {
            let instruction = Instruction { amount: amount.into(), ..transfer() };
            assert_eq!(refusal(&instruction), (Code::InvalidAmount, vec!["input", "amount", "amount"]), "{amount:?}");
        }
    }

    #[test]
    fn an_amount_with_too_many_decimals_is_refused_and_not_rounded() {
        for amount in ["1.005", "0.001", "-1.000"] {
            let instruction = Instruction { amount: amount.into(), ..transfer() };
            assert_eq!(refusal(&instruction), (Code::AmountPrecision, vec!["input", "amount", "amount"]), "{amount:?}");
        }
    }

    #[test]
    fn the_same_account_twice_is_refused() {
        let instruction = Instruction { destination_account_id: SOURCE, ..transfer() };
        assert_eq!(refusal(&instruction), (Code::SelfTransfer, vec!["input", "destinationAccountId"]));
        let cash = Instruction::cash_account("EUR");
        let instruction = Instruction { destination_account_id: cash, ..deposit() };
        let refusal = decide_initiate(&instruction, &operator(), &accounts()).expect_err("cash to cash");
        assert_eq!((refusal.code, refusal.field), (Code::SelfTransfer, vec!["input", "accountId"]));
    }

    #[test]
    fn a_source_that_is_missing_or_not_the_callers_is_not_found() {
        let not_found = (Code::AccountNotFound, vec!["input", "sourceAccountId"]);
        for source in [Uuid::from_u128(99), CLEARING] {
            assert_eq!(refusal(&Instruction { source_account_id: source, ..transfer() }), not_found);
        }
        assert_eq!(refusal_of_transfer(&with(SOURCE, |source| source.owner_id = Some(PAYEE))), not_found);
        let theirs = Instruction { source_account_id: DESTINATION, ..withdrawal() };
        assert_eq!(refusal(&theirs), (Code::AccountNotFound, vec!["input", "accountId"]));
    }

    #[test]
    fn a_destination_that_is_missing_or_the_banks_own_is_not_found() {
        for destination in [Uuid::from_u128(99), CLEARING] {
            let instruction = Instruction { destination_account_id: destination, ..transfer() };
            assert_eq!(refusal(&instruction), (Code::AccountNotFound, vec!["input", "destinationAccountId"]));
        }
    }

    #[test]
    fn an_operator_uses_any_account_and_other_staff_only_their_own() {
        for (source, destination) in [(SOURCE, CLEARING), (CLEARING, DESTINATION), (SOURCE, DESTINATION)] {
            let instruction =
                Instruction { source_account_id: source, destination_account_id: destination, ..transfer() };
            assert!(decide_initiate(&instruction, &operator(), &accounts()).is_ok());
            for role in [Role::ComplianceOfficer, Role::Admin] {
                let refusal = decide_initiate(&instruction, &person(Uuid::from_u128(78), role), &accounts());
                assert_eq!(refusal.map_err(|refusal| refusal.code), Err(Code::AccountNotFound), "{role}");
            }
        }
    }

    #[test]
    fn a_withdrawal_is_for_the_owner_and_for_operators() {
        for actor in [payer(), operator()] {
            let draft = decide_initiate(&withdrawal(), &actor, &accounts()).expect("accepted");
            assert_eq!((draft.source_owner_id, draft.destination_owner_id), (Some(PAYER), None));
        }
        let refused = decide_initiate(&withdrawal(), &person(PAYEE, Role::Customer), &accounts());
        assert_eq!(refused.map_err(|refusal| refusal.code), Err(Code::AccountNotFound));
    }

    #[test]
    fn cash_in_a_currency_the_bank_does_not_hold_is_refused() {
        let instructions = [
            Instruction::deposit("k".into(), DESTINATION, "1".into(), "USD".into(), None, None),
            Instruction::withdrawal("k".into(), SOURCE, "1".into(), "USD".into(), None, None),
        ];
        for instruction in instructions {
            let refusal = decide_initiate(&instruction, &operator(), &accounts()).expect_err("no cash");
            assert_eq!((refusal.code, refusal.field), (Code::CurrencyUnknown, vec!["input", "amount", "currency"]));
        }
    }

    #[test]
    fn an_account_in_another_currency_is_refused() {
        for id in [SOURCE, DESTINATION] {
            let accounts = with(id, |account| account.currency = "CZK".parse().expect("a currency"));
            let refusal = decide_initiate(&transfer(), &payer(), &accounts).expect_err("a mismatch");
            assert_eq!((refusal.code, refusal.field), (Code::CurrencyMismatch, vec!["input", "amount", "currency"]));
            assert!(refusal.message.contains("CZK"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_frozen_or_closed_account_is_refused_on_either_side() {
        let cases = [(AccountStatus::Frozen, Code::AccountFrozen), (AccountStatus::Closed, Code::AccountClosed)];
        for (status, code) in cases {
            let source = refusal_of_transfer(&with(SOURCE, |account| account.status = status));
            assert_eq!(source, (code, vec!["input", "sourceAccountId"]));
            let destination = refusal_of_transfer(&with(DESTINATION, |account| account.status = status));
            assert_eq!(destination, (code, vec!["input", "destinationAccountId"]));
        }
    }

    #[test]
    fn a_reference_has_140_printable_characters_at_most() {
        let with_reference = |text: &str| Instruction { reference: Some(text.to_owned()), ..transfer() };
        assert!(decide_initiate(&with_reference(&"ž".repeat(140)), &payer(), &accounts()).is_ok());
        assert_eq!(refusal(&with_reference(&"ž".repeat(141))), (Code::ReferenceTooLong, vec!["input", "reference"]));
        for text in ["a\0b", "a\nb", "a\u{7f}b"] {
            assert_eq!(
                refusal(&with_reference(text)),
                (Code::InvalidReference, vec!["input", "reference"]),
                "{text:?}"
            );
        }
    }

    /// Breaks every rule at once and mends them one by one: each time the next rule of the list answers.
    #[test]
    fn the_first_broken_rule_is_the_answer() {
        let czk: Currency = "CZK".parse().expect("a currency");
        let mut accounts = HashMap::new();
        let mut instruction = Instruction {
            currency: "???".into(),
            amount: "x".into(),
            destination_account_id: SOURCE,
            reference: Some("\n".repeat(141)),
            ..transfer()
        };
        let mut expect = |code: Code, mend: &dyn Fn(&mut Instruction, &mut HashMap<Uuid, AccountView>)| {
            let refusal = decide_initiate(&instruction, &payer(), &accounts).expect_err("a rule is broken");
            assert_eq!(refusal.code, code);
            mend(&mut instruction, &mut accounts);
        };
        let put = |accounts: &mut HashMap<Uuid, AccountView>, id, owner, status| {
            accounts.insert(id, AccountView { status, currency: czk, ..account(id, Some(owner)) });
        };
        let (active, frozen) = (AccountStatus::Active, AccountStatus::Frozen);
        expect(Code::CurrencyUnknown, &|instruction, _| instruction.currency = "EUR".into());
        expect(Code::InvalidAmount, &|instruction, _| instruction.amount = "-1.005".into());
        expect(Code::AmountPrecision, &|instruction, _| instruction.amount = "-1".into());
        expect(Code::InvalidAmount, &|instruction, _| instruction.amount = "1".into());
        expect(Code::SelfTransfer, &|instruction, _| instruction.destination_account_id = DESTINATION);
        expect(Code::AccountNotFound, &|_, accounts| put(accounts, SOURCE, PAYER, frozen));
        expect(Code::AccountNotFound, &|_, accounts| put(accounts, DESTINATION, PAYEE, frozen));
        expect(Code::CurrencyMismatch, &|instruction, _| instruction.currency = "CZK".into());
        expect(Code::AccountFrozen, &|_, accounts| put(accounts, SOURCE, PAYER, active));
        expect(Code::AccountFrozen, &|_, accounts| put(accounts, DESTINATION, PAYEE, active));
        expect(Code::ReferenceTooLong, &|instruction, _| instruction.reference = Some("\n".into()));
        expect(Code::InvalidReference, &|instruction, _| instruction.reference = None);
        assert!(decide_initiate(&instruction, &payer(), &accounts).is_ok());
    }
}
