use std::net::SocketAddr;

use serde_json::{Value, json};
use vostro::client::Connection;
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::stitch::{Engine, OperationKind};

use super::generate::{Generator, KEY, Operation};
use super::parts::Parts;
use crate::support::{Person, Staff, World};

/// Queries for each root field and each person who asks, each round with a seed of its own.
pub const ROUNDS: u64 = 3;

/// Whoever asks so much so fast would have to wait, and at each door for as long as it thinks.
pub const UNHURRIED: [(&str, &str); 1] = [("VOSTRO__GRAPHQL__BUDGET_POINTS", "0")];

/// Somebody, at two doors of the same bank.
pub struct Asking {
    pub name: &'static str,
    pub here: Connection,
    pub there: Connection,
}

impl Asking {
    pub async fn new(name: &'static str, token: Option<&str>, here: SocketAddr, there: SocketAddr) -> Self {
        let mut connections = [
            Connection::open(here).await.expect("the bank listens"),
            Connection::open(there).await.expect("the gateway listens"),
        ];
        for (connection, token) in connections.iter_mut().zip([token, token]) {
            token.into_iter().for_each(|token| connection.log_in_with(token));
        }
        let [here, there] = connections;
        Self { name, here, there }
    }
}

/// A bank in one process with something in it, and everybody who asks at its door and at another.
pub struct Everybody {
    pub asking: Vec<Asking>,
    /// What there is.
    pub ids: Vec<String>,
}

impl Everybody {
    pub async fn at(world: &World, there: SocketAddr) -> Self {
        let here = world.config.http.address;
        let staff = Staff::hire(world).await;
        let ada = Person::with_money(world, &staff, "ada", "100.00").await;
        let bob = Person::join(world, "bob").await;
        let transfer = ada.transfer("alike", &bob.account, "1.00").await;
        // What is still on its way would change the answers.
        world.leaves_nothing_behind().await;
        let mut connection = ada.connection().await;
        let told = connection.data("{ notifications(first: 3) { nodes { id } } }", json!({})).await.expect("an answer");
        let mut ids = vec![ada.account.clone(), ada.user.clone(), bob.account.clone(), bob.user.clone()];
        ids.extend(transfer["transaction"]["id"].as_str().map(str::to_owned));
        ids.extend(
            told["notifications"]["nodes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one["id"].as_str().map(str::to_owned)),
        );
        assert!(ids.len() > 5, "{ids:?}");
        let mut asking = vec![Asking::new("nobody", None, here, there).await];
        for (name, token) in [
            ("a customer", &ada.token),
            ("an operator", &staff.operator),
            ("an officer", &staff.officer),
            ("an admin", &staff.admin),
        ] {
            asking.push(Asking::new(name, Some(token), here, there).await);
        }
        Self { asking, ids }
    }
}

/// The answer both doors give, or the two of them. What changes by itself is asked again when nothing is on its way.
pub async fn alike(
    world: &World,
    asking: &mut Asking,
    operation: &Operation,
    form: impl Fn(Value) -> Value,
) -> Result<Value, (Value, Value)> {
    for _ in 0..20 {
        let before = form(answer(&mut asking.here, operation).await);
        let there = form(answer(&mut asking.there, operation).await);
        if before == there {
            return Ok(there);
        }
        // On either side: a refusal that is recorded waits in an outbox for a moment, and the question may be about
        // outboxes.
        let stands_still = before == form(answer(&mut asking.here, operation).await)
            && there == form(answer(&mut asking.there, operation).await);
        if stands_still {
            return Err((before, there));
        }
        world.leaves_nothing_behind().await;
    }
    panic!("the answer never stands still: {operation:?}");
}

async fn answer(connection: &mut Connection, operation: &Operation) -> Value {
    connection.answer(&operation.text, operation.variables.clone()).await.expect("an answer")
}

/// Without what differs between two requests to the same bank, and with errors in an order of their own: what is asked side
/// by side fails in any.
pub fn comparable(mut answer: Value) -> Value {
    if let Some(cost) = answer["extensions"]["cost"].as_object_mut() {
        cost.remove("throttleStatus");
    }
    if let Some(errors) = answer.get_mut("errors").and_then(Value::as_array_mut) {
        for error in errors.iter_mut() {
            error["extensions"].as_object_mut().expect("every error has extensions").remove("traceId");
        }
        errors.sort_by_key(ToString::to_string);
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_behind_a_gateway_answer_as_one_does() {
    let world = World::create().await;
    let (_bank, parts) = tokio::join!(world.spawn_bank(&UNHURRIED), Parts::start_with(&world, &UNHURRIED));
    let mut everybody = Everybody::at(&world, parts.gateway).await;
    let engine = Engine::over(SUPERGRAPH).expect("a supergraph").build().expect("an engine");
    let schema = engine.planner().api_schema();
    let (mut asked, mut with_data, mut with_errors) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mut generator = Generator::new(schema, round, &everybody.ids);
        for root in generator.roots(OperationKind::Query) {
            for asking in &mut everybody.asking {
                let operation = generator.query(&root);
                let answer = alike(&world, asking, &operation, comparable).await.unwrap_or_else(|(here, there)| {
                    panic!("{operation:?} as {}:\nin one process {here}\nbehind a gateway {there}", asking.name)
                });
                asked += 1;
                with_data += usize::from(
                    answer["data"].as_object().is_some_and(|data| data.values().any(|value| !value.is_null())),
                );
                with_errors += usize::from(answer.get("errors").is_some());
            }
        }
    }
    assert!(asked > 100 && with_data > asked / 4 && with_errors > asked / 10, "{asked} {with_data} {with_errors}");

    // Commands, each once on either side and with a key of its own. What these people may do to the bank is nothing.
    let mut generator = Generator::new(schema, ROUNDS, &everybody.ids);
    let commands = generator.roots(OperationKind::Mutation);
    for root in commands.iter().filter(|name| !matches!(name.as_str(), "logout" | "accountClose" | "tokenRefresh")) {
        for asking in everybody.asking.iter_mut().filter(|asking| matches!(asking.name, "nobody" | "a customer")) {
            let Operation { text, variables } = generator.mutation(root);
            let own = |side: &str| Operation {
                text: text.replace(KEY, &format!("{root}-{}-{side}", asking.name.replace(' ', "-"))),
                variables: variables.clone(),
            };
            let here = refusals(answer(&mut asking.here, &own("here")).await);
            let there = refusals(answer(&mut asking.there, &own("there")).await);
            assert_eq!(there, here, "{text} {variables} as {}", asking.name);
        }
    }
}

/// What is wrong with a command, and not what it led to: two commands that are carried out lead to two things.
fn refusals(answer: Value) -> Value {
    let answer = comparable(answer);
    let refused = answer["data"]["r0"]["userErrors"].clone();
    json!({"errors": answer.get("errors"), "refused": refused, "answered": answer["data"]["r0"].is_object()})
}
