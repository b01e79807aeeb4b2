//! A bank small enough for one test: two customers with an account each, the bank's cash, and a ledger played by the test.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::account::{
    AccountCreatedV1, AccountKind, AccountStatus, AccountTerm, AccountUpdatedV2, BalanceChangedV1, BalanceV1,
    PostingAppliedV1, PostingRejectedV1,
};
use vostro_kernel::{Actor, Currency, RequestContext, Role, Roles, SystemIds};
use vostro_messaging::{Handler, Incoming, Module as _};
use vostro_testkit::{Database, deliver, incoming};
use vostro_transaction::domain::{Instruction, Transaction};
use vostro_transaction::{
    CashMovement, Config, Initiated, TransactionError, TransactionErrorCode, Transactions, TransferCreate, WaitFor,
};

pub struct Bank {
    pub database: Database,
    pub transactions: Transactions,
    pub payer: Person,
    pub payee: Person,
}

/// A customer with one account in euros.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    pub id: Uuid,
    pub account: Uuid,
}

impl Person {
    pub fn context(&self) -> RequestContext {
        person(self.id, &[Role::Customer])
    }
}

pub fn person(id: Uuid, roles: &[Role]) -> RequestContext {
    RequestContext::of(Actor::person(id, Roles::from_iter(roles.iter().copied()), None), &SystemIds)
}

pub fn somebody(roles: &[Role]) -> RequestContext {
    person(Uuid::now_v7(), roles)
}

pub fn operator() -> RequestContext {
    somebody(&[Role::Operator])
}

pub fn euro() -> Currency {
    "EUR".parse().expect("a currency")
}

impl Bank {
    pub async fn open() -> Self {
        Self::open_with(Config::default()).await
    }

    pub async fn open_with(config: Config) -> Self {
        let database = Database::create("transaction", &vostro_transaction::MIGRATIONS).await;
        let transactions = Transactions::new(database.foundation(), config).expect("a valid configuration");
        let person = || Person { id: Uuid::now_v7(), account: Uuid::now_v7() };
        let bank = Self { database, transactions, payer: person(), payee: person() };
        let (payer, payee) = (bank.payer, bank.payee);
        let events = [
            incoming(&created(payer.account, Some(payer.id)), 1),
            incoming(&created(payee.account, Some(payee.id)), 1),
            incoming(&created(Instruction::cash_account("EUR"), None), 1),
        ];
        bank.hear_of_accounts(&events).await;
        bank
    }

    /// Another instance of the module on the same database.
    pub fn another_instance(&self) -> Transactions {
        Transactions::new(self.database.foundation(), Config::default()).expect("a valid configuration")
    }

    pub async fn new_account(&self, owner: Uuid) -> Uuid {
        let account = Uuid::now_v7();
        self.hear_of_accounts(&[incoming(&created(account, Some(owner)), 1)]).await;
        account
    }

    pub async fn hear_of_accounts(&self, events: &[Incoming]) {
        deliver(self.database.pool(), &self.handler("accounts"), events).await.expect("handled");
    }

    pub async fn hear_of_postings(&self, events: &[Incoming]) {
        deliver(self.database.pool(), &self.handler("postings"), events).await.expect("handled");
    }

    pub fn handler(&self, subscription: &str) -> Arc<dyn Handler> {
        handler_of(&self.transactions, subscription)
    }

    pub fn transfer(&self, key: &str, amount: &str) -> TransferCreate {
        TransferCreate {
            idempotency_key: key.to_owned(),
            source_account_id: self.payer.account,
            destination_account_id: self.payee.account,
            amount: amount.to_owned(),
            currency: "EUR".to_owned(),
            reference: None,
            wait_for: WaitFor::Accepted,
        }
    }

    pub fn cash(&self, key: &str, amount: &str) -> CashMovement {
        CashMovement {
            idempotency_key: key.to_owned(),
            account_id: self.payer.account,
            amount: amount.to_owned(),
            currency: "EUR".to_owned(),
            reference: None,
            channel: None,
            wait_for: WaitFor::Accepted,
        }
    }

    /// The payer pays the payee.
    pub async fn pay(&self, key: &str, amount: &str) -> Transaction {
        let initiated = self.transactions.transfer_create(&self.payer.context(), self.transfer(key, amount)).await;
        Transaction::clone(&initiated.expect("accepted").transaction)
    }

    pub async fn read(&self, id: Uuid) -> Transaction {
        let found = self.transactions.transaction(&somebody(&[Role::Admin]), id).await;
        found.expect("readable").expect("it exists")
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.database.pool()).await.expect("a count")
    }

    /// `(command, code)` of every refusal in the outbox, in order.
    pub async fn refusals(&self) -> Vec<(String, String)> {
        let events = self.database.published("transaction.command-refused.v1").await;
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        events.iter().map(|event| (text(&event["command"]), text(&event["code"]))).collect()
    }
}

pub fn handler_of(transactions: &Transactions, subscription: &str) -> Arc<dyn Handler> {
    let bound = transactions.handlers().into_iter().find(|bound| bound.subscription.name == subscription);
    bound.expect("a subscription of the module").handler
}

pub fn code(result: Result<Initiated, TransactionError>) -> TransactionErrorCode {
    let error = result.expect_err("a refusal");
    error.refusal().unwrap_or_else(|| panic!("a refusal, not {error:?}")).code
}

pub fn created(account_id: Uuid, owner_id: Option<Uuid>) -> AccountCreatedV1 {
    let kind = if owner_id.is_some() { AccountKind::Customer } else { AccountKind::Internal };
    AccountCreatedV1 {
        account_id,
        number: format!("NO-{account_id}"),
        kind,
        product: "CURRENT".into(),
        owner_id,
        currency: euro(),
        status: AccountStatus::Active,
        name: "An account".into(),
    }
}

pub fn updated(account_id: Uuid, owner_id: Option<Uuid>, status: AccountStatus) -> AccountUpdatedV2 {
    AccountUpdatedV2 {
        account_id,
        changed: vec![AccountTerm::Status],
        owner_id,
        currency: euro(),
        status,
        overdraft_limit_minor: 0,
        reason: None,
    }
}

pub fn balance(account_id: Uuid, available_minor: i64) -> BalanceChangedV1 {
    let after = BalanceV1 {
        posted_minor: available_minor,
        pending_in_minor: 0,
        pending_out_minor: 0,
        locked_minor: 0,
        available_minor,
    };
    let transaction_id = Uuid::now_v7();
    BalanceChangedV1 { account_id, owner_id: None, currency: euro(), transaction_id, delta_minor: 1, after }
}

pub fn applied(transaction_id: Uuid) -> Incoming {
    let booked_at = booked_at();
    let currency = euro();
    let booking_date = booked_at.date_naive();
    incoming(&PostingAppliedV1 { transaction_id, currency, entries: vec![], booked_at, booking_date }, 1)
}

pub fn booked_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).expect("an instant")
}

pub fn rejected(transaction_id: Uuid) -> Incoming {
    incoming(&PostingRejectedV1 { transaction_id, code: "ACC_INSUFFICIENT_FUNDS".into() }, 1)
}
