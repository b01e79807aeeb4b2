//! The sub-schema in front of the real module, each test with a database of its own.

use std::sync::Arc;

use async_graphql::{Request, Response, Value, Variables};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value as Json, json};
use uuid::Uuid;
use vostro_account::domain::InternalRole;
use vostro_account::{Accounts, Config, MIGRATIONS};
use vostro_events::auth::UserRegisteredV1;
use vostro_events::transaction::{RouteV1, TransactionInitiatedV1, TransactionKind};
use vostro_kernel::ids::IdKind;
use vostro_kernel::{Actor, Money, RequestContext, Role, Roles, SystemIds};
use vostro_messaging::{Incoming, Module as _};
use vostro_testkit::{Database, deliver, incoming};

use super::{Mutation, Query, Subscription, builder};
use crate::scope::RequestScope;
use crate::stitch::subgraph::{self, Subgraph};

pub(super) type Person = (Uuid, Role);

/// A bank with one customer, whose account stands at 100.00.
pub(super) struct Bank {
    pub(super) database: Database,
    pub(super) accounts: Accounts,
    pub(super) schema: Subgraph<Query, Mutation, Subscription>,
    pub(super) me: Person,
    pub(super) account: Uuid,
}

impl Bank {
    pub(super) async fn open() -> Self {
        let database = Database::create("account", &MIGRATIONS).await;
        let accounts = Accounts::new(database.foundation(), Config::default()).expect("a valid configuration");
        accounts.start().await.expect("starts");
        let schema = subgraph::finish(builder().data(accounts.clone()));
        let me = (Uuid::now_v7(), Role::Customer);
        let mut bank = Self { database, accounts, schema, me, account: Uuid::nil() };
        bank.account = bank.register(me.0).await;
        bank.pay(cash(), bank.account, 10_000).await;
        bank
    }

    /// Registers somebody and returns the account they get.
    async fn register(&self, user_id: Uuid) -> Uuid {
        let event = UserRegisteredV1 {
            user_id,
            sealed_contact: "sealed".into(),
            locale: "en".into(),
            roles: vec![Role::Customer],
        };
        self.deliver("registrations", incoming(&event, 1)).await;
        let mine = self.answer((user_id, Role::Customer), "{ accounts { nodes { id } } }", json!({})).await;
        let id = mine["accounts"]["nodes"][0]["id"].as_str().expect("an account").to_owned();
        IdKind::Account.decode(&id).expect("an account id")
    }

    pub(super) async fn pay(&self, source_account_id: Uuid, destination_account_id: Uuid, minor: i64) -> Uuid {
        let transaction_id = Uuid::now_v7();
        let event = TransactionInitiatedV1 {
            transaction_id,
            kind: TransactionKind::Transfer,
            route: RouteV1 {
                source_account_id,
                destination_account_id,
                source_owner_id: None,
                destination_owner_id: None,
            },
            amount: Money::new(minor, "EUR".parse().expect("a currency")),
            reference: None,
        };
        self.deliver("postings", incoming(&event, 1)).await;
        transaction_id
    }

    async fn deliver(&self, subscription: &str, event: Incoming) {
        let handlers = self.accounts.handlers();
        let bound = handlers.into_iter().find(|bound| bound.subscription.name == subscription).expect("bound");
        deliver(self.database.pool(), &bound.handler, &[event]).await.expect("handled");
    }

    pub(super) fn request(&self, person: Option<Person>, document: &str, variables: Json) -> Request {
        Request::new(document).variables(Variables::from_json(variables)).data(Arc::new(scope(person)))
    }

    pub(super) async fn ask(&self, person: Option<Person>, document: &str, variables: Json) -> Response {
        self.schema.execute(self.request(person, document, variables)).await
    }

