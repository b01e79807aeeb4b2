//! Three tiny modules with made-up data: people, accounts and payments.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::{Context, Enum, ID, InputObject, Interface, Object, Result, SimpleObject, Subscription, Union};
use futures::{Stream, StreamExt};
use vostro_kernel::Role;
use vostro_schema::access::{Access, anyone, only, signed_in};
use vostro_schema::connection::{Page, PageArguments, PageRequest};
use vostro_schema::faults;
use vostro_schema::guards::{self, Authenticated};
use vostro_schema::loader::Batch;
use vostro_schema::scalars::{IdempotencyKey, Money, MoneyInput};
use vostro_schema::stitch::subgraph;

/// What the modules did, for tests to look at.
#[derive(Default)]
pub struct Calls {
    pub pay: AtomicUsize,
    pub account_entities: AtomicUsize,
    /// Accounts that were asked of where the module keeps them, absent ones too.
    pub account_reads: AtomicUsize,
    pub open_streams: AtomicUsize,
    /// Lets a payment with the note `wait` go on.
    pub proceed: tokio::sync::Notify,
}

pub fn euro(minor: i64) -> Money {
    vostro_kernel::Money::new(minor, "EUR".parse().expect("a currency")).into()
}

pub mod people {
    use super::*;

    #[derive(SimpleObject, Clone)]
    pub struct User {
        pub id: ID,
        pub name: String,
        #[graphql(directive = Access::apply(only(&[Role::Admin]).cost(0)))]
        pub email: Option<String>,
    }

    fn user(id: &str) -> Option<User> {
        let name = match id {
            "usr_1" => "Ada",
            "usr_2" => "Grace",
            _ => return None,
        };
        Some(User { id: id.into(), name: name.into(), email: Some(format!("{name}@example.org")) })
    }

    pub struct Query;

    #[Object(name = "Query")]
    impl Query {
        #[graphql(entity)]
        async fn user_by_key(&self, id: ID) -> Option<User> {
            user(&id)
        }

        /// Who is logged in.
        #[graphql(directive = Access::apply(signed_in()))]
        async fn me(&self) -> Result<Option<User>> {
            Ok(user("usr_1"))
        }

        /// The time of the server, for everybody.
        #[graphql(directive = Access::apply(anyone()))]
        async fn hello(&self, name: Option<String>) -> String {
            format!("hello {}", name.unwrap_or_else(|| "you".into()))
        }

        /// Fails with text no client may see.
        #[graphql(directive = Access::apply(anyone()))]
        async fn broken(&self) -> Result<Option<String>> {
            Err(faults::internal("password of the database is hunter2"))
        }

        /// Panics.
        #[graphql(directive = Access::apply(anyone()))]
        async fn panics(&self) -> Option<String> {
            Some("seven".parse::<u8>().unwrap().to_string())
        }

        /// Never answers.
        #[graphql(directive = Access::apply(anyone()))]
        async fn hangs(&self) -> Option<String> {
            futures::future::pending().await
        }
    }

    pub fn schema() -> subgraph::Subgraph<Query, async_graphql::EmptyMutation, async_graphql::EmptySubscription> {
        subgraph::finish(subgraph::begin(Query, async_graphql::EmptyMutation, async_graphql::EmptySubscription))
    }
}

pub mod accounts {
    use super::*;

