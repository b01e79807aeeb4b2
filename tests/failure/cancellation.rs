//! Whoever asked does not wait any more: neither does the database. The tables it would have to wait for stay locked all the
//! while, so a statement that is gone was ended, and did not end by itself.

use std::net::SocketAddr;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use vostro::client::documents;
use vostro::database::role_name;

use crate::support::people::transfer_input;
use crate::support::{Person, Staff, World, eventually};

/// Holds a table of the bank for as long as it lives.
pub struct Held {
    owner: PgConnection,
    pool: PgPool,
}

impl Held {
    pub async fn hold(world: &World, table: &str) -> Self {
        let pool = world.pool().await;
        let mut owner = pool.acquire().await.expect("a connection").detach();
        let lock = AssertSqlSafe(format!("begin; lock table {table} in access exclusive mode"));
        sqlx::raw_sql(lock).execute(&mut owner).await.expect("locked");
        Self { owner, pool }
    }

    /// Waits until this many statements with these words wait for it.
    pub async fn keeps_waiting(&self, wanted: i64, words: &str) {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock' and position($1 in query) > 0";
        eventually(&format!("{wanted} statements wait"), || async {
            let waiting: i64 = sqlx::query_scalar(waiting).bind(words).fetch_one(&self.pool).await.ok()?;
            (waiting == wanted).then_some(())
        })
        .await;
    }

    pub async fn let_go(mut self) {
        sqlx::raw_sql("rollback").execute(&mut self.owner).await.expect("it was held until now");
        self.owner.close().await.expect("a clean goodbye");
    }
}

/// A world whose bank's own limits, but for this one, end nothing.
pub async fn patient_world(timeout_millis: u64) -> World {
    let mut world = World::create().await;
    world.config.graphql.timeout_millis = timeout_millis;
    let pool = world.pool().await;
    let database: String = sqlx::query_scalar("select current_database()").fetch_one(&pool).await.expect("readable");
    for role in ["account", "transaction"].map(role_name) {
        for limit in ["lock_timeout", "statement_timeout"] {
            let lift = AssertSqlSafe(format!("alter role {role} in database {database} set {limit} = 0"));
            sqlx::raw_sql(lift).execute(&pool).await.expect("lifted");
        }
    }
    world
}

pub const BALANCES: &str = "account.balance";
pub const BALANCE: &str = "query($id: ID!) { account(id: $id) { balance { posted { amount } } } }";
pub const CHANGES: &str = "subscription($id: ID!) { balanceChanged(accountId: $id) { sequence } }";

/// Sends an operation over a connection of its own, which ends with the value.
pub async fn ask(address: SocketAddr, person: &Person, document: &str, accept: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the bank listens");
    let body = json!({"query": document, "variables": {"id": person.account}}).to_string();
    let (token, length) = (&person.token, body.len());
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\naccept: {accept}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_for_a_client_that_has_gone_is_ended_in_the_database() {
    let world = patient_world(300_000).await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let held = Held::hold(&world, BALANCES).await;
    for (document, accept) in [(BALANCE, "application/json"), (CHANGES, "text/event-stream")] {
        let client = ask(world.config.http.address, &ada, document, accept).await;
        held.keeps_waiting(1, BALANCES).await;
        drop(client);
        held.keeps_waiting(0, BALANCES).await;
    }
    held.let_go().await;
    assert_eq!(ada.balance().await, "10.00");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_times_out_is_ended_in_the_database_and_a_command_being_committed_is_not() {
    let world = patient_world(15_000).await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;

    let held = Held::hold(&world, BALANCES).await;
    let mut connection = ada.connection().await;
    let asked = connection.answer(BALANCE, json!({"id": ada.account}));
    let (answer, ()) = tokio::join!(asked, held.keeps_waiting(1, BALANCES));
    let error = &answer.expect("an answer")["errors"][0]["extensions"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("TIMEOUT"), &json!(true)), "{error}");
    held.keeps_waiting(0, BALANCES).await;
    held.let_go().await;
    assert_eq!(ada.balance().await, "10.00", "the connections of the module are as good as before");

    let inserting = "insert into transaction.transaction";
    let held = Held::hold(&world, "transaction.transaction").await;
    let order = json!({"input": transfer_input("once", &ada.account, &bob.account, "2.00", "NONE")});
    let answer = connection.answer(documents::TRANSFER, order.clone()).await.expect("an answer");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "TIMEOUT", "{answer}");
    held.keeps_waiting(1, inserting).await;
    held.let_go().await;
    let again = eventually("the command is known", || async {
        let answer = ada.connection().await.data(documents::TRANSFER, order.clone()).await.expect("an answer");
        (answer["transferCreate"]["replayed"] == true).then_some(answer)
    })
    .await;
    assert!(again["transferCreate"]["transaction"]["id"].is_string(), "{again}");
    eventually("the money has moved", || async { (bob.balance().await == "2.00").then_some(()) }).await;
    assert_eq!(ada.balance().await, "8.00", "once");
    bank.stop().await;
    world.proofs_hold().await;
}