    pub(super) async fn answer(&self, person: Person, document: &str, variables: Json) -> Json {
        let response = self.ask(Some(person), document, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")
    }

    fn my_account(&self) -> Json {
        json!({"id": acc(self.account)})
    }
}

fn scope(person: Option<Person>) -> RequestScope {
    let actor = person.map_or(Actor::ANONYMOUS, |(id, role)| Actor::person(id, Roles::from_iter([role]), None));
    RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds))
}

/// One request that asks the module at several steps, as the engine does for an operation over several modules.
struct Steps<'a> {
    bank: &'a Bank,
    scope: Arc<RequestScope>,
}

impl<'a> Steps<'a> {
    fn of_a_query(bank: &'a Bank) -> Self {
        let scope = scope(Some(bank.me));
        scope.remember();
        Self { bank, scope: Arc::new(scope) }
    }

    fn of_a_mutation(bank: &'a Bank) -> Self {
        Self { bank, scope: Arc::new(scope(Some(bank.me))) }
    }

    async fn ask(&self, document: &str, variables: Json) -> Json {
        let request = Request::new(document).variables(Variables::from_json(variables));
        let response = self.bank.schema.execute(request.data(Arc::clone(&self.scope))).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")
    }

    /// The account's name, as a step shows it that completes what another module named.
    async fn name(&self) -> Json {
        const ENTITY: &str =
            "query ($keys: [_Any!]!) { _entities(representations: $keys) { ... on Account { name } } }";
        let key = json!({"__typename": "Account", "id": acc(self.bank.account)});
        self.ask(ENTITY, json!({"keys": [key]})).await["_entities"][0]["name"].take()
    }
}

pub(super) fn cash() -> Uuid {
    InternalRole::Cash.account_id("EUR".parse().expect("a currency"))
}

pub(super) fn acc(id: Uuid) -> String {
    IdKind::Account.encode(id)
}

pub(super) fn operator() -> Person {
    (Uuid::now_v7(), Role::Operator)
}

pub(super) fn stranger() -> Person {
    (Uuid::now_v7(), Role::Customer)
}

fn euro(amount: &str) -> Json {
    json!({"amount": amount, "currency": "EUR"})
}

pub(super) fn code(response: &Response) -> Option<Value> {
    let [error] = response.errors.as_slice() else { panic!("one error, not {:?}", response.errors) };
    error.extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned()
}

const READ: &str = "query ($id: ID!) { account(id: $id) { id } }";

#[tokio::test]
async fn an_account_shows_its_terms_its_balance_and_its_owner() {
    const WHOLE: &str = "query ($id: ID!) { account(id: $id) {
        id number name product kind currency status owner { id } version overdraftLimit { amount currency }
        balance { posted { amount currency } pendingIn { amount } pendingOut { amount } locked { amount }
                  available { amount } sequence asOf }
        createdAt
    } }";
    let bank = Bank::open().await;
    let answer = bank.answer(bank.me, WHOLE, bank.my_account()).await;
    let account = &answer["account"];
    let rest = ["name", "product", "kind", "currency", "status", "version"].map(|field| &account[field]);
    let expected = ["Current account", "CURRENT", "CUSTOMER", "EUR", "ACTIVE"].map(|text| json!(text));
    assert_eq!(rest[..5], expected.each_ref());
    assert_eq!((rest[5], &account["owner"]["id"]), (&json!(1), &json!(IdKind::User.encode(bank.me.0))));
    assert_eq!(account["overdraftLimit"], euro("0.00"));
    let balance = &account["balance"];
    assert_eq!((&balance["posted"], &balance["sequence"]), (&euro("100.00"), &json!(1)));
    assert_eq!((&balance["available"]["amount"], &balance["locked"]["amount"]), (&json!("100.00"), &json!("0.00")));
    assert!(account["createdAt"].as_str().is_some_and(|text| text.ends_with('Z')));
}

