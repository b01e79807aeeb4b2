//! The same subgraphs behind a gateway that is not ours.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use vostro_schema::federation::addressed;
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::{Engine, OperationKind};

use super::alike::{Everybody, ROUNDS, UNHURRIED, alike};
use super::commands;
use super::generate::Generator;
use super::parts::{Parts, secret};
use crate::support::{EventStream, Person, Staff, World};

/// Names the program that starts the gateway; `schema/hive-gateway/run.sh` sets it.
const PROGRAM: &str = "VOSTRO_TEST_HIVE_GATEWAY";

/// Hive Gateway as a process, ended when dropped.
struct Hive {
    child: Child,
    address: SocketAddr,
}

impl Hive {
    fn start(world: &World, parts: &Parts) -> Self {
        let program = std::env::var_os(PROGRAM).expect("schema/hive-gateway/run.sh sets it");
        let supergraph = world.folder().join("supergraph.graphql");
        std::fs::write(&supergraph, addressed(SUPERGRAPH, |name| parts.subgraphs.get(name).cloned())).expect("a file");
        let mut command = Command::new("node");
        command.arg(&program).arg(&supergraph).arg(&parts.subgraphs["auth"]).env("GATEWAY_SECRET", secret());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Node can be started");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("the gateway says where it listens");
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix("/graphql"));
        let address = address.and_then(|address| address.parse().ok());
        Self { child, address: address.unwrap_or_else(|| panic!("the gateway said {line:?}")) }
    }
}

impl Drop for Hive {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Data as it is, and of each error its code and at which root field it is. Below that Hive Gateway has paths of its
/// own: those of the subgraph's question (`_e0`), or without the place in a list. The rest of an error is each
/// gateway's way of telling it. Where a module fails to say what an object of it is, the bank has `null` in its place and
/// Hive Gateway an object with what another module knows of it: nothing, or which one it is.
fn comparable(mut answer: Value) -> Value {
    let mut data = answer["data"].take();
    let mut errors: Vec<_> = answer["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| {
            let root = error["path"].as_array().filter(|path| path.len() == 1);
            let root = root.filter(|path| !path[0].as_str().is_some_and(|key| data[key].is_array()));
            json!([root, error["extensions"]["code"]])
        })
        .collect();
    errors.sort_by_key(ToString::to_string);
    errors.dedup();
    if !errors.is_empty() {
        leave_bare_objects(&mut data);
    }
    json!({"data": data, "errors": errors})
}

fn leave_bare_objects(value: &mut Value) {
    match value {
        Value::Object(fields) if fields.iter().all(|(key, field)| key == "__typename" || is_id(field)) => {
            *value = Value::Null;
        }
        Value::Object(fields) => fields.values_mut().for_each(leave_bare_objects),
        Value::Array(items) => items.iter_mut().for_each(leave_bare_objects),
        _ => {}
    }
}

