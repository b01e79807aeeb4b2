//! The sub-schema in front of the real module, each test with a database of its own.

use std::sync::Arc;

use async_graphql::{Request, Response, Value, Variables};
use futures::StreamExt as _;
use serde_json::{Value as Json, json};
use uuid::Uuid;
use vostro_kernel::ids::IdKind;
use vostro_kernel::{Actor, RequestContext, Role, Roles, SystemIds};
use vostro_testkit::Database;
use vostro_transaction::{Config, MIGRATIONS, Transactions};

use super::{Mutation, Query, Subscription, builder};
use crate::scope::RequestScope;
use crate::stitch::subgraph::{self, Subgraph};

const TRANSFER: &str = "mutation ($input: TransferCreateInput!) {
    transferCreate(input: $input) {
        transaction { id kind status amount { amount currency } source { id } destination { id } reference sequence }
        replayed
        userErrors { code message field }
    }
}";

struct Bank {
    database: Database,
    schema: Subgraph<Query, Mutation, Subscription>,
    payer: Uuid,
    source: Uuid,
    destination: Uuid,
}

impl Bank {
    async fn open() -> Self {
        let database = Database::create("transaction", &MIGRATIONS).await;
        let transactions = Transactions::new(database.foundation(), Config::default()).expect("a valid configuration");
        let schema = subgraph::finish(builder().data(transactions));
        let (payer, source, destination) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let cash = vostro_transaction::domain::Instruction::cash_account("EUR");
        for (account, owner) in [(source, Some(payer)), (destination, Some(Uuid::now_v7())), (cash, None)] {
            let kind = if owner.is_some() { "CUSTOMER" } else { "INTERNAL" };
            let owner = owner.map_or("null".to_owned(), |owner| format!("'{owner}'"));
            let insert = "insert into transaction.account_view (id, number, kind, owner_id, currency, status)";
            let row = format!("values ('{account}', 'NO-{account}', '{kind}', {owner}, 'EUR', 'ACTIVE')");
            database.tamper(&format!("{insert} {row}")).await;
        }
        Self { database, schema, payer, source, destination }
    }

    fn request(&self, person: Option<(Uuid, Role)>, document: &str, variables: Json) -> Request {
        let actor = person.map_or(Actor::ANONYMOUS, |(id, role)| Actor::person(id, Roles::from_iter([role]), None));
        let scope = RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds));
        Request::new(document).variables(Variables::from_json(variables)).data(Arc::new(scope))
    }

    async fn ask(&self, person: Option<(Uuid, Role)>, document: &str, variables: Json) -> Response {
        self.schema.execute(self.request(person, document, variables)).await
    }

    async fn answer(&self, person: (Uuid, Role), document: &str, variables: Json) -> Json {
        let response = self.ask(Some(person), document, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")
    }

    fn me(&self) -> (Uuid, Role) {
        (self.payer, Role::Customer)
    }

    fn transfer(&self, key: &str, amount: &str) -> Json {
        json!({"input": {
            "idempotencyKey": key,
            "sourceAccountId": IdKind::Account.encode(self.source),
            "destinationAccountId": IdKind::Account.encode(self.destination),
            "amount": {"amount": amount, "currency": "EUR"},
            "reference": "rent",
        }})
    }

    /// A transfer's id.
    async fn pay(&self, key: &str) -> Json {
        self.answer(self.me(), TRANSFER, self.transfer(key, "1")).await["transferCreate"]["transaction"]["id"].clone()
    }
}

fn operator() -> (Uuid, Role) {
    (Uuid::now_v7(), Role::Operator)
}

fn code(response: &Response) -> Option<Value> {
    let [error] = response.errors.as_slice() else { panic!("one error, not {:?}", response.errors) };
    error.extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned()
}

#[tokio::test]
async fn a_transfer_is_answered_with_the_transaction_and_repeated_with_the_same() {
    let bank = Bank::open().await;
    let first = bank.answer(bank.me(), TRANSFER, bank.transfer("k", "12.5")).await;
    let payload = &first["transferCreate"];
    let transaction = &payload["transaction"];
    assert_eq!((&payload["replayed"], &payload["userErrors"]), (&json!(false), &json!([])));
    assert_eq!(transaction["amount"], json!({"amount": "12.50", "currency": "EUR"}));
    assert_eq!(transaction["source"], json!({"id": IdKind::Account.encode(bank.source)}));
    assert_eq!(transaction["destination"], json!({"id": IdKind::Account.encode(bank.destination)}));
    let rest = ["kind", "status", "reference", "sequence"].map(|field| &transaction[field]);
    assert_eq!(rest, [&json!("TRANSFER"), &json!("INITIATED"), &json!("rent"), &json!(1)]);

    let again = bank.answer(bank.me(), TRANSFER, bank.transfer("k", "12.50")).await;
    assert_eq!(again["transferCreate"]["replayed"], json!(true));
    assert_eq!(again["transferCreate"]["transaction"], *transaction);
}

