//! The flows of `docs/guide.md` in Rust, with nothing but an HTTP client and JSON. Needs a bank and its staff:
//! `scripts/with-bank.sh cargo run --example guide`.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::collections::HashMap;
use std::env::var;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

type Anything<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Somebody who talks to the bank.
struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

/// Who the flows need.
pub struct Setting {
    pub url: String,
    pub operator: String,
    pub officer: String,
    pub staff_password: String,
    /// Makes the people and keys of one run different from those of another.
    pub run: String,
}

// --- client
impl Client {
    fn of(url: &str, token: Option<String>) -> Self {
        Self { http: reqwest::Client::new(), url: url.to_owned(), token }
    }

    /// Sends one operation; faults become errors, refusals stay data.
    async fn ask(&self, document: &str, variables: Value) -> Anything<Value> {
        self.data(json!({"query": document, "variables": variables})).await
    }

    async fn data(&self, body: Value) -> Anything<Value> {
        let mut answer: Value = self.send(body, "application/json").await?.json().await?;
        match answer["errors"].take() {
            Value::Null => Ok(answer["data"].take()),
            errors => Err(errors.to_string().into()),
        }
    }

    async fn send(&self, body: Value, accept: &str) -> reqwest::Result<reqwest::Response> {
        let mut request = self.http.post(&self.url).header("accept", accept).json(&body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await
    }
}
// ---

// --- register
async fn register(url: &str, name: &str, run: &str) -> Anything<Client> {
    let email = format!("{name}-rust-{run}@example.org");
    let password = "a few uncommon words, pickled";
    let document = "mutation Register($input: UserRegisterInput!) {
        userRegister(input: $input) { user { id } userErrors { code message field } } }";
    let key = format!("register-{name}-{run}");
    let input = json!({"email": email, "password": password, "displayName": name, "idempotencyKey": key});
    let data = Client::of(url, None).ask(document, json!({"input": input})).await?;
    accepted(&data["userRegister"])?;
    log_in(url, &email, password).await
}

async fn log_in(url: &str, email: &str, password: &str) -> Anything<Client> {
    let document = "mutation LogIn($input: LoginInput!) {
        login(input: $input) { tokens { accessToken refreshToken expiresAt } userErrors { code } } }";
    let input = json!({"email": email, "password": password});
    let data = Client::of(url, None).ask(document, json!({"input": input})).await?;
    accepted(&data["login"])?;
    Ok(Client::of(url, data["login"]["tokens"]["accessToken"].as_str().map(str::to_owned)))
}

/// Whether a command was carried out.
fn accepted(payload: &Value) -> Anything<()> {
    match payload["userErrors"].as_array() {
        Some(reasons) if reasons.is_empty() => Ok(()),
        _ => Err(format!("refused: {payload}").into()),
    }
}