/// Such as `acc_01890a5d-ac96-774b-bcce-b302099a8057`.
fn is_id(value: &Value) -> bool {
    let parts = value.as_str().and_then(|text| text.split_once('_'));
    parts.is_some_and(|(_, id)| uuid::Uuid::try_parse(id).is_ok())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and what schema/hive-gateway/run.sh installs, which runs it"]
async fn hive_gateway_answers_over_our_subgraphs_as_the_bank_does() {
    let world = World::create().await;
    // Hive Gateway plans what the bank finds too dear.
    let generous = [("VOSTRO__GRAPHQL__MAX_COST", "1000000"), ("VOSTRO__GRAPHQL__BUDGET_POINTS", "0")];
    let (_bank, parts) = tokio::join!(world.spawn_bank(&generous), Parts::start(&world));
    let hive = Hive::start(&world, &parts);
    let mut everybody = Everybody::at(&world, hive.address).await;
    let engine = Engine::over(SUPERGRAPH).expect("a supergraph").build().expect("an engine");
    let mut different = Vec::new();
    let mut asked = 0;
    for round in 0..ROUNDS {
        let mut generator = Generator::new(engine.planner().api_schema(), round, &everybody.ids);
        for root in generator.roots(OperationKind::Query) {
            for asking in &mut everybody.asking {
                let operation = generator.query(&root);
                let Err((bank, hive)) = alike(&world, asking, &operation, comparable).await else {
                    asked += 1;
                    continue;
                };
                let is_too_much = bank["errors"][0][1].as_str().is_some_and(|code| code.ends_with("_LIMIT_EXCEEDED"));
                if !is_too_much {
                    different.push(format!("{operation:?} as {}:\nthe bank {bank}\nHive {hive}", asking.name));
                }
            }
        }
    }
    assert!(asked > 300, "{asked}");
    assert!(different.is_empty(), "{} of {asked} differ:\n{}", different.len(), different.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and what schema/hive-gateway/run.sh installs, which runs it"]
async fn a_command_is_carried_out_once_and_answered_alike_by_the_bank_its_gateway_and_hive_gateway() {
    let world = World::create().await;
    let (_bank, parts) = tokio::join!(world.spawn_bank(&UNHURRIED), Parts::start_with(&world, &UNHURRIED));
    let hive = Hive::start(&world, &parts);
    let doors =
        [("the bank", world.config.http.address), ("its gateway", parts.gateway), ("Hive Gateway", hive.address)];
    commands::say_the_same_at(&world, &doors, comparable).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and what schema/hive-gateway/run.sh installs, which runs it"]
async fn a_payment_is_followed_through_hive_gateway_with_what_other_modules_know_of_it() {
    let mut world = World::create().await;
    let parts = Parts::start(&world).await;
    let hive = Hive::start(&world, &parts);
    // What is done is done at the bank's own gateway.
    world.config.http.address = parts.gateway;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let document =
        "subscription($id: ID!, $after: String) { transactionUpdated(accountId: $id, after: $after) { kind cursor
        transaction { id status source { number owner { displayName } } } } }";
    let follow = async |token: &str, after: &Value| {
        let variables = json!({"id": ada.account, "after": after});
        EventStream::open(hive.address, token, document, &variables).await
    };
    let mut events = follow(&ada.token, &Value::Null).await;
    let snapshot = told(&mut events).await;
    assert_eq!((&snapshot["kind"], &snapshot["transaction"]["status"]), (&json!("SNAPSHOT"), &json!("COMPLETED")));
    assert_eq!(snapshot["transaction"]["source"], Value::Null, "cash comes from an account of the bank: {snapshot}");

    let paid = ada.transfer("live", &bob.account, "1.00").await;
    let end = until_completed(&mut events, &paid).await;
    let source = &end["transaction"]["source"];
    assert!(source["number"].is_string() && source["owner"]["displayName"] == "ada", "{end}");
    drop(events);
    let missed = ada.transfer("nobody-listens", &bob.account, "1.00").await;
    let mut events = follow(&ada.token, &end["cursor"]).await;
    until_completed(&mut events, &missed).await;

    let refused = follow("", &Value::Null).await.next().await.expect("an answer");
    assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{refused}");
    ada.connection().await.data("mutation { logout { loggedOut } }", json!({})).await.expect("logged out");
    let over = events.next().await.expect("a reason");
    assert_eq!(over["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{over}");
    assert_eq!(events.next().await, None);
}

async fn told(events: &mut EventStream) -> Value {
    let mut event = events.next().await.expect("an event");
    assert_eq!(event.get("errors"), None, "{event}");
    event["data"]["transactionUpdated"].take()
}

/// Changes of this transfer and of no other, up to its end.
async fn until_completed(events: &mut EventStream, transfer: &Value) -> Value {
    loop {
        let update = told(events).await;
        assert_eq!(update["kind"], "CHANGE", "{update}");
        assert_eq!(update["transaction"]["id"], transfer["transaction"]["id"], "{update}");
        if update["transaction"]["status"] == "COMPLETED" {
            return update;
        }
    }
}