#[tokio::test]
async fn a_refusal_is_data_with_the_field_to_blame() {
    let bank = Bank::open().await;
    let answer = bank.answer(bank.me(), TRANSFER, bank.transfer("k", "-1")).await;
    let payload = &answer["transferCreate"];
    assert_eq!((&payload["transaction"], &payload["replayed"]), (&json!(null), &json!(false)));
    assert_eq!(payload["userErrors"][0]["code"], json!("TXN_INVALID_AMOUNT"));
    assert_eq!(payload["userErrors"][0]["field"], json!(["input", "amount", "amount"]));

    bank.pay("used").await;
    let answer = bank.answer(bank.me(), TRANSFER, bank.transfer("used", "2")).await;
    assert_eq!(answer["transferCreate"]["userErrors"][0]["code"], json!("IDEMPOTENCY_KEY_REUSED"));
}

#[tokio::test]
async fn what_is_no_amount_key_or_id_at_all_is_bad_user_input() {
    let bank = Bank::open().await;
    let broken = |change: fn(&mut Json)| {
        let mut variables = bank.transfer("k", "1");
        change(&mut variables["input"]);
        variables
    };
    let inputs = [
        broken(|input| input["amount"]["amount"] = json!("NaN")),
        broken(|input| input["amount"]["amount"] = json!(12.5)),
        broken(|input| input["amount"]["currency"] = json!("euro")),
        broken(|input| input["idempotencyKey"] = json!("")),
        broken(|input| input["sourceAccountId"] = json!("txn_00000000-0000-0000-0000-000000000000")),
    ];
    for input in inputs {
        let response = bank.ask(Some(bank.me()), TRANSFER, input.clone()).await;
        assert_eq!(code(&response), Some("BAD_USER_INPUT".into()), "{input}");
    }
}

#[tokio::test]
async fn a_deposit_by_a_customer_is_forbidden_and_on_record() {
    const DEPOSIT: &str = "mutation ($input: DepositRecordInput!) {
        depositRecord(input: $input) { transaction { kind channel } userErrors { code } }
    }";
    let bank = Bank::open().await;
    let input = json!({"input": {
        "idempotencyKey": "k", "accountId": IdKind::Account.encode(bank.source), "channel": "BRANCH",
        "amount": {"amount": "100", "currency": "EUR"},
    }});
    let response = bank.ask(Some(bank.me()), DEPOSIT, input.clone()).await;
    assert_eq!(code(&response), Some("FORBIDDEN".into()));
    let refused = bank.database.published("transaction.command-refused.v1").await;
    assert_eq!((refused.len(), &refused[0]["code"]), (1, &json!("TXN_FORBIDDEN")));

    let answer = bank.answer(operator(), DEPOSIT, input).await;
    let expected = json!({"transaction": {"kind": "DEPOSIT", "channel": "BRANCH"}, "userErrors": []});
    assert_eq!(answer["depositRecord"], expected);
}

#[tokio::test]
async fn a_withdrawal_is_paid_out_of_ones_own_account() {
    const WITHDRAWAL: &str = "mutation ($input: WithdrawalInitiateInput!) {
        withdrawalInitiate(input: $input) { transaction { kind source { id } } userErrors { code field } }
    }";
    let bank = Bank::open().await;
    let input = |account| {
        let account_id = IdKind::Account.encode(account);
        let amount = json!({"amount": "1", "currency": "EUR"});
        json!({"input": {"idempotencyKey": "k", "accountId": account_id, "amount": amount}})
    };
    let answer = bank.answer(bank.me(), WITHDRAWAL, input(bank.destination)).await;
    let refusal = json!([{"code": "TXN_ACCOUNT_NOT_FOUND", "field": ["input", "accountId"]}]);
    assert_eq!(answer["withdrawalInitiate"]["userErrors"], refusal);
    let answer = bank.answer(bank.me(), WITHDRAWAL, input(bank.source)).await;
    let source = IdKind::Account.encode(bank.source);
    assert_eq!(answer["withdrawalInitiate"]["transaction"], json!({"kind": "WITHDRAWAL", "source": {"id": source}}));
}