    #[derive(SimpleObject, Clone)]
    #[graphql(unresolvable = "id")]
    pub struct User {
        pub id: ID,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Enum)]
    pub enum AccountStatus {
        Active,
        Frozen,
    }

    #[derive(Clone)]
    pub struct Account {
        pub id: String,
    }

    #[derive(SimpleObject)]
    pub struct Entry {
        pub id: ID,
        pub amount: Money,
    }

    #[Object]
    impl Account {
        async fn id(&self) -> ID {
            self.id.clone().into()
        }
        async fn number(&self) -> String {
            format!("00{}", self.id)
        }
        async fn status(&self) -> AccountStatus {
            if self.id == "acc_2" { AccountStatus::Frozen } else { AccountStatus::Active }
        }
        async fn balance(&self) -> Money {
            euro(1050)
        }
        async fn owner(&self) -> Option<User> {
            let id = if self.id == "acc_1" { "usr_1" } else { "usr_2" };
            Some(User { id: id.into() })
        }
        /// Nullable and always broken for the second account.
        async fn limit(&self) -> Result<Option<Money>> {
            if self.id == "acc_2" { Err(faults::module_unavailable()) } else { Ok(Some(euro(0))) }
        }
        /// Not nullable and broken for the third account.
        async fn iban(&self) -> Result<String> {
            if self.id == "acc_3" { Err(faults::module_unavailable()) } else { Ok("XX".into()) }
        }
        #[graphql(directive = Access::apply(anyone().page()))]
        async fn entries(
            &self,
            first: Option<i32>,
            after: Option<String>,
            last: Option<i32>,
            before: Option<String>,
        ) -> Result<Page<Entry>> {
            let page = PageRequest::<i64>::new("entries", PageArguments { first, after, last, before })?;
            let (rows, all) = (page.rows(), (1..=5).collect::<Vec<i64>>());
            let from = rows.from_or(0, 6);
            let beyond = |n: &i64| if rows.is_backward() { *n < from } else { *n > from };
            let outwards = rows.in_order(all).into_iter().filter(beyond).take(usize::try_from(rows.limit)?);
            let rows = rows.in_order(outwards.collect());
            Ok(page.connection(rows, |n| *n, |n| Entry { id: format!("e{n}").into(), amount: euro(n) }))
        }
    }

    pub fn account(id: &str) -> Option<Account> {
        matches!(id, "acc_1" | "acc_2" | "acc_3").then(|| Account { id: id.into() })
    }

    /// As modules do: together with whatever else is asked for at the moment.
    async fn read(ctx: &Context<'_>, calls: &Calls, id: String) -> Result<Option<Account>> {
        let ask = async |ids: Vec<String>| {
            calls.account_reads.fetch_add(ids.len(), Ordering::SeqCst);
            Ok(ids.into_iter().filter_map(|id| Some((id.clone(), account(&id)?))).collect())
        };
        Batch::<String, Account>::of(guards::scope(ctx)?).load(id, ask).await
    }

    /// Adds a field to an entity of another module from one of its values.
    pub struct Payment {
        id: ID,
        amount: Option<Money>,
    }

    #[Object]
    impl Payment {
        async fn id(&self) -> &ID {
            &self.id
        }
        #[graphql(external)]
        async fn amount(&self) -> Result<&Money> {
            self.amount.as_ref().ok_or_else(|| faults::internal("the amount was not sent along"))
        }
        #[graphql(requires = "amount { amount }")]
        async fn fee(&self) -> Option<String> {
            self.amount.as_ref().map(|amount| format!("fee of {}", amount.amount))
        }
    }

    pub struct Query {
        pub calls: Arc<Calls>,
    }

    #[derive(InputObject)]
    struct AmountRepresentation {
        amount: String,
    }

    #[Object(name = "Query")]
    impl Query {
        #[graphql(entity)]
        async fn account_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Account>> {
            self.calls.account_entities.fetch_add(1, Ordering::SeqCst);
            read(ctx, &self.calls, id.0).await
        }
        #[graphql(entity)]
        async fn payment_by_key(
            &self,
            #[graphql(key)] id: ID,
            amount: Option<AmountRepresentation>,
        ) -> Result<Payment> {
            let amount = amount
                .map(|amount| vostro_kernel::Money::parse(&amount.amount, "EUR".parse().expect("a currency")))
                .transpose()
                .map_err(faults::internal)?;
            Ok(Payment { id, amount: amount.map(Money::from) })
        }
        #[graphql(directive = Access::apply(anyone()))]
        async fn account(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Account>> {
            read(ctx, &self.calls, id.0).await
        }
        #[graphql(directive = Access::apply(anyone().about(10)))]
        async fn accounts(&self, ctx: &Context<'_>, status: Option<AccountStatus>) -> Result<Vec<Account>> {
            let frozen = status == Some(AccountStatus::Frozen);
            let ids: &[&str] = if frozen { &["acc_2"] } else { &["acc_1", "acc_2"] };
            let rows: Vec<Account> = ids.iter().filter_map(|id| account(id)).collect();
            let batch = Batch::<String, Account>::of(guards::scope(ctx)?);
            batch.learn(rows.iter().map(|row| (row.id.clone(), row.clone())));
            Ok(rows)
        }
        #[graphql(directive = Access::apply(anyone()))]
        async fn all_with_broken(&self) -> Vec<Option<Account>> {
            vec![account("acc_1"), account("acc_3")]
        }
    }

    #[derive(InputObject)]
    pub struct PayInput {
        pub idempotency_key: IdempotencyKey,
        pub amount: MoneyInput,
        pub note: Option<String>,
        #[graphql(default = 1)]
        pub copies: i32,
    }

    #[derive(SimpleObject)]
    pub struct PayPayload {
        pub account: Option<Account>,
        pub number: i32,
    }

    pub struct Mutation {
        pub calls: Arc<Calls>,
    }

    #[Object(name = "Mutation")]
    impl Mutation {
        /// Counts how often it runs.
        #[graphql(directive = Access::apply(anyone().cost(10)))]
        async fn pay(&self, ctx: &Context<'_>, input: PayInput) -> Result<PayPayload> {
            guards::command(ctx)?;
            let _ = (input.idempotency_key, input.amount.to_money_or_fault()?);
            if input.note.as_deref() == Some("wait") {
                self.calls.proceed.notified().await;
            }
            let before = self.calls.pay.fetch_add(1, Ordering::SeqCst);
            let account = read(ctx, &self.calls, "acc_1".to_owned()).await?;
            Ok(PayPayload { account, number: i32::try_from(before)? + input.copies })
        }
        #[graphql(directive = Access::apply(only(&[Role::Operator])))]
        async fn freeze(&self) -> Option<Account> {
            account("acc_1")
        }
    }

    #[derive(SimpleObject)]
    pub struct BalanceChange {
        pub account: Option<Account>,
        pub sequence: i32,
    }

    pub struct Changes {
        pub calls: Arc<Calls>,
    }

    /// Tells when a stream ends or is dropped.
    struct Open(Arc<Calls>);

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.open_streams.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[Subscription(name = "Subscription")]
    impl Changes {
        /// Three changes, then the end; or none and no end when `endless` is set.
        #[graphql(directive = Access::apply(anyone()))]
        async fn balance_changed(
            &self,
            account_id: ID,
            endless: Option<bool>,
        ) -> Result<impl Stream<Item = BalanceChange> + use<>> {
            let account = account(&account_id).ok_or_else(|| faults::bad_user_input("no such account"))?;
            self.calls.open_streams.fetch_add(1, Ordering::SeqCst);
            let open = Open(self.calls.clone());
            let changes = futures::stream::iter(1..=3)
                .map(move |sequence| BalanceChange { account: Some(account.clone()), sequence });
            let rest = if endless == Some(true) {
                futures::stream::pending().left_stream()
            } else {
                futures::stream::empty().right_stream()
            };
            Ok(changes.chain(rest).map(move |change| {
                let _ = &open;
                change
            }))
        }

        /// Only for those who are logged in.
        #[graphql(guard = "Authenticated", directive = Access::apply(signed_in()))]
        async fn private(&self) -> impl Stream<Item = i32> + use<> {
            futures::stream::iter([1])
        }
    }

    pub fn schema(calls: Arc<Calls>) -> subgraph::Subgraph<Query, Mutation, Changes> {
        subgraph::finish(subgraph::begin(
            Query { calls: calls.clone() },
            Mutation { calls: calls.clone() },
            Changes { calls },
        ))
    }
}

