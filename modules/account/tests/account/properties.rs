//! Whatever happens in whatever order, the ledger holds: random histories against a model that is too simple to be wrong.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use uuid::Uuid;
use vostro_account::AccountError;
use vostro_account::domain::{
    Balance, Decision, InternalRole, LedgerAccount, LedgerState, PostingRefusal, PostingRequest, decide,
};
use vostro_events::account::{AccountKind, AccountStatus, BalanceChangedV1, PostingAppliedV1, PostingRejectedV1};
use vostro_kernel::{Money, Refusal, RefusalCode};
use vostro_messaging::Incoming;
use vostro_testkit::incoming;

use crate::fixture::{Bank, currency, euro, initiated, internal, operator};

/// How many accounts a history is about; the last one is the bank's cash.
const ACCOUNTS: usize = 5;
const CASH: usize = ACCOUNTS - 1;
/// An account that does not exist.
const UNKNOWN: usize = ACCOUNTS;

#[derive(Debug, Clone)]
enum Step {
    /// Transfers in one batch: from, to, minor units, and in which currency.
    Post(Vec<(usize, usize, i64, bool)>),
    /// A batch of transfers that were posted before, counted back from the latest.
    Again(Vec<usize>),
    Freeze(usize),
    Unfreeze(usize),
    Close(usize),
    Overdraft(usize, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let amount = prop_oneof![8 => 1..400_i64, 1 => -5..1_i64, 1 => Just(i64::MAX)];
    // Cash pays more often than the others, so that there is money to move.
    let payer = prop_oneof![3 => 0..=UNKNOWN, 1 => Just(CASH)];
    let transfer = (payer, 0..=UNKNOWN, amount, prop::bool::weighted(0.95));
    let customer = 0..CASH;
    prop_oneof![
        10 => prop::collection::vec(transfer, 1..12).prop_map(Step::Post),
        3 => prop::collection::vec(0..20_usize, 1..6).prop_map(Step::Again),
        1 => customer.clone().prop_map(Step::Freeze),
        1 => customer.clone().prop_map(Step::Unfreeze),
        1 => customer.clone().prop_map(Step::Close),
        1 => (customer, -5..500_i64).prop_map(|(account, limit)| Step::Overdraft(account, limit)),
    ]
}

/// What should be true, kept the naive way: unbounded numbers and one rule after the other.
#[derive(Debug, Clone)]
struct Model {
    accounts: Vec<Account>,
    /// Transaction to the code it was refused with, or `None`.
    decided: HashMap<Uuid, Option<&'static str>>,
}

#[derive(Debug, Clone)]
struct Account {
    status: AccountStatus,
    limit: i128,
    entries: Vec<i128>,
}

impl Account {
    fn posted(&self) -> i128 {
        self.entries.iter().sum()
    }

    fn fits(&self, amount: i128) -> bool {
        let posted = self.posted() + amount;
        i64::try_from(posted).is_ok() && i64::try_from(posted + self.limit).is_ok()
    }
}

impl Model {
    fn new() -> Self {
        let account = Account { status: AccountStatus::Active, limit: 0, entries: Vec::new() };
        Self { accounts: vec![account; ACCOUNTS], decided: HashMap::new() }
    }

    fn refusal(&self, from: usize, to: usize, amount: i128, euro: bool) -> Option<&'static str> {
        let Some(source) = self.accounts.get(from) else { return Some("ACC_NOT_FOUND") };
        let Some(destination) = self.accounts.get(to) else { return Some("ACC_DESTINATION_NOT_FOUND") };
        let rules = [
            (from == to, "ACC_SAME_ACCOUNT"),
            (source.status == AccountStatus::Closed, "ACC_CLOSED"),
            (source.status == AccountStatus::Frozen, "ACC_FROZEN"),
            (destination.status == AccountStatus::Closed, "ACC_DESTINATION_CLOSED"),
            (destination.status == AccountStatus::Frozen, "ACC_DESTINATION_FROZEN"),
            (!euro, "ACC_CURRENCY_MISMATCH"),
            (amount <= 0, "ACC_AMOUNT_NOT_POSITIVE"),
            (from != CASH && source.posted() + source.limit < amount, "ACC_INSUFFICIENT_FUNDS"),
            (!source.fits(-amount) || !destination.fits(amount), "ACC_BALANCE_OVERFLOW"),
        ];
        rules.into_iter().find(|(broken, _)| *broken).map(|(_, code)| code)
    }