#[tokio::test]
async fn somebody_elses_account_is_absent_and_staff_sees_it() {
    let bank = Bank::open().await;
    assert_eq!(bank.answer(stranger(), READ, bank.my_account()).await["account"], json!(null));
    assert_eq!(bank.answer(operator(), READ, bank.my_account()).await["account"], bank.my_account());
    let list = "query ($owner: ID) { accounts(filter: {ownerId: $owner}) { nodes { id } } }";
    let owner = json!({"owner": IdKind::User.encode(bank.me.0)});
    assert_eq!(bank.answer(stranger(), list, owner.clone()).await["accounts"]["nodes"], json!([]));
    assert_eq!(bank.answer(operator(), list, owner).await["accounts"]["nodes"], json!([bank.my_account()]));
}

#[tokio::test]
async fn accounts_are_paged_in_the_order_they_were_opened() {
    const OPEN: &str = "mutation ($input: AccountOpenInput!) {
        accountOpen(input: $input) { account { id product name } userErrors { code field } }
    }";
    const LIST: &str = "query ($after: String) {
        accounts(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } }
    }";
    let bank = Bank::open().await;
    let mut ids = vec![bank.my_account()];
    for key in ["a", "b"] {
        let input =
            json!({"input": {"idempotencyKey": key, "product": "SAVINGS", "currency": "CZK", "name": "Rainy days"}});
        let opened = bank.answer(bank.me, OPEN, input.clone()).await["accountOpen"].clone();
        assert_eq!((&opened["account"]["product"], &opened["userErrors"]), (&json!("SAVINGS"), &json!([])));
        let again = bank.answer(bank.me, OPEN, input).await;
        assert_eq!(again["accountOpen"]["account"]["id"], opened["account"]["id"]);
        ids.push(json!({"id": opened["account"]["id"]}));
    }
    let first = bank.answer(bank.me, LIST, json!({})).await["accounts"].clone();
    assert_eq!((&first["nodes"], &first["pageInfo"]["hasNextPage"]), (&json!(ids[..2]), &json!(true)));
    let second = bank.answer(bank.me, LIST, json!({"after": first["pageInfo"]["endCursor"]})).await["accounts"].clone();
    assert_eq!((&second["nodes"], &second["pageInfo"]["hasNextPage"]), (&json!(ids[2..]), &json!(false)));

    let refused = json!({"input": {"idempotencyKey": "c", "product": "INTERNAL", "currency": "EUR"}});
    let payload = bank.answer(bank.me, OPEN, refused).await["accountOpen"].clone();
    let expected = json!({"account": null, "userErrors": [
        {"code": "ACC_PRODUCT_NOT_OFFERED", "field": ["input", "product"]}
    ]});
    assert_eq!(payload, expected);
}

#[tokio::test]
async fn entries_are_paged_newest_first_with_their_side() {
    const ENTRIES: &str = "query ($id: ID!, $after: String) { account(id: $id) {
        entries(first: 2, after: $after) {
            nodes { sequence transactionId direction amount { amount } balanceAfter { amount } }
            pageInfo { hasNextPage endCursor }
        }
    } }";
    let bank = Bank::open().await;
    let fees = InternalRole::Fees.account_id("EUR".parse().expect("a currency"));
    let transactions = [bank.pay(bank.account, fees, 125).await, bank.pay(bank.account, fees, 1).await];
    let first = bank.answer(bank.me, ENTRIES, bank.my_account()).await["account"]["entries"].clone();
    let entry = |sequence, transaction, amount, after| {
        json!({"sequence": sequence, "transactionId": IdKind::Transaction.encode(transaction), "direction": "DEBIT",
               "amount": {"amount": amount}, "balanceAfter": {"amount": after}})
    };
    let expected = json!([entry(3, transactions[1], "0.01", "98.74"), entry(2, transactions[0], "1.25", "98.75")]);
    assert_eq!((&first["nodes"], &first["pageInfo"]["hasNextPage"]), (&expected, &json!(true)));
    let next = json!({"id": acc(bank.account), "after": first["pageInfo"]["endCursor"]});
    let second = bank.answer(bank.me, ENTRIES, next).await["account"]["entries"].clone();
    assert_eq!(second["nodes"][0]["direction"], json!("CREDIT"));
    assert_eq!(second["pageInfo"]["hasNextPage"], json!(false));
}