pub mod payments {
    use super::*;

    #[derive(SimpleObject, Clone)]
    #[graphql(unresolvable = "id")]
    pub struct Account {
        pub id: ID,
    }

    #[derive(SimpleObject, Clone)]
    pub struct Payment {
        pub id: ID,
        pub amount: Money,
        pub source: Option<Account>,
        pub destination: Option<Account>,
    }

    #[derive(SimpleObject, Clone)]
    pub struct Deposit {
        pub id: ID,
        pub branch: String,
        pub account: Option<Account>,
    }

    #[derive(SimpleObject, Clone)]
    pub struct Withdrawal {
        pub id: ID,
        pub machine: String,
        pub account: Option<Account>,
    }

    #[derive(Interface, Clone)]
    #[graphql(field(name = "id", ty = "&ID"), field(name = "account", ty = "&Option<Account>"))]
    pub enum CashMovement {
        Deposit(Deposit),
        Withdrawal(Withdrawal),
    }

    #[derive(Union, Clone)]
    pub enum Found {
        Payment(Payment),
        Deposit(Deposit),
    }

    fn account(id: &str) -> Option<Account> {
        Some(Account { id: id.into() })
    }

    pub fn payment(n: i32) -> Payment {
        // The destination of every third payment is an account the accounts module does not show.
        let destination = match n {
            7 => "acc_3",
            n if n % 3 == 0 => "acc_hidden",
            _ => "acc_2",
        };
        Payment {
            id: format!("txn_{n}").into(),
            amount: euro(i64::from(n)),
            source: account("acc_1"),
            destination: account(destination),
        }
    }

    pub struct Query;

    #[Object(name = "Query")]
    impl Query {
        #[graphql(entity)]
        async fn payment_by_key(&self, id: ID) -> Option<Payment> {
            id.strip_prefix("txn_").and_then(|n| n.parse().ok()).map(payment)
        }
        #[graphql(directive = Access::apply(anyone().about(5)))]
        async fn payments(&self, first: Option<i32>) -> Vec<Payment> {
            (1..=first.unwrap_or(2)).map(payment).collect()
        }
        #[graphql(directive = Access::apply(anyone()))]
        async fn cash_movements(&self) -> Vec<CashMovement> {
            vec![
                Deposit { id: "dep_1".into(), branch: "Brno".into(), account: account("acc_1") }.into(),
                Withdrawal { id: "wdr_1".into(), machine: "ATM 7".into(), account: account("acc_2") }.into(),
            ]
        }
        #[graphql(directive = Access::apply(anyone()))]
        async fn search(&self) -> Vec<Found> {
            vec![
                payment(1).into(),
                Deposit { id: "dep_1".into(), branch: "Brno".into(), account: account("acc_1") }.into(),
            ]
        }
    }

    #[derive(SimpleObject)]
    pub struct PaymentUpdate {
        pub payment: Option<Payment>,
        pub sequence: i32,
    }

    pub struct Updates;

    #[Subscription(name = "Subscription")]
    impl Updates {
        #[graphql(directive = Access::apply(anyone()))]
        async fn payment_updated(&self) -> impl Stream<Item = PaymentUpdate> + use<> {
            futures::stream::iter(1..=2).map(|n| PaymentUpdate { payment: Some(payment(n)), sequence: n })
        }
    }

    pub fn schema() -> subgraph::Subgraph<Query, async_graphql::EmptyMutation, Updates> {
        subgraph::finish(subgraph::begin(Query, async_graphql::EmptyMutation, Updates))
    }
}
