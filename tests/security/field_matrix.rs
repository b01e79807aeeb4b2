//! Every field of every object by everybody: what the schema declares along the way is what happens, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vostro::client::Connection;
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::{ApiSchema, Engine};

use super::arguments::Ids;
use super::everybody::{self, generous_world};
use super::ways::{SIBLING, Way, declared, left_out, ways};
use crate::support::{Person, Staff, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_open_to_whom_its_way_and_itself_declare_and_to_nobody_else() {
    let world = generous_world().await;
    let _bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let ids = objects_of(&ada, &bob).await;
    let everybody = everybody::connections(&world, &staff, &ada).await;
    let engine = Engine::over(SUPERGRAPH).expect("a supergraph").build().expect("an engine");
    let schema = engine.planner().api_schema();
    assert_eq!(left_out(schema), Vec::<String>::new(), "these have to be asked for in another way");
    let asking = everybody.into_iter().map(|(role, connection)| ask_everything(schema, role, connection, &ids));
    let asked: usize = futures::future::join_all(asking).await.into_iter().sum();
    assert!(asked > 1_000, "only {asked} cases");
}

/// Asks for every field as somebody with this role. Returns how many those were.
async fn ask_everything(schema: &ApiSchema, role: &str, mut connection: Connection, ids: &Ids) -> usize {
    let mut asked = 0;
    let mut seen = BTreeSet::new();
    let mut open = BTreeSet::new();
    for way in ways(schema, role) {
        let document = way.question(schema, ids);
        let answer = connection.answer(&document, json!({})).await.expect("an answer");
        let what = || format!("as {role:?}: {document}: {answer}");
        if way.is_open(schema, role) {
            open.insert(way.to);
            if !found(&answer["data"], &way.path()).is_empty() {
                seen.insert(way.to);
            }
        }
        assert_eq!(refused(&answer), expected(schema, role, &way, &answer), "{}", what());
        asked += way.asked(schema);
    }
    // A field that declares something says so of objects that are there.
    let unseen: Vec<_> = declared(schema).into_keys().filter(|to| open.contains(to) && !seen.contains(to)).collect();
    assert_eq!(unseen, Vec::<&str>::new(), "{role:?} can ask for these, and none was there");
    asked
}

/// What is to be refused in this answer, by path; each must be `null` with its siblings beside it.
fn expected(schema: &ApiSchema, role: &str, way: &Way<'_>, answer: &Value) -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    for (path, code) in way.refusals(schema, role) {
        let (parent, field) = path.rsplit_once('.').unwrap_or(("", &path));
        let parent: Vec<_> = parent.split('.').filter(|name| !name.is_empty()).collect();
        // Where no object is there is nothing to refuse.
        for object in found(&answer["data"], &parent) {
            assert!(object[SIBLING].is_string(), "the siblings of {path} stay: {answer}");
            assert_eq!(object[field], Value::Null, "{path} as {role:?}: {answer}");
            expected.insert(path.clone(), code.to_owned());
        }
    }
    expected
}

/// The codes of what was refused, by path without the places in lists.
fn refused(answer: &Value) -> BTreeMap<String, String> {
    let errors = answer["errors"].as_array().into_iter().flatten();
    let codes = errors.map(|error| (error, error["extensions"]["code"].as_str().unwrap_or_default()));
    let refused = codes.filter(|(_, code)| matches!(*code, "FORBIDDEN" | "UNAUTHENTICATED"));
    let named = refused.map(|(error, code)| {
        let path = error["path"].as_array().into_iter().flatten();
        (path.filter_map(Value::as_str).collect::<Vec<_>>().join("."), code.to_owned())
    });
    named.collect()
}

/// The objects at a path, of all items where it leads through lists.
pub fn found<'a>(data: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    match (data, path) {
        (Value::Null, _) => Vec::new(),
        (Value::Array(items), _) => items.iter().flat_map(|item| found(item, path)).collect(),
        (object, []) => vec![object],
        (object, [name, rest @ ..]) => found(&object[*name], rest),
    }
}

/// One of everything a customer can have.
pub async fn objects_of(ada: &Person, bob: &Person) -> Ids {
    let transfer = ada.transfer("matrix", &bob.account, "1.00").await;
    let mut connection = ada.connection().await;
    let document = "mutation($input: StatementGenerateInput!) {
        statementGenerate(input: $input) { statement { id } userErrors { code } } }";
    let period =
        json!({"idempotencyKey": "matrix", "accountId": ada.account, "from": "2024-01-01", "to": "2024-01-31"});
    let data = connection.data(document, json!({"input": period})).await.expect("an answer");
    let statement = data["statementGenerate"]["statement"]["id"].clone();
    let connection = tokio::sync::Mutex::new(connection);
    let notification = eventually("the statement is ready and the payment told", || async {
        let document = "query($id: ID!) { statement(id: $id) { status } notifications(first: 1) { nodes { id } } }";
        let data = connection.lock().await.data(document, json!({"id": statement})).await.ok()?;
        let is_ready = data["statement"]["status"] == "READY";
        data["notifications"]["nodes"][0]["id"].as_str().filter(|_| is_ready).map(str::to_owned)
    })
    .await;
    let id = |value: &Value| value.as_str().expect("an id").to_owned();
    Ids::from([
        ("acc", ada.account.clone()),
        ("usr", ada.user.clone()),
        ("txn", id(&transfer["transaction"]["id"])),
        ("stm", id(&statement)),
        ("ntf", notification),
    ])
}