#[tokio::test]
async fn commands_for_staff_are_forbidden_to_others_and_the_attempt_is_on_record() {
    let bank = Bank::open().await;
    let id = acc(bank.account);
    let commands = [
        ("accountFreeze", json!({"accountId": id, "reason": "why"})),
        ("accountUnfreeze", json!({"accountId": id, "reason": "why"})),
        ("overdraftArrange", json!({"accountId": id, "limit": euro("1")})),
    ];
    for (command, input) in commands {
        let kind = format!("{}{}Input", &command[..1].to_uppercase(), &command[1..]);
        let document = format!("mutation ($input: {kind}!) {{ {command}(input: $input) {{ userErrors {{ code }} }} }}");
        let variables = json!({"input": input});
        let response = bank.ask(Some(bank.me), &document, variables.clone()).await;
        assert_eq!(code(&response), Some("FORBIDDEN".into()), "{command}");
        let recorded = bank.database.published("account.command-refused.v1").await.pop().expect("on record");
        assert_eq!((&recorded["command"], &recorded["code"]), (&json!(command), &json!("ACC_FORBIDDEN")));
        let response = bank.ask(None, &document, variables).await;
        assert_eq!(code(&response), Some("UNAUTHENTICATED".into()), "{command}");
    }
}

#[tokio::test]
async fn staff_freezes_and_lifts_and_grants_an_overdraft() {
    let bank = Bank::open().await;
    let id = acc(bank.account);
    let freeze = "mutation ($id: ID!, $reason: String!) { accountFreeze(input: {accountId: $id, reason: $reason}) {
        account { status version } userErrors { code message field } } }";
    let frozen = bank.answer(operator(), freeze, json!({"id": id, "reason": "court order"})).await;
    assert_eq!(frozen["accountFreeze"], json!({"account": {"status": "FROZEN", "version": 2}, "userErrors": []}));
    let again = bank.answer(operator(), freeze, json!({"id": id, "reason": "court order"})).await;
    assert_eq!(again["accountFreeze"]["userErrors"][0]["code"], json!("ACC_FROZEN"));
    let without = bank.answer(operator(), freeze, json!({"id": id, "reason": ""})).await;
    assert_eq!(without["accountFreeze"]["userErrors"][0]["field"], json!(["input", "reason"]));
    let unknown = bank.answer(operator(), freeze, json!({"id": acc(Uuid::now_v7()), "reason": "why"})).await;
    assert_eq!(unknown["accountFreeze"]["userErrors"][0]["code"], json!("ACC_NOT_FOUND"));

    let lift = "mutation ($id: ID!) { accountUnfreeze(input: {accountId: $id, reason: \"withdrawn\"}) {
        account { status } } }";
    let lifted = bank.answer(operator(), lift, json!({"id": id})).await;
    assert_eq!(lifted["accountUnfreeze"]["account"]["status"], json!("ACTIVE"));

    let arrange =
        "mutation ($id: ID!, $limit: MoneyInput!) { overdraftArrange(input: {accountId: $id, limit: $limit}) {
        account { overdraftLimit { amount } balance { available { amount } } } userErrors { code field } } }";
    let arranged = bank.answer(operator(), arrange, json!({"id": id, "limit": euro("50.5")})).await;
    let expected = json!({"overdraftLimit": {"amount": "50.50"}, "balance": {"available": {"amount": "150.50"}}});
    assert_eq!(arranged["overdraftArrange"]["account"], expected);
    let negative = bank.answer(operator(), arrange, json!({"id": id, "limit": euro("-1")})).await;
    assert_eq!(negative["overdraftArrange"]["userErrors"][0]["code"], json!("ACC_OVERDRAFT_OUT_OF_RANGE"));
    let precise = bank.ask(Some(operator()), arrange, json!({"id": id, "limit": euro("1.005")})).await;
    assert_eq!(code(&precise), Some("BAD_USER_INPUT".into()));
}