#[tokio::test]
async fn nobody_gets_anything_without_logging_in() {
    let bank = Bank::open().await;
    let id = bank.pay("k").await;
    let documents = [
        (TRANSFER, bank.transfer("k2", "1")),
        ("query ($id: ID!) { transaction(id: $id) { id } }", json!({"id": id})),
        ("{ transactions { nodes { id } } }", json!({})),
    ];
    for (document, variables) in documents {
        let response = bank.ask(None, document, variables).await;
        assert_eq!(code(&response), Some("UNAUTHENTICATED".into()), "{document}");
    }
}

#[tokio::test]
async fn somebody_elses_transaction_is_absent() {
    const READ: &str = "query ($id: ID!) { transaction(id: $id) { id } }";
    let bank = Bank::open().await;
    let id = bank.pay("k").await;
    let variables = json!({"id": id});
    assert_eq!(bank.answer(bank.me(), READ, variables.clone()).await["transaction"]["id"], id);
    let stranger = (Uuid::now_v7(), Role::Customer);
    assert_eq!(bank.answer(stranger, READ, variables).await["transaction"], json!(null));
}

#[tokio::test]
async fn entities_are_found_by_key_and_others_are_null() {
    const ENTITIES: &str =
        "query ($keys: [_Any!]!) { _entities(representations: $keys) { ... on Transaction { id } } }";
    let bank = Bank::open().await;
    let (first, second) = (bank.pay("a").await, bank.pay("b").await);
    let unknown = IdKind::Transaction.encode(Uuid::now_v7());
    let key = |id: &Json| json!({"__typename": "Transaction", "id": id});
    let variables = json!({"keys": [key(&second), key(&json!(unknown)), key(&first)]});
    let answer = bank.answer(bank.me(), ENTITIES, variables).await;
    assert_eq!(answer["_entities"], json!([{"id": second}, null, {"id": first}]));
}

#[tokio::test]
async fn the_history_is_paged_newest_first() {
    const LIST: &str = "query ($after: String, $filter: TransactionFilter) {
        transactions(first: 2, after: $after, filter: $filter) {
            nodes { id }
            pageInfo { hasNextPage endCursor }
        }
    }";
    let bank = Bank::open().await;
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        ids.insert(0, bank.pay(key).await);
    }
    let first = bank.answer(bank.me(), LIST, json!({})).await["transactions"].clone();
    assert_eq!(first["nodes"], json!([{"id": ids[0]}, {"id": ids[1]}]));
    assert_eq!(first["pageInfo"]["hasNextPage"], json!(true));
    let after = json!({"after": first["pageInfo"]["endCursor"]});
    let second = bank.answer(bank.me(), LIST, after).await["transactions"].clone();
    assert_eq!((&second["nodes"], &second["pageInfo"]["hasNextPage"]), (&json!([{"id": ids[2]}]), &json!(false)));

    let account = IdKind::Account.encode(bank.source);
    let filter = json!({"filter": {"accountId": account, "status": "FAILED", "kind": "TRANSFER", "reference": "RENT"}});
    assert_eq!(bank.answer(bank.me(), LIST, filter).await["transactions"]["nodes"], json!([]));
}