    fn post(&mut self, transaction: Uuid, from: usize, to: usize, amount: i64, euro: bool) -> Option<&'static str> {
        let refusal = self.refusal(from, to, i128::from(amount), euro);
        if refusal.is_none() {
            self.accounts[from].entries.push(-i128::from(amount));
            self.accounts[to].entries.push(i128::from(amount));
        }
        self.decided.insert(transaction, refusal);
        refusal
    }

    fn freeze(&mut self, account: usize) -> Option<&'static str> {
        self.step(account, AccountStatus::Active, AccountStatus::Frozen)
    }

    fn unfreeze(&mut self, account: usize) -> Option<&'static str> {
        self.step(account, AccountStatus::Frozen, AccountStatus::Active)
    }

    fn close(&mut self, account: usize) -> Option<&'static str> {
        if self.accounts[account].status == AccountStatus::Active && self.accounts[account].posted() != 0 {
            return Some("ACC_CLOSE_NON_ZERO");
        }
        let refusal = self.step(account, AccountStatus::Active, AccountStatus::Closed);
        if refusal.is_none() {
            self.accounts[account].limit = 0;
        }
        refusal
    }

    fn step(&mut self, account: usize, from: AccountStatus, to: AccountStatus) -> Option<&'static str> {
        let account = &mut self.accounts[account];
        if account.status == from {
            account.status = to;
            return None;
        }
        Some(match account.status {
            AccountStatus::Active => "ACC_NOT_FROZEN",
            AccountStatus::Frozen => "ACC_FROZEN",
            AccountStatus::Closed => "ACC_CLOSED",
        })
    }

    fn overdraft(&mut self, account: usize, limit: i64) -> Option<&'static str> {
        let account = &mut self.accounts[account];
        let posted = account.posted();
        let refusal = match account.status {
            AccountStatus::Frozen => Some("ACC_FROZEN"),
            AccountStatus::Closed => Some("ACC_CLOSED"),
            AccountStatus::Active if limit < 0 || i64::try_from(posted + i128::from(limit)).is_err() => {
                Some("ACC_OVERDRAFT_OUT_OF_RANGE")
            }
            AccountStatus::Active if posted + i128::from(limit) < 0 => Some("ACC_OVERDRAFT_EXCEEDED"),
            AccountStatus::Active => None,
        };
        if refusal.is_none() {
            account.limit = i128::from(limit);
        }
        refusal
    }
}