#[tokio::test]
async fn an_account_is_closed_by_its_owner_when_it_is_empty() {
    const CLOSE: &str = "mutation ($id: ID!) { accountClose(input: {accountId: $id}) {
        account { status } userErrors { code } } }";
    let bank = Bank::open().await;
    let close = async |person| bank.answer(person, CLOSE, bank.my_account()).await["accountClose"].clone();
    assert_eq!(close(bank.me).await["userErrors"][0]["code"], json!("ACC_CLOSE_NON_ZERO"));
    assert_eq!(close(stranger()).await["userErrors"][0]["code"], json!("ACC_NOT_FOUND"));
    let officer = (Uuid::now_v7(), Role::ComplianceOfficer);
    let response = bank.ask(Some(officer), CLOSE, bank.my_account()).await;
    assert_eq!(code(&response), Some("FORBIDDEN".into()));
    bank.pay(bank.account, cash(), 10_000).await;
    assert_eq!(close(bank.me).await, json!({"account": {"status": "CLOSED"}, "userErrors": []}));
}

#[tokio::test]
async fn the_banks_own_books_are_for_staff() {
    const BOOKS: &str = "{ internalAccounts { number owner { id } balance { posted { amount } } }
        trialBalance { currency debit { amount } credit { amount } balanced } }";
    let bank = Bank::open().await;
    let answer = bank.answer(operator(), BOOKS, json!({})).await;
    let cash = answer["internalAccounts"].as_array().expect("a list").iter().find(|it| it["number"] == "CASH-EUR");
    assert_eq!(cash, Some(&json!({"number": "CASH-EUR", "owner": null, "balance": {"posted": {"amount": "-100.00"}}})));
    let euro =
        json!({"currency": "EUR", "debit": {"amount": "100.00"}, "credit": {"amount": "100.00"}, "balanced": true});
    assert!(answer["trialBalance"].as_array().is_some_and(|lines| lines.contains(&euro)), "{answer}");
    for field in ["internalAccounts { id }", "trialBalance { balanced }"] {
        let response = bank.ask(Some(bank.me), &format!("{{ {field} }}"), json!({})).await;
        assert_eq!(code(&response), Some("FORBIDDEN".into()));
    }
}

#[tokio::test]
async fn entities_are_found_by_key_and_those_of_others_are_null() {
    const ENTITIES: &str = "query ($keys: [_Any!]!) { _entities(representations: $keys) { ... on Account { id } } }";
    let bank = Bank::open().await;
    let theirs = bank.register(Uuid::now_v7()).await;
    let key = |id| json!({"__typename": "Account", "id": acc(id)});
    let variables = json!({"keys": [key(theirs), key(bank.account), key(Uuid::now_v7())]});
    let answer = bank.answer(bank.me, ENTITIES, variables).await;
    assert_eq!(answer["_entities"], json!([null, bank.my_account(), null]));
}