/// The bank opens the first account soon after the registration.
async fn first_account(client: &Client) -> Anything<String> {
    loop {
        let data = client.ask("{ accounts(first: 1) { nodes { id } } }", Value::Null).await?;
        if let Some(id) = data["accounts"]["nodes"][0]["id"].as_str() {
            return Ok(id.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
// ---

// --- deposit
async fn deposit(operator: &Client, account: &str, run: &str) -> Anything<()> {
    let document = "mutation Deposit($input: DepositRecordInput!) {
        depositRecord(input: $input) { transaction { status } userErrors { code message } } }";
    let input = json!({
        "idempotencyKey": format!("deposit-rust-{run}"), "accountId": account, "waitFor": "COMPLETED",
        "amount": {"amount": "100.00", "currency": "EUR"},
    });
    accepted(&operator.ask(document, json!({"input": input})).await?["depositRecord"])
}
// ---

// --- pay
async fn pay(client: &Client, from: &str, to: &str, amount: &str, key: &str) -> Anything<Value> {
    let document = "mutation Pay($input: TransferCreateInput!) {
        transferCreate(input: $input) { transaction { id status } replayed userErrors { code message field } } }";
    let input = json!({
        "idempotencyKey": key, "sourceAccountId": from, "destinationAccountId": to,
        "amount": {"amount": amount, "currency": "EUR"}, "reference": "Rent for May",
    });
    Ok(client.ask(document, json!({"input": input})).await?["transferCreate"].take())
}
// ---

// --- subscribe
/// Tells how a payment goes on until it has ended.
async fn follow(client: &Client, payment: &str) -> Anything<String> {
    let document = "subscription Fate($id: ID!) {
        transactionUpdated(transactionId: $id) { sequence transaction { status } } }";
    let body = json!({"query": document, "variables": {"id": payment}});
    let mut response = client.send(body, "text/event-stream").await?;
    let (mut text, mut status) = (String::new(), String::new());
    while let Some(chunk) = response.chunk().await? {
        text.push_str(std::str::from_utf8(&chunk)?);
        while let Some((event, rest)) = text.split_once("\n\n") {
            if let Some(data) = event.strip_prefix("event: next\ndata: ") {
                let event: Value = serde_json::from_str(data)?;
                let update = &event["data"]["transactionUpdated"];
                status = update["transaction"]["status"].as_str().ok_or_else(|| event.to_string())?.to_owned();
                println!("{}: {status}", update["sequence"]);
            }
            text = rest.to_owned();
        }
    }
    Ok(status)
}
// ---

// --- audit
/// What is on record about a payment, once its end is.
async fn trail(officer: &Client, payment: &str) -> Anything<Vec<Value>> {
    let document = "query Trail($id: ID!) {
        auditTrail(aggregateId: $id) { position type actorId outcome occurredAt hash } }";
    loop {
        let mut data = officer.ask(document, json!({"id": payment})).await?;
        let events = data["auditTrail"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if events.iter().any(|event| event["type"] == "transaction.completed.v1") {
            return Ok(events);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn verify(officer: &Client) -> Anything<bool> {
    let data = officer.ask("{ auditVerification { ok checked headHash } }", Value::Null).await?;
    Ok(data["auditVerification"]["ok"] == true)
}
// ---

/// What @vostro/client brings for the bank to import: its operations by their ids.
const MANIFEST: &str = include_str!("../clients/typescript/src/generated/customer.json");

// --- ids
/// The id of an operation in a manifest.
fn id_of(manifest: &str, operation: &str) -> Anything<String> {
    let texts: HashMap<String, String> = serde_json::from_str(manifest)?;
    let name = |text: &str| text.split([' ', '(']).nth(1).map(str::to_owned);
    let found = texts.into_iter().find(|(_, text)| name(text).as_deref() == Some(operation));
    found.map(|(id, _)| id).ok_or_else(|| format!("the manifest has no {operation}").into())
}

impl Client {
    async fn ask_by_id(&self, id: &str, variables: Value) -> Anything<Value> {
        self.data(json!({"documentId": id, "variables": variables})).await
    }
}

async fn by_id(client: &Client, manifest: &str) -> Anything<()> {
    let data = client.ask_by_id(&id_of(manifest, "Me")?, Value::Null).await?;
    assert_eq!(data["me"]["displayName"], "ana");
    let refused = client.ask_by_id("sha256:0000", Value::Null).await.expect_err("nobody registered it");
    assert!(refused.to_string().contains("PERSISTED_DOCUMENT_NOT_FOUND"), "{refused}");
    Ok(())
}
// ---

/// All flows, one after the other.
pub async fn play(setting: &Setting) -> Anything<()> {
    let Setting { url, operator, officer, staff_password, run } = setting;
    // --- play
    let (ana, ben) = (register(url, "ana", run).await?, register(url, "ben", run).await?);
    let (from, to) = (first_account(&ana).await?, first_account(&ben).await?);
    deposit(&log_in(url, operator, staff_password).await?, &from, run).await?;

    let key = format!("rent-rust-{run}");
    let paid = pay(&ana, &from, &to, "42.00", &key).await?;
    accepted(&paid)?;
    let again = pay(&ana, &from, &to, "42.00", &key).await?;
    assert_eq!((&again["replayed"], &again["transaction"]["id"]), (&json!(true), &paid["transaction"]["id"]));
    let other = pay(&ana, &from, &to, "43.00", &key).await?;
    assert_eq!(other["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");

    let payment = paid["transaction"]["id"].as_str().ok_or("a payment has an id")?;
    assert_eq!(follow(&ana, payment).await?, "COMPLETED");

    let officer = log_in(url, officer, staff_password).await?;
    for event in trail(&officer, payment).await? {
        println!("{} {} {}", event["position"], event["type"], event["hash"]);
    }
    assert!(verify(&officer).await?);
    by_id(&ana, MANIFEST).await?;
    // ---
    Ok(())
}

#[tokio::main]
#[allow(dead_code, reason = "a test plays the flows without it")]
async fn main() -> Anything<()> {
    let setting = Setting {
        url: var("VOSTRO_URL")?,
        operator: var("VOSTRO_OPERATOR")?,
        officer: var("VOSTRO_OFFICER")?,
        staff_password: var("VOSTRO_STAFF_PASSWORD")?,
        run: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().to_string(),
    };
    play(&setting).await
}