fn amount(minor: i64, in_euro: bool) -> Money {
    if in_euro { euro(minor) } else { Money::new(minor, currency("CZK")) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The pure function against the model, and what must hold after every transfer.
    #[test]
    fn decisions_follow_the_model_and_keep_the_ledger_sound(steps in prop::collection::vec(step(), 1..40)) {
        let ids: Vec<Uuid> = (1..=ACCOUNTS as u128 + 1).map(Uuid::from_u128).collect();
        let mut model = Model::new();
        let mut standing: HashMap<Uuid, LedgerAccount> = (0..ACCOUNTS).map(|index| {
            let kind = if index == CASH { AccountKind::Internal } else { AccountKind::Customer };
            let account = LedgerAccount {
                id: ids[index], owner_id: None, kind, currency: currency("EUR"), status: AccountStatus::Active,
                balance: Balance::default(),
            };
            (ids[index], account)
        }).collect();
        for step in steps {
            match step {
                Step::Post(transfers) => {
                    let mut state = LedgerState::new(standing.values().copied());
                    for (from, to, minor, in_euro) in transfers {
                        let transaction = Uuid::now_v7();
                        let request = PostingRequest {
                            transaction_id: transaction, source: ids[from], destination: ids[to],
                            amount: amount(minor, in_euro),
                        };
                        let expected = model.post(transaction, from, to, minor, in_euro);
                        match decide(&mut state, &request) {
                            Decision::Applied { debit, credit } => {
                                prop_assert_eq!(expected, None);
                                prop_assert_eq!(debit.amount.checked_add(credit.amount), Some(0));
                                prop_assert_eq!((debit.account_id, credit.account_id), (ids[from], ids[to]));
                            }
                            Decision::Rejected(refusal) => prop_assert_eq!(expected, Some(PostingRefusal::code(refusal))),
                        }
                    }
                    standing.extend(state.changed().map(|account| (account.id, *account)));
                }
                // Duplicates are the store's business and the life of an account the account's.
                Step::Again(_) => {}
                Step::Freeze(account) => { model.freeze(account); }
                Step::Unfreeze(account) => { model.unfreeze(account); }
                Step::Close(account) => { model.close(account); }
                Step::Overdraft(account, limit) => { model.overdraft(account, limit); }
            }
            for (index, expected) in model.accounts.iter().enumerate() {
                let account = standing.get_mut(&ids[index]).expect("an account");
                account.status = expected.status;
                account.balance.overdraft_limit = i64::try_from(expected.limit).expect("in range");
                prop_assert_eq!(i128::from(account.balance.posted), expected.posted());
                prop_assert_eq!(account.balance.sequence, i64::try_from(expected.entries.len()).expect("in range"));
                prop_assert!(index == CASH || account.balance.available() >= 0);
            }
            let total: i128 = standing.values().map(|account| i128::from(account.balance.posted)).sum();
            prop_assert_eq!(total, 0);
        }
    }
}

/// A random history on a real database: fresh customers, the shared cash account, redeliveries included.
async fn play(bank: &Bank, steps: Vec<Step>) {
    let users = [(); CASH].map(|()| Uuid::now_v7());
    bank.register(&users).await;
    let mut ids = Vec::new();
    for user in users {
        ids.push(bank.accounts_of(user).await.remove(0).id);
    }
    ids.extend([internal(InternalRole::Cash), Uuid::now_v7()]);
    let mut model = Model::new();
    // The cash account is shared by all histories: only what this one adds to it is the model's business.
    let before = bank.see(ids[CASH]).await.balance;
    bank.forget_events().await;
    let mut history: Vec<Incoming> = Vec::new();
    for step in steps {
        let (outcome, expected) = match step {
            Step::Post(transfers) => {
                let mut batch = Vec::new();
                for (from, to, minor, in_euro) in transfers {
                    // The largest amounts would fill the shared cash account.
                    let minor = minor.min(1_000_000);
                    let event = initiated(ids[from], ids[to], amount(minor, in_euro));
                    model.post(event.transaction_id, from, to, minor, in_euro);
                    batch.push(incoming(&event, 1));
                }
                bank.post(&batch).await.expect("decided");
                history.extend(batch);
                continue;
            }
            Step::Again(places) => {
                let again = places.into_iter().filter_map(|place| history.iter().rev().nth(place).cloned());
                bank.post(&again.collect::<Vec<_>>()).await.expect("known");
                continue;
            }
            Step::Freeze(account) => {
                (bank.accounts.freeze(&operator(), ids[account], "test").await, model.freeze(account))
            }
            Step::Unfreeze(account) => {
                (bank.accounts.unfreeze(&operator(), ids[account], "test").await, model.unfreeze(account))
            }
            Step::Close(account) => (bank.accounts.close(&operator(), ids[account]).await, model.close(account)),
            Step::Overdraft(account, limit) => (
                bank.accounts.overdraft_arrange(&operator(), ids[account], euro(limit)).await,
                model.overdraft(account, limit),
            ),
        };
        let refused = match outcome {
            Ok(_) => None,
            Err(AccountError::Refused(Refusal { code, .. })) => Some(code.code()),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(refused, expected);
    }
    for (index, expected) in model.accounts.iter().enumerate() {
        let account = bank.see(ids[index]).await;
        let (posted, sequence) = if index == CASH { (before.posted, before.sequence) } else { (0, 0) };
        assert_eq!(i128::from(account.balance.posted - posted), expected.posted());
        assert_eq!(account.balance.sequence - sequence, i64::try_from(expected.entries.len()).expect("in range"));
        assert_eq!((account.status, i128::from(account.balance.overdraft_limit)), (expected.status, expected.limit));
    }
    told_exactly_what_happened(bank, &model, &ids, before.sequence).await;
}

/// One outcome per transaction, and per account a gap-free sequence of balances.
async fn told_exactly_what_happened(bank: &Bank, model: &Model, ids: &[Uuid], cash_before: i64) {
    let mut outcomes = HashMap::new();
    let mut sequences: HashMap<Uuid, Vec<i64>> = HashMap::new();
    for (envelope, data) in bank.database.outbox_events().await {
        let (kind, aggregate) = (envelope.event_type.as_str(), envelope.aggregate_id);
        if kind == PostingAppliedV1::TYPE {
            assert_eq!(outcomes.insert(aggregate, None), None);
        } else if kind == PostingRejectedV1::TYPE {
            assert_eq!(outcomes.insert(aggregate, data["code"].as_str().map(str::to_owned)), None);
        } else if kind == BalanceChangedV1::TYPE {
            sequences.entry(aggregate).or_default().push(envelope.sequence);
        }
    }
    let expected = model.decided.iter().map(|(id, refusal)| (*id, refusal.map(str::to_owned)));
    assert_eq!(outcomes, expected.collect());
    for (index, account) in model.accounts.iter().enumerate().filter(|(_, account)| !account.entries.is_empty()) {
        let first = if index == CASH { cash_before + 1 } else { 1 };
        let numbers = (first..).take(account.entries.len()).collect::<Vec<_>>();
        assert_eq!(sequences.remove(&ids[index]), Some(numbers));
    }
    assert!(sequences.is_empty());
}

#[test]
fn histories_on_a_database_follow_the_model_and_end_in_a_proof() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bank = runtime.block_on(Bank::open());
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, max_shrink_iters: 100, ..Default::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..30), |steps| {
        runtime.block_on(play(&bank, steps));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(bank.prove());
}