#[tokio::test]
async fn a_subscription_begins_with_the_balance_and_goes_on_live() {
    const CHANGES: &str =
        "subscription ($id: ID!, $after: Int) { balanceChanged(accountId: $id, afterSequence: $after) {
        accountId sequence transactionId occurredAt kind cursor balance { available { amount } sequence } } }";
    const RESUME: &str = "subscription ($id: ID!, $after: String, $also: Int) {
        balanceChanged(accountId: $id, after: $after, afterSequence: $also) { sequence kind } }";
    let bank = Bank::open().await;
    let listen = |person, variables| bank.schema.execute_stream(bank.request(Some(person), CHANGES, variables)).boxed();
    let mut all = listen(bank.me, bank.my_account());
    let snapshot = all.next().await.expect("a snapshot").data.into_json().expect("JSON")["balanceChanged"].clone();
    assert_eq!((&snapshot["sequence"], &snapshot["accountId"]), (&json!(1), &json!(acc(bank.account))));
    assert_eq!(snapshot["kind"], "SNAPSHOT");
    let mut new = listen(bank.me, json!({"id": acc(bank.account), "after": 1}));
    let (transaction, change) = tokio::join!(bank.pay(bank.account, cash(), 1), new.next());
    for change in [change, all.next().await] {
        let change = change.expect("a change").data.into_json().expect("JSON")["balanceChanged"].clone();
        assert_eq!(change["transactionId"], json!(IdKind::Transaction.encode(transaction)));
        assert_eq!(change["balance"], json!({"available": {"amount": "99.99"}, "sequence": 2}));
        assert_eq!(change["kind"], "CHANGE");
    }

    let resume = |variables| bank.schema.execute_stream(bank.request(Some(bank.me), RESUME, variables)).boxed();
    let after = json!({"id": acc(bank.account), "after": snapshot["cursor"]});
    let missed = resume(after.clone()).next().await.expect("a change").data.into_json().expect("JSON");
    assert_eq!(missed["balanceChanged"], json!({"sequence": 2, "kind": "CHANGE"}));
    let mangled = json!({"id": acc(bank.account), "after": "1"});
    let mut both = after.clone();
    both["also"] = json!(1);
    for wrong in [mangled, both] {
        let refused = resume(wrong).next().await.expect("an answer");
        assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()));
    }
    let refused = listen(stranger(), bank.my_account()).next().await.expect("an answer");
    assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()));
}

const UPDATES: &str = "subscription ($id: ID!, $after: String) { accountUpdated(accountId: $id, after: $after) {
    account { id status version overdraftLimit { amount } balance { available { amount } } }
    sequence occurredAt kind cursor } }";
const FREEZE: &str = "mutation ($id: ID!) { accountFreeze(input: {accountId: $id, reason: \"why\"}) {
    account { version } } }";

async fn next_update(updates: &mut BoxStream<'static, Response>) -> Json {
    let update = updates.next().await.expect("an update");
    assert!(update.errors.is_empty(), "{:?}", update.errors);
    update.data.into_json().expect("JSON")["accountUpdated"].take()
}

fn told(update: &Json) -> (&Json, &Json, &Json) {
    (&update["sequence"], &update["kind"], &update["account"]["status"])
}

#[tokio::test]
async fn a_subscription_begins_with_the_account_and_tells_its_owner_once_what_staff_decides() {
    let bank = Bank::open().await;
    let watch = |variables| bank.schema.execute_stream(bank.request(Some(bank.me), UPDATES, variables)).boxed();
    let mut updates = watch(bank.my_account());
    let snapshot = next_update(&mut updates).await;
    assert_eq!(told(&snapshot), (&json!(1), &json!("SNAPSHOT"), &json!("ACTIVE")));
    assert_eq!(snapshot["account"]["id"], json!(acc(bank.account)));

    bank.answer(operator(), FREEZE, bank.my_account()).await;
    let lift = "mutation ($id: ID!) { accountUnfreeze(input: {accountId: $id, reason: \"why\"}) { account { id } } }";
    bank.answer(operator(), lift, bank.my_account()).await;
    let arrange = "mutation ($id: ID!, $limit: MoneyInput!) {
        overdraftArrange(input: {accountId: $id, limit: $limit}) { account { id } } }";
    bank.answer(operator(), arrange, json!({"id": acc(bank.account), "limit": euro("50")})).await;
    let mut last = snapshot;
    for (sequence, status, limit, available) in
        [(2, "FROZEN", "0.00", "100.00"), (3, "ACTIVE", "0.00", "100.00"), (4, "ACTIVE", "50.00", "150.00")]
    {
        let update = next_update(&mut updates).await;
        assert_eq!(told(&update), (&json!(sequence), &json!("CHANGE"), &json!(status)));
        let account = &update["account"];
        assert_eq!(account["version"], update["sequence"]);
        assert_eq!(account["overdraftLimit"]["amount"], json!(limit));
        assert_eq!(account["balance"]["available"]["amount"], json!(available));
        assert!(last["occurredAt"].as_str() < update["occurredAt"].as_str(), "{last} before {update}");
        last = update;
    }
    // What is booked is other news.
    bank.pay(bank.account, cash(), 1).await;
    assert!(updates.next().now_or_never().is_none());
}

