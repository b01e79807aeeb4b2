//! A bank with one module in it.

use std::sync::Arc;

use uuid::Uuid;
use vostro_account::domain::{Account, InternalRole, Product};
use vostro_account::{AccountError, Accounts, Config, MIGRATIONS, OpenAccount};
use vostro_events::account::AccountCreatedV1;
use vostro_events::auth::UserRegisteredV1;
use vostro_events::transaction::{RouteV1, TransactionInitiatedV1, TransactionKind};
use vostro_kernel::{Actor, Clock, Currency, Money, Page, RequestContext, Role, SystemClock, SystemIds};
use vostro_messaging::{BoundHandler, Handler, HandlerError, Incoming, Module};
use vostro_testkit::{Database, deliver, incoming};

pub struct Bank {
    pub database: Database,
    pub accounts: Accounts,
}

pub fn euro(minor: i64) -> Money {
    Money::new(minor, currency("EUR"))
}

pub fn currency(code: &str) -> Currency {
    code.parse().expect("a currency")
}

pub fn person(id: Uuid, roles: &[Role]) -> RequestContext {
    RequestContext::of(Actor::person(id, roles.iter().copied().collect(), None), &SystemIds)
}

pub fn customer(id: Uuid) -> RequestContext {
    person(id, &[Role::Customer])
}

pub fn operator() -> RequestContext {
    person(Uuid::now_v7(), &[Role::Operator])
}

/// The internal account of a role in EUR.
pub fn internal(role: InternalRole) -> Uuid {
    role.account_id(currency("EUR"))
}

/// An accepted transfer, as the transaction module tells it.
pub fn initiated(source: Uuid, destination: Uuid, amount: Money) -> TransactionInitiatedV1 {
    TransactionInitiatedV1 {
        transaction_id: Uuid::now_v7(),
        kind: TransactionKind::Transfer,
        route: RouteV1 {
            source_account_id: source,
            destination_account_id: destination,
            source_owner_id: None,
            destination_owner_id: None,
        },
        amount,
        reference: None,
    }
}

pub fn transfer(source: Uuid, destination: Uuid, minor: i64) -> Incoming {
    incoming(&initiated(source, destination, euro(minor)), 1)
}

/// The refusal's code, or what happened instead.
pub fn code<T: std::fmt::Debug>(outcome: Result<T, AccountError>) -> String {
    match outcome {
        Err(AccountError::Refused(refusal)) => vostro_kernel::RefusalCode::code(refusal.code).to_owned(),
        other => format!("{other:?}"),
    }
}

impl Bank {
    /// A started bank: its internal accounts exist, its outbox is empty.
    pub async fn open() -> Self {
        Self::open_with(Arc::new(SystemClock), Config::default()).await
    }

    /// A bank that has never been started.
    pub async fn closed() -> Self {
        Self::closed_with(Arc::new(SystemClock), Config::default()).await
    }

    async fn closed_with(clock: Arc<dyn Clock>, config: Config) -> Self {
        let database = Database::create("account", &MIGRATIONS).await;
        let accounts = Accounts::new(database.foundation_at(clock), config).expect("the configuration is valid");
        Self { database, accounts }
    }

    /// A started bank with a clock and a configuration of the test's own.
    pub async fn open_with(clock: Arc<dyn Clock>, config: Config) -> Self {
        let bank = Self::closed_with(clock, config).await;
        bank.accounts.start().await.expect("the module starts");
        bank.forget_events().await;
        bank
    }

    pub fn subscription(&self, name: &str) -> BoundHandler {
        let handlers = self.accounts.handlers();
        handlers.into_iter().find(|bound| bound.subscription.name == name).expect("the subscription exists")
    }

    pub fn handler(&self, subscription: &str) -> Arc<dyn Handler> {
        self.subscription(subscription).handler
    }

    /// Delivers a batch of accepted transfers.
    pub async fn post(&self, batch: &[Incoming]) -> Result<(), HandlerError> {
        deliver(self.database.pool(), &self.handler("postings"), batch).await
    }

    pub async fn register(&self, users: &[Uuid]) {
        let events = users.iter().map(|user| incoming(&registered(*user, &[Role::Customer]), 1)).collect::<Vec<_>>();
        deliver(self.database.pool(), &self.handler("registrations"), &events).await.expect("registered");
    }

    /// A registered customer's account with money on it.
    pub async fn account_with(&self, minor: i64) -> Account {
        let user = Uuid::now_v7();
        self.register(&[user]).await;
        let account = self.accounts_of(user).await.remove(0);
        if minor != 0 {
            self.post(&[transfer(internal(InternalRole::Cash), account.id, minor)]).await.expect("posted");
        }
        self.see(account.id).await
    }

    pub async fn accounts_of(&self, user: Uuid) -> Vec<Account> {
        self.accounts.accounts(&customer(user), Default::default(), Page::forward(None, 100)).await.expect("readable")
    }

    /// The account as the bank sees it.
    pub async fn see(&self, id: Uuid) -> Account {
        let account = self.accounts.account(&RequestContext::system(&SystemIds), id).await.expect("readable");
        account.expect("the account exists")
    }

    pub async fn posted(&self, id: Uuid) -> i64 {
        self.see(id).await.balance.posted
    }

    /// Empties the outbox, so that a test sees the events of what it does and no others.
    pub async fn forget_events(&self) {
        self.database.tamper("truncate account.outbox").await;
    }

    /// The ledger proof holds.
    pub async fn prove(&self) {
        let proof = self.accounts.verify_ledger(|_| {}).await.expect("the proof runs");
        assert_eq!(proof.divergence, None);
    }
}

pub fn registered(user: Uuid, roles: &[Role]) -> UserRegisteredV1 {
    UserRegisteredV1 { user_id: user, sealed_contact: "sealed".into(), locale: "en".into(), roles: roles.to_vec() }
}

pub fn asked(product: Product, code: &str, key: &str) -> OpenAccount {
    OpenAccount { product, currency: currency(code), name: None, idempotency_key: key.into() }
}

pub const CREATED: &str = AccountCreatedV1::TYPE;