#[tokio::test]
async fn a_subscription_begins_with_the_present_and_goes_on_live() {
    const UPDATES: &str = "subscription ($account: ID, $transaction: ID) {
        transactionUpdated(accountId: $account, transactionId: $transaction) { sequence kind cursor transaction { id status } }
    }";
    const RESUME: &str = "subscription ($account: ID, $after: String) {
        transactionUpdated(accountId: $account, after: $after) { kind transaction { id } }
    }";
    let bank = Bank::open().await;
    let first = bank.pay("a").await;
    let variables = json!({"account": IdKind::Account.encode(bank.source)});
    let mut updates = bank.schema.execute_stream(bank.request(Some(bank.me()), UPDATES, variables)).boxed();
    let mut cursors = Vec::new();
    for (id, kind) in [(first.clone(), "SNAPSHOT"), (Json::Null, "CHANGE")] {
        let id = if id.is_null() { bank.pay("b").await } else { id };
        let update = updates.next().await.expect("an update").data.into_json().expect("JSON");
        let mut update = update["transactionUpdated"].clone();
        cursors.push(update["cursor"].take());
        let transaction = json!({"id": id, "status": "INITIATED"});
        assert_eq!(update, json!({"sequence": 1, "kind": kind, "cursor": null, "transaction": transaction}));
    }
    let third = bank.pay("c").await;
    let resume = |account, after: &Json| {
        let variables = json!({"account": IdKind::Account.encode(account), "after": after});
        bank.schema.execute_stream(bank.request(Some(bank.me()), RESUME, variables)).boxed()
    };
    let missed = resume(bank.source, &cursors[1]).next().await.expect("an update").data.into_json().expect("JSON");
    assert_eq!(missed["transactionUpdated"], json!({"kind": "CHANGE", "transaction": {"id": third}}));
    for wrong in [resume(bank.source, &json!("1")), resume(Uuid::now_v7(), &cursors[1])] {
        let refused = wrong.boxed().next().await.expect("an answer");
        assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()), "a cursor of another stream is none of this");
    }

    let ask = async |person, variables| {
        let request = bank.request(Some(person), UPDATES, variables);
        code(&bank.schema.execute_stream(request).boxed().next().await.expect("an answer"))
    };
    let stranger = (Uuid::now_v7(), Role::Customer);
    assert_eq!(ask(stranger, json!({"transaction": first})).await, Some("BAD_USER_INPUT".into()));
    let account = IdKind::Account.encode(bank.source);
    assert_eq!(ask(stranger, json!({"account": account})).await, Some("BAD_USER_INPUT".into()));
    assert_eq!(ask(bank.me(), json!({})).await, Some("BAD_USER_INPUT".into()));
    assert_eq!(ask(bank.me(), json!({"account": account, "transaction": first})).await, Some("BAD_USER_INPUT".into()));
}

#[tokio::test]
async fn a_lost_database_is_a_fault_that_may_pass() {
    let bank = Bank::open().await;
    bank.database.pool().close().await;
    let response = bank.ask(Some(bank.me()), TRANSFER, bank.transfer("k", "1")).await;
    assert_eq!(code(&response), Some("MODULE_UNAVAILABLE".into()));
}

#[test]
fn the_subgraph_owns_transactions_and_knows_accounts_by_key_only() {
    let sdl = subgraph::sdl(&subgraph::finish(builder()));
    for line in [
        "type Transaction @key(fields: \"id\")",
        "type Account @key(fields: \"id\", resolvable: false)",
        "type TransactionConnection @shareable",
        "transactionUpdated(accountId: ID, transactionId: ID, after: String, afterSequence: Int @deprecated(",
        "waitFor: WaitFor! = NONE",
    ] {
        assert!(sdl.contains(line), "{line}\n{sdl}");
    }
}

#[tokio::test]
async fn nobody_checks_payees_by_the_hundred() {
    const CHECK: &str = "{ payeeVerification(iban: \"LT121000011101001000\", name: \"Ada Lovelace\") { result } }";
    let bank = Bank::open().await;
    for _ in 0..20 {
        bank.answer(bank.me(), CHECK, json!({})).await;
    }
    let refused = bank.ask(Some(bank.me()), CHECK, json!({})).await;
    assert_eq!(code(&refused), Some("RATE_LIMITED".into()));
    let wait = refused.errors[0].extensions.as_ref().and_then(|extensions| extensions.get("retryAfterMs")).cloned();
    let Some(Value::Number(wait)) = wait else { panic!("how long to wait: {wait:?}") };
    assert!((1..=10_000).contains(&wait.as_u64().expect("milliseconds")), "{wait}");
    let somebody_else = (Uuid::now_v7(), Role::Customer);
    bank.answer(somebody_else, CHECK, json!({})).await;
}

#[tokio::test]
async fn a_transaction_is_not_older_than_what_the_client_knows() {
    const AT_LEAST: &str =
        "query ($id: ID!, $version: Int!) { transaction(id: $id, minVersion: $version) { status sequence } }";
    let bank = Bank::open().await;
    let id = bank.pay("k").await;
    let now = bank.answer(bank.me(), AT_LEAST, json!({"id": id, "version": 1})).await;
    assert_eq!(now["transaction"], json!({"status": "INITIATED", "sequence": 1}));
    let response = bank.ask(Some(bank.me()), AT_LEAST, json!({"id": id, "version": 2})).await;
    assert_eq!(code(&response), Some("STALE_READ".into()));

    let end = async {
        let end =
            "update transaction.transaction set status = 'COMPLETED', completed_at = now() where status = 'INITIATED'";
        bank.database.tamper(end).await;
    };
    let (answer, ()) = futures::join!(bank.answer(bank.me(), AT_LEAST, json!({"id": id, "version": 2})), end);
    assert_eq!(answer["transaction"], json!({"status": "COMPLETED", "sequence": 2}));
}