#[tokio::test]
async fn whoever_comes_back_is_told_how_the_account_is_if_it_is_different_from_then() {
    let bank = Bank::open().await;
    let watch = |variables| bank.schema.execute_stream(bank.request(Some(bank.me), UPDATES, variables)).boxed();
    let behind = |update: &Json| json!({"id": acc(bank.account), "after": update["cursor"]});
    let first = next_update(&mut watch(bank.my_account())).await;
    let mut idle = watch(behind(&first));
    assert!(idle.next().now_or_never().is_none(), "no snapshot");
    bank.answer(operator(), FREEZE, bank.my_account()).await;
    let frozen = next_update(&mut watch(behind(&first))).await;
    assert_eq!(told(&frozen), (&json!(2), &json!("CHANGE"), &json!("FROZEN")));
    bank.database.tamper("update account.account set version = 4 where kind = 'CUSTOMER'").await;
    let passed_over = next_update(&mut watch(behind(&frozen))).await;
    assert_eq!(told(&passed_over), (&json!(4), &json!("LAGGED"), &json!("FROZEN")));
}

#[tokio::test]
async fn nobody_subscribes_to_a_foreign_account_or_behind_a_cursor_of_something_else() {
    const BALANCE: &str = "subscription ($id: ID!) { balanceChanged(accountId: $id) { cursor } }";
    let bank = Bank::open().await;
    let theirs = bank.register(Uuid::now_v7()).await;
    let ask = |person, document, variables| {
        let mut answers = bank.schema.execute_stream(bank.request(person, document, variables)).boxed();
        async move { answers.next().await.expect("an answer") }
    };
    let of_balance = ask(Some(bank.me), BALANCE, bank.my_account()).await.data.into_json().expect("JSON");
    let of_theirs = ask(Some(operator()), UPDATES, json!({"id": acc(theirs)})).await.data.into_json().expect("JSON");
    let cursors = [
        "4",
        of_balance["balanceChanged"]["cursor"].as_str().expect("a cursor"),
        of_theirs["accountUpdated"]["cursor"].as_str().expect("a cursor"),
    ];
    let wrong = cursors.map(|cursor| json!({"id": acc(bank.account), "after": cursor}));
    for variables in wrong.into_iter().chain([json!({"id": acc(theirs)}), json!({"id": acc(Uuid::now_v7())})]) {
        let refused = ask(Some(bank.me), UPDATES, variables.clone()).await;
        assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()), "{variables}");
    }
    let foreign = ask(Some(bank.me), UPDATES, json!({"id": acc(theirs)})).await;
    let absent = ask(Some(bank.me), UPDATES, json!({"id": acc(Uuid::now_v7())})).await;
    assert_eq!(foreign.errors[0].message, absent.errors[0].message, "it is not said which of them exists");
    let refused = ask(None, UPDATES, bank.my_account()).await;
    assert_eq!(code(&refused), Some("UNAUTHENTICATED".into()));
}

#[tokio::test]
async fn nobody_gets_anything_without_logging_in() {
    let bank = Bank::open().await;
    for (document, variables) in [(READ, bank.my_account()), ("{ accounts { nodes { id } } }", json!({}))] {
        let response = bank.ask(None, document, variables).await;
        assert_eq!(code(&response), Some("UNAUTHENTICATED".into()), "{document}");
    }
    let response = bank.ask(Some(bank.me), READ, json!({"id": "usr_00000000-0000-0000-0000-000000000000"})).await;
    assert_eq!(code(&response), Some("BAD_USER_INPUT".into()));
}

#[tokio::test]
async fn a_lost_database_is_a_fault_that_may_pass() {
    let bank = Bank::open().await;
    bank.database.pool().close().await;
    let response = bank.ask(Some(bank.me), READ, bank.my_account()).await;
    assert_eq!(code(&response), Some("MODULE_UNAVAILABLE".into()));
}

#[test]
fn the_subgraph_owns_accounts_and_knows_users_by_key_only() {
    let sdl = subgraph::sdl(&subgraph::finish(builder()));
    for line in [
        "type Account @key(fields: \"id\")",
        "type User @key(fields: \"id\", resolvable: false)",
        "type AccountConnection @shareable",
        "type EntryConnection @shareable",
        "accountUpdated(accountId: ID!, after: String): AccountUpdate! @authenticated",
        "balanceChanged(accountId: ID!, after: String, afterSequence: Int @deprecated(",
        "trialBalance: [TrialBalanceLine!] @authenticated",
    ] {
        assert!(sdl.contains(line), "{line}\n{sdl}");
    }
}

#[tokio::test]
async fn an_account_is_not_older_than_what_the_client_knows() {
    const AT_LEAST: &str = "query ($id: ID!, $version: Int, $sequence: Int) {
        account(id: $id, minVersion: $version, minSequence: $sequence) { version balance { sequence } }
    }";
    let bank = Bank::open().await;
    let id = acc(bank.account);
    let known = json!({"id": id, "version": 1, "sequence": 1});
    let expected = json!({"account": {"version": 1, "balance": {"sequence": 1}}});
    assert_eq!(bank.answer(bank.me, AT_LEAST, known).await, expected);

    let waited = json!({"id": id, "sequence": 2});
    let later = async { bank.pay(cash(), bank.account, 5).await };
    let (answer, _) = futures::join!(bank.answer(bank.me, AT_LEAST, waited), later);
    assert_eq!(answer["account"]["balance"]["sequence"], json!(2));

    let response = bank.ask(Some(bank.me), AT_LEAST, json!({"id": id, "version": 9})).await;
    assert_eq!(
        (code(&response), response.data.into_json().expect("JSON")),
        (Some("STALE_READ".into()), json!({"account": null}))
    );
    let hidden = bank.answer(stranger(), AT_LEAST, json!({"id": id, "version": 9})).await;
    assert_eq!(hidden, json!({"account": null}), "it is not said that there is something to wait for");
}

#[tokio::test]
async fn the_steps_of_a_query_show_an_account_as_the_first_of_them_read_it() {
    let bank = Bank::open().await;
    for first in ["{ accounts { nodes { name } } }", "query ($id: ID!) { account(id: $id) { name } }"] {
        bank.database.tamper("update account.account set name = 'before'").await;
        let (query, mutation) = (Steps::of_a_query(&bank), Steps::of_a_mutation(&bank));
        for steps in [&query, &mutation] {
            steps.ask(first, bank.my_account()).await;
        }
        bank.database.tamper("update account.account set name = 'after'").await;
        assert_eq!((query.name().await, mutation.name().await), (json!("before"), json!("after")), "{first}");
    }
}

#[tokio::test]
async fn no_step_of_a_query_shows_what_was_before_a_version_that_it_waited_for() {
    const AT_LEAST: &str = "query ($id: ID!) { account(id: $id, minVersion: 2) { name } }";
    let bank = Bank::open().await;
    let query = Steps::of_a_query(&bank);
    let before = query.name().await;
    bank.database.tamper("update account.account set name = 'after', version = 2 where kind = 'CUSTOMER'").await;
    assert_eq!(query.name().await, before);
    assert_eq!(query.ask(AT_LEAST, bank.my_account()).await["account"]["name"], json!("after"));
    assert_eq!(query.name().await, json!("after"));
}
