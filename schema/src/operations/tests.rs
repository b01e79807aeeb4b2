//! The sub-schema in front of a real module's desks, each test with a database of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_graphql::{Request, Response, Value, Variables};
use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use futures::stream::{BoxStream, StreamExt as _};
use serde_json::{Value as Json, json};
use uuid::Uuid;
use vostro_events::auth::UserRegisteredV1;
use vostro_events::command::CommandRefusedV1;
use vostro_events::operator::{OperatorActedV1, OperatorAction, OperatorStep};
use vostro_kernel::{Actor, Clock as _, FixedClock, RequestContext, Role, Roles, SystemIds};
use vostro_messaging::maintenance::MaintenanceDesks;
use vostro_messaging::parking::{ApprovalPolicy, ParkingDesk, ParkingDesks};
use vostro_messaging::{ConsumptionDesk, ContactKey, Incoming, Module as _};
use vostro_notification::{Config, MIGRATIONS, Notifications};
use vostro_testkit::{Consuming, Database, incoming};

use super::{BrokerAway, BrokerView, Difference, Mutation, Operations, Query, QueueTotals, Subscription, builder};
use crate::scope::RequestScope;
use crate::stitch::subgraph::{self, Subgraph};

const LIST: &str = "query ($filter: ParkedMessageFilter, $first: Int, $after: String, $last: Int, $before: String) {
    parkedMessages(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
        nodes { id module subscription key eventId eventType isFirst state attempts nextAttemptAt reasonCode reason }
        pageInfo { hasNextPage startCursor endCursor }
    }
}";
const SHOW: &str = "query ($id: ID!) { parkedMessage(id: $id) { message { id } contentType size digest data } }";
const REDRIVE: &str = "mutation ($selection: ParkedMessageFilter!, $reason: String) {
    parkedRedrive(input: {selection: $selection, reason: $reason}) { outcome count userErrors { code message } } }";
const SKIP: &str = "mutation ($ids: [ID!]!) {
    parkedSkip(input: {messageIds: $ids, reason: \"a test\"}) { outcome count userErrors { code } } }";
const DISCARD: &str = "mutation ($selection: ParkedMessageFilter!) {
    parkedDiscard(input: {selection: $selection, reason: \"a test\"}) {
        outcome count request { id action state messageCount reason isYoursToDecide } userErrors { code } } }";
const REQUESTS: &str = "{ parkingRequests { nodes { id module subscription state isYoursToDecide } } }";
const APPROVE: &str = "mutation ($id: ID!) { parkingRequestApprove(input: {requestId: $id}) {
    outcome count request { state requestedBy { id } decidedBy { id } } userErrors { code } } }";
const DECLINE: &str = "mutation ($id: ID!) { parkingRequestDecline(input: {requestId: $id}) {
    outcome count request { state } userErrors { code } } }";
const CONSUMPTIONS: &str = "{ consumptions { module isPaused isDrained queues { ready unacknowledged consumers } } }";

/// A broker as a test wants it.
struct Broker {
    queues: Option<QueueTotals>,
    /// How often it was asked for them.
    asked: Arc<AtomicU32>,
}

#[async_trait]
impl BrokerView for Broker {
    async fn queues(&self) -> Result<HashMap<String, QueueTotals>, BrokerAway> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let queues = self.queues.ok_or_else(|| BrokerAway("it is stopped".to_owned()))?;
        Ok([("notification".to_owned(), queues)].into())
    }

    async fn topology_differences(&self) -> Result<Vec<Difference>, BrokerAway> {
        let difference = Difference { text: "queue q.x is missing".to_owned(), is_harmful: true };
        self.queues.map(|_| vec![difference]).ok_or_else(|| BrokerAway("it is stopped".to_owned()))
    }
}

struct Bank {
    database: Database,
    clock: Arc<FixedClock>,
    consuming: Consuming,
    asked: Arc<AtomicU32>,
    schema: Subgraph<Query, Mutation, Subscription>,
    /// Three events of one key, the first of which cannot be handled.
    key: Vec<Incoming>,
}

impl Bank {
    async fn open(second_person_for: &[&str], broker: Option<QueueTotals>) -> Self {
        let database = Database::create("notification", &MIGRATIONS).await;
        let clock = Arc::new(FixedClock::at(Utc::now()));
        let key = Arc::new(ContactKey::derive("a secret of this test"));
        let foundation = database.foundation_at(clock.clone());
        let module = Notifications::new(foundation.clone(), Config::default(), key).expect("a valid configuration");
        let consuming = Consuming::start_at(&database, &module.handlers().remove(0), clock.clone());
        let key = registrations(3);
        consuming.take(&key).await;
        let policy = ApprovalPolicy {
            subscriptions: second_person_for.iter().map(|name| (*name).to_owned()).collect(),
            redrive: true,
            maintenance: false,
        };
        let asked = Arc::new(AtomicU32::new(0));
        let operations = Operations {
            parking: ParkingDesks::new(vec![ParkingDesk::new("notification", foundation.clone(), policy)]),
            consumption: vec![ConsumptionDesk::new("notification", foundation)],
            maintenance: MaintenanceDesks::new(Vec::new()),
            broker: Arc::new(Broker { queues: broker, asked: Arc::clone(&asked) }),
            clock: clock.clone(),
        };
        Self { database, clock, consuming, asked, schema: subgraph::finish(builder().data(operations)), key }
    }

    async fn alone() -> Self {
        Self::open(&[], Some(QueueTotals::default())).await
    }

    async fn ask(&self, who: &Actor, document: &str, variables: Json) -> Response {
        let scope = RequestScope::new(RequestContext::of(*who, &SystemIds), Arc::new(SystemIds));
        let request = Request::new(document).variables(Variables::from_json(variables)).data(Arc::new(scope));
        self.schema.execute(request).await
    }

    async fn answer(&self, who: &Actor, document: &str, variables: Json) -> Json {
        let response = self.ask(who, document, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")
    }

    fn changes(&self, who: &Actor, after: &Json) -> BoxStream<'static, Response> {
        changes(&self.schema, who, after)
    }

    /// Another instance on the same database, whose clock is ahead.
    fn another_instance(&self, ahead: chrono::TimeDelta) -> Subgraph<Query, Mutation, Subscription> {
        let clock = Arc::new(FixedClock::at(self.clock.now() + ahead));
        let foundation = self.database.foundation_at(clock.clone());
        let policy = ApprovalPolicy::default();
        let operations = Operations {
            parking: ParkingDesks::new(vec![ParkingDesk::new("notification", foundation.clone(), policy)]),
            consumption: vec![ConsumptionDesk::new("notification", foundation)],
            maintenance: MaintenanceDesks::new(Vec::new()),
            broker: Arc::new(Broker { queues: None, asked: Arc::default() }),
            clock,
        };
        subgraph::finish(builder().data(operations))
    }

    async fn parked(&self, filter: Json) -> Vec<Json> {
        let answer = self.answer(&person(&[Role::Operator]), LIST, json!({"filter": filter})).await;
        answer["parkedMessages"]["nodes"].as_array().expect("a list").clone()
    }

    /// Action and step of everything operators did.
    async fn record(&self) -> Vec<(OperatorAction, OperatorStep)> {
        let events = self.database.published(OperatorActedV1::TYPES[3]).await;
        let read = |event| serde_json::from_value::<OperatorActedV1>(event).expect("it fits");
        events.into_iter().map(read).map(|event| (event.action, event.step)).collect()
    }

    /// Command and code of everything that was refused.
    async fn refusals(&self) -> Vec<(String, String)> {
        let events = self.database.published(CommandRefusedV1::TYPES[3]).await;
        let read = |event| serde_json::from_value::<CommandRefusedV1>(event).expect("it fits");
        events.into_iter().map(read).map(|event| (event.command, event.code)).collect()
    }

    async fn ends_with(self, quarantined: i64) {
        self.consuming.leaves_parked(0, quarantined).await;
    }
}

/// Registrations of one person. Without a contact they make no sense.
fn registrations(count: i64) -> Vec<Incoming> {
    let sample = include_str!("../../../events/samples/auth.user-registered.v1.json");
    let mut event: UserRegisteredV1 = serde_json::from_str(sample).expect("the sample fits");
    event.user_id = Uuid::now_v7();
    event.sealed_contact = String::new();
    (1..=count).map(|sequence| incoming(&event, sequence)).collect()
}

fn person(roles: &[Role]) -> Actor {
    Actor::person(Uuid::now_v7(), roles.iter().copied().collect::<Roles>(), None)
}

fn code(response: &Response) -> Option<Value> {
    let [error] = response.errors.as_slice() else { panic!("one error, not {:?}", response.errors) };
    error.extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned()
}

#[tokio::test]
async fn parked_messages_are_listed_in_pages_in_their_order() {
    let bank = Bank::alone().await;
    let operator = person(&[Role::Operator]);
    let first = bank.answer(&operator, LIST, json!({"first": 2})).await;
    let nodes = first["parkedMessages"]["nodes"].as_array().expect("a list");
    let ids: Vec<Json> = bank.key.iter().map(|event| json!(event.envelope.id)).collect();
    assert_eq!(nodes.iter().map(|node| node["eventId"].clone()).collect::<Vec<_>>(), ids[..2]);
    assert_eq!(
        (nodes[0]["isFirst"].clone(), nodes[1]["isFirst"].clone(), nodes[0]["nextAttemptAt"].clone()),
        (json!(true), json!(false), Json::Null)
    );
    assert_eq!(nodes[0]["subscription"], "notification.business-events");
    assert_eq!((&nodes[0]["module"], &nodes[0]["reasonCode"]), (&json!("notification"), &json!("INVALID")));
    let cursor = first["parkedMessages"]["pageInfo"]["endCursor"].clone();
    let second = bank.answer(&operator, LIST, json!({"first": 2, "after": cursor})).await;
    assert_eq!(second["parkedMessages"]["nodes"][0]["eventId"], ids[2]);
    assert_eq!(second["parkedMessages"]["pageInfo"]["hasNextPage"], false);
    let cursor = second["parkedMessages"]["pageInfo"]["startCursor"].clone();
    let back = bank.answer(&operator, LIST, json!({"last": 2, "before": cursor})).await;
    assert_eq!(back["parkedMessages"]["nodes"], first["parkedMessages"]["nodes"]);
    bank.ends_with(1).await;
}

#[tokio::test]
async fn filters_narrow_and_an_unknown_module_is_named() {
    let bank = Bank::alone().await;
    let key = bank.key[0].envelope.partition_key;
    for (filter, count) in [
        (json!({"module": "notification"}), 3),
        (json!({"key": key}), 3),
        (json!({"ids": [bank.key[1].envelope.id]}), 1),
        (json!({"reasonCode": "INVALID", "state": "QUARANTINED"}), 3),
        (json!({"state": "WAITING"}), 0),
        (json!({"eventType": "auth.user-updated.v1"}), 0),
        (json!({"subscription": "notification.another"}), 0),
    ] {
        assert_eq!(bank.parked(filter.clone()).await.len(), count, "{filter}");
    }
    for filter in [json!({"module": "nobody"}), json!({"key": "acc_1"}), json!({"subscription": "nobody.postings"})] {
        let refused = bank.ask(&person(&[Role::Operator]), LIST, json!({"filter": filter})).await;
        assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()), "{filter}");
    }
    bank.ends_with(1).await;
}

#[tokio::test]
async fn what_may_be_personal_in_a_parked_message_is_not_shown() {
    let bank = Bank::alone().await;
    let id = bank.key[0].envelope.id;
    let shown = bank.answer(&person(&[Role::Admin]), SHOW, json!({"id": id})).await;
    let data: Json = serde_json::from_str(shown["parkedMessage"]["data"][0].as_str().expect("text")).expect("JSON");
    assert_eq!(data["userId"], json!(bank.key[0].envelope.aggregate_id));
    assert_eq!(data["sealedContact"], "[redacted]", "{data}");
    assert_eq!(shown["parkedMessage"]["digest"].as_str().map(str::len), Some(64));
    let nothing = bank.answer(&person(&[Role::Admin]), SHOW, json!({"id": Uuid::now_v7()})).await;
    assert_eq!(nothing["parkedMessage"], Json::Null);
    bank.ends_with(1).await;
}

#[tokio::test]
async fn only_operators_and_administrators_get_in() {
    let bank = Bank::alone().await;
    let selection = json!({"selection": {"key": bank.key[0].envelope.partition_key}, "ids": [], "id": Uuid::nil()});
    for document in [LIST, SHOW, REDRIVE, DISCARD, REQUESTS, APPROVE, DECLINE, CONSUMPTIONS, "{ outboxes { module } }"]
    {
        let anonymous = bank.ask(&Actor::ANONYMOUS, document, selection.clone()).await;
        assert_eq!(code(&anonymous), Some("UNAUTHENTICATED".into()), "{document}");
        for role in [Role::Customer, Role::ComplianceOfficer] {
            let refused = bank.ask(&person(&[role]), document, selection.clone()).await;
            assert_eq!(code(&refused), Some("FORBIDDEN".into()), "{document}");
        }
    }
    bank.ends_with(1).await;
}

#[tokio::test]
async fn skipping_twice_skips_once() {
    let bank = Bank::alone().await;
    let operator = person(&[Role::Operator]);
    let ids = json!({"ids": [bank.key[0].envelope.id]});
    let skipped = bank.answer(&operator, SKIP, ids.clone()).await;
    assert_eq!(skipped["parkedSkip"], json!({"outcome": "DONE", "count": 1, "userErrors": []}));
    let again = bank.answer(&operator, SKIP, ids).await;
    assert_eq!(again["parkedSkip"]["userErrors"][0]["code"], "PARKING_NOTHING_SELECTED");
    let not_first = bank.answer(&operator, SKIP, json!({"ids": [bank.key[2].envelope.id]})).await;
    assert_eq!(not_first["parkedSkip"]["userErrors"][0]["code"], "PARKING_NOT_FIRST");
    assert_eq!(bank.record().await, [(OperatorAction::Skip, OperatorStep::Done)]);
    let refusals = ["PARKING_NOTHING_SELECTED", "PARKING_NOT_FIRST"];
    assert_eq!(bank.refusals().await, refusals.map(|code| ("parkedSkip".to_owned(), code.to_owned())));
    assert_eq!(bank.parked(json!({})).await.len(), 2);
    bank.consuming.leaves_parked(1, 0).await;
}

#[tokio::test]
async fn a_selection_that_says_nothing_is_not_taken_for_the_whole_bank() {
    let bank = Bank::alone().await;
    for selection in [json!({}), json!({"module": "notification"}), json!({"ids": []})] {
        let refused = bank.answer(&person(&[Role::Operator]), DISCARD, json!({"selection": selection})).await;
        assert_eq!(refused["parkedDiscard"]["userErrors"][0]["code"], "PARKING_SELECTION_EMPTY", "{selection}");
    }
    let refused = ("parkedDiscard".to_owned(), "PARKING_SELECTION_EMPTY".to_owned());
    assert_eq!(bank.refusals().await, [refused.clone(), refused.clone(), refused]);
    assert_eq!(bank.parked(json!({})).await.len(), 3);
    bank.ends_with(1).await;
}

#[tokio::test]
async fn what_takes_two_is_done_when_a_second_person_agrees_and_an_attempt_to_do_without_is_on_record() {
    let bank = Bank::open(&["notification.*"], Some(QueueTotals::default())).await;
    let (ann, bob) = (person(&[Role::Operator]), person(&[Role::Admin]));
    let selection = json!({"selection": {"key": bank.key[0].envelope.partition_key}});
    let asked = bank.answer(&ann, DISCARD, selection).await;
    let request = &asked["parkedDiscard"]["request"];
    assert_eq!((&asked["parkedDiscard"]["outcome"], &request["messageCount"]), (&json!("REQUESTED"), &json!(3)));
    assert_eq!((&request["state"], &request["isYoursToDecide"]), (&json!("OPEN"), &json!(false)));
    let id = json!({"id": request["id"]});
    let alone = bank.answer(&ann, APPROVE, id.clone()).await;
    assert_eq!(alone["parkingRequestApprove"]["userErrors"][0]["code"], "PARKING_SAME_PERSON");
    assert_eq!(alone["parkingRequestApprove"]["outcome"], Json::Null);
    let seen = bank.answer(&bob, REQUESTS, json!({})).await;
    assert_eq!(seen["parkingRequests"]["nodes"][0]["isYoursToDecide"], true);
    assert_eq!(bank.parked(json!({})).await.len(), 3, "nothing is done yet");
    let agreed = bank.answer(&bob, APPROVE, id.clone()).await;
    assert_eq!(agreed["parkingRequestApprove"]["outcome"], "DONE");
    assert_eq!(agreed["parkingRequestApprove"]["count"], 3);
    assert_eq!(agreed["parkingRequestApprove"]["request"]["state"], "APPROVED");
    let late = bank.answer(&bob, DECLINE, id).await;
    assert_eq!(late["parkingRequestDecline"]["userErrors"][0]["code"], "PARKING_REQUEST_DECIDED");
    let unknown = bank.answer(&bob, APPROVE, json!({"id": Uuid::now_v7()})).await;
    assert_eq!(unknown["parkingRequestApprove"]["userErrors"][0]["code"], "PARKING_REQUEST_UNKNOWN");
    assert_eq!(bank.answer(&bob, REQUESTS, json!({})).await["parkingRequests"]["nodes"], json!([]));
    let (requested, approved) = (OperatorStep::Requested, OperatorStep::Approved);
    assert_eq!(bank.record().await, [(OperatorAction::Discard, requested), (OperatorAction::Discard, approved)]);
    assert_eq!(
        bank.refusals().await,
        [
            ("parkingRequestApprove".to_owned(), "PARKING_SAME_PERSON".to_owned()),
            ("parkingRequestDecline".to_owned(), "PARKING_REQUEST_DECIDED".to_owned()),
            ("parkingRequestApprove".to_owned(), "PARKING_REQUEST_UNKNOWN".to_owned()),
        ]
    );
    bank.ends_with(0).await;
}

#[tokio::test]
async fn what_a_second_person_declines_is_not_done() {
    let bank = Bank::open(&["notification.*"], Some(QueueTotals::default())).await;
    let selection = json!({"selection": {"ids": [bank.key[0].envelope.id]}, "reason": "the defect is mended"});
    let asked = bank.answer(&person(&[Role::Operator]), REDRIVE, selection).await;
    assert_eq!(asked["parkedRedrive"]["outcome"], "REQUESTED");
    let open = bank.answer(&person(&[Role::Operator]), REQUESTS, json!({})).await;
    let id = json!({"id": open["parkingRequests"]["nodes"][0]["id"]});
    let declined = bank.answer(&person(&[Role::Operator]), DECLINE, id).await;
    assert_eq!(
        declined["parkingRequestDecline"],
        json!({"outcome": "DECLINED", "count": 0, "request": {"state": "REJECTED"}, "userErrors": []})
    );
    assert_eq!(bank.parked(json!({"state": "QUARANTINED"})).await.len(), 3);
    bank.ends_with(1).await;
}

#[tokio::test]
async fn consumers_are_paused_and_resumed_and_drained_once_the_broker_has_noticed() {
    let bank = Bank::open(&[], Some(QueueTotals { ready: 7, unacknowledged: 0, consumers: 0 })).await;
    let operator = person(&[Role::Operator]);
    let pause = "mutation ($module: String!, $reason: String!) {
        consumptionPause(input: {module: $module, reason: $reason}) {
            changed consumption { isPaused isDrained } userErrors { code } } }";
    let order = |module, reason| json!({"module": module, "reason": reason});
    let unknown = bank.answer(&operator, pause, order("nobody", "a test")).await;
    assert_eq!(unknown["consumptionPause"]["userErrors"][0]["code"], "PARKING_MODULE_UNKNOWN");
    let silent = bank.answer(&operator, pause, order("notification", " ")).await;
    assert_eq!(silent["consumptionPause"]["userErrors"][0]["code"], "PARKING_REASON_MISSING");
    let refusals = ["PARKING_MODULE_UNKNOWN", "PARKING_REASON_MISSING"];
    assert_eq!(bank.refusals().await, refusals.map(|code| ("modulePause".to_owned(), code.to_owned())));
    let paused = bank.answer(&operator, pause, order("notification", "a test")).await;
    assert_eq!(
        paused["consumptionPause"],
        json!({"changed": true, "consumption": {"isPaused": true, "isDrained": false}, "userErrors": []})
    );
    let again = bank.answer(&operator, pause, order("notification", "a test")).await;
    assert_eq!(again["consumptionPause"]["changed"], false);
    bank.clock.advance(TimeDelta::seconds(8));
    let asked = bank.asked.load(Ordering::SeqCst);
    let seen = bank.answer(&operator, CONSUMPTIONS, json!({})).await;
    assert_eq!(bank.asked.load(Ordering::SeqCst), asked + 1, "one question to the broker, whatever is asked of us");
    assert_eq!(seen["consumptions"][0]["isDrained"], true);
    assert_eq!(seen["consumptions"][0]["queues"], json!({"ready": 7, "unacknowledged": 0, "consumers": 0}));
    let resume = "mutation { consumptionResume(input: {module: \"notification\"}) {
        changed consumption { isPaused isDrained } } }";
    let resumed = bank.answer(&operator, resume, json!({})).await;
    assert_eq!(resumed["consumptionResume"]["consumption"], json!({"isPaused": false, "isDrained": false}));
    let (pause, resume) = (OperatorAction::Pause, OperatorAction::Resume);
    assert_eq!(bank.record().await, [(pause, OperatorStep::Done), (resume, OperatorStep::Done)]);
    let outboxes = bank.answer(&operator, "{ outboxes { module waiting oldestAgeMillis } }", json!({})).await;
    assert_eq!(outboxes["outboxes"][0]["waiting"], 4, "{outboxes}");
    assert!(outboxes["outboxes"][0]["oldestAgeMillis"].as_i64().is_some_and(|age| age >= 8_000), "{outboxes}");
    bank.ends_with(1).await;
}

#[tokio::test]
async fn a_broker_that_is_away_hides_only_what_it_knows() {
    let bank = Bank::open(&[], None).await;
    let operator = person(&[Role::Operator]);
    let answer = bank.ask(&operator, "{ consumptions { module isPaused queues { ready } } }", json!({})).await;
    assert_eq!(code(&answer), Some("MODULE_UNAVAILABLE".into()));
    let seen = answer.data.into_json().expect("JSON");
    assert_eq!(seen["consumptions"], json!([{"module": "notification", "isPaused": false, "queues": null}]));
    let topology = "{ topologyDifferences { text isHarmful } }";
    assert_eq!(code(&bank.ask(&operator, topology, json!({})).await), Some("MODULE_UNAVAILABLE".into()));
    bank.ends_with(1).await;

    let bank = Bank::alone().await;
    let seen = bank.answer(&operator, topology, json!({})).await;
    assert_eq!(seen["topologyDifferences"], json!([{"text": "queue q.x is missing", "isHarmful": true}]));
    bank.ends_with(1).await;
}

fn changes(bank: &Subgraph<Query, Mutation, Subscription>, who: &Actor, after: &Json) -> BoxStream<'static, Response> {
    const CHANGES: &str = "subscription ($after: String) { operationsChanged(after: $after) {
        sequence occurredAt kind cursor modules { module isPaused outboxWaiting keysWaiting keysQuarantined } } }";
    let scope = RequestScope::new(RequestContext::of(*who, &SystemIds), Arc::new(SystemIds));
    let request = Request::new(CHANGES).variables(Variables::from_json(json!({"after": after})));
    bank.clone().execute_stream(request.data(Arc::new(scope))).boxed()
}

async fn next(stream: &mut BoxStream<'static, Response>) -> Json {
    let within = std::time::Duration::from_secs(60);
    let response = tokio::time::timeout(within, stream.next()).await.expect("in time").expect("a response");
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    response.data.into_json().expect("JSON")["operationsChanged"].clone()
}

#[tokio::test]
async fn operators_see_how_the_modules_are_and_what_changes() {
    let bank = Bank::alone().await;
    let operator = person(&[Role::Operator]);
    let mut crowd = [bank.changes(&operator, &Json::Null), bank.changes(&operator, &Json::Null)];
    let mut cursor = Json::Null;
    for changes in &mut crowd {
        let now = next(changes).await;
        let module = &now["modules"][0];
        assert_eq!((&now["kind"], &module["module"]), (&json!("SNAPSHOT"), &json!("notification")));
        assert_eq!((&module["isPaused"], &module["keysWaiting"]), (&json!(false), &json!(0)), "{module}");
        assert_eq!(module["keysQuarantined"], 1);
        cursor = now["cursor"].clone();
    }
    let mut unchanged = bank.changes(&operator, &cursor);
    assert!(futures::FutureExt::now_or_never(unchanged.next()).is_none(), "it is as the client knows it");
    bank.answer(&operator, PAUSE, json!({})).await;
    for changes in crowd.iter_mut().chain([&mut unchanged]) {
        let update = next(changes).await;
        assert_eq!((&update["kind"], &update["modules"][0]["isPaused"]), (&json!("CHANGE"), &json!(true)));
    }
    let late = next(&mut bank.changes(&operator, &cursor)).await;
    assert_eq!((&late["kind"], &late["modules"][0]["isPaused"]), (&json!("LAGGED"), &json!(true)));
    for (who, expected) in [(Actor::ANONYMOUS, "UNAUTHENTICATED"), (person(&[Role::Customer]), "FORBIDDEN")] {
        let refused = bank.changes(&who, &Json::Null).next().await.expect("an answer");
        let code = refused.errors[0].extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned();
        assert_eq!(code, Some(Value::from(expected)));
    }
    bank.ends_with(1).await;
}

const PAUSE: &str = "mutation { consumptionPause(input: {module: \"notification\", reason: \"a test\"}) { changed } }";
const RESUME: &str =
    "mutation { consumptionResume(input: {module: \"notification\", reason: \"a test\"}) { changed } }";

#[tokio::test]
async fn who_reads_slowly_is_told_the_latest_state_and_that_there_were_others() {
    let bank = Bank::alone().await;
    let operator = person(&[Role::Operator]);
    let (mut quick, mut slow) = (bank.changes(&operator, &Json::Null), bank.changes(&operator, &Json::Null));
    let mut known = next(&mut quick).await;
    assert_eq!(next(&mut slow).await["modules"], known["modules"]);
    let before = known["sequence"].as_i64().expect("a number");
    for document in [PAUSE, RESUME] {
        bank.answer(&operator, document, json!({})).await;
        known = next(&mut quick).await;
        assert_eq!(known["kind"], "CHANGE");
    }
    let late = next(&mut slow).await;
    assert_eq!((&late["kind"], &late["modules"]), (&json!("LAGGED"), &known["modules"]));
    assert!(late["sequence"].as_i64().expect("a number") > before);
    bank.answer(&operator, PAUSE, json!({})).await;
    assert_eq!(next(&mut slow).await["kind"], "CHANGE", "and it goes on");
    bank.ends_with(1).await;
}

#[tokio::test]
async fn sequences_grow_also_behind_the_cursor_of_an_instance_whose_clock_is_ahead() {
    let bank = Bank::alone().await;
    let operator = person(&[Role::Operator]);
    let elsewhere = bank.another_instance(chrono::TimeDelta::seconds(90));
    let known = next(&mut changes(&elsewhere, &operator, &Json::Null)).await;
    bank.answer(&operator, PAUSE, json!({})).await;
    let mut here = bank.changes(&operator, &known["cursor"]);
    let paused = next(&mut here).await;
    bank.answer(&operator, RESUME, json!({})).await;
    let resumed = next(&mut here).await;
    let sequences = [&known, &paused, &resumed].map(|update| update["sequence"].as_i64().expect("a number"));
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
    bank.ends_with(1).await;
}

#[tokio::test]
async fn an_instance_that_looked_earlier_does_not_tell_what_was_before_the_cursor() {
    let bank = Bank::alone().await;
    let operator = person(&[Role::Operator]);
    // This instance has looked, and looks again in two seconds.
    let mut here = bank.changes(&operator, &Json::Null);
    assert_eq!(next(&mut here).await["modules"][0]["isPaused"], false);
    bank.answer(&operator, PAUSE, json!({})).await;
    let elsewhere = bank.another_instance(chrono::TimeDelta::zero());
    let known = next(&mut changes(&elsewhere, &operator, &Json::Null)).await;
    assert_eq!(known["modules"][0]["isPaused"], true);
    let mut moved = bank.changes(&operator, &known["cursor"]);
    let (heard, told) = tokio::join!(futures::FutureExt::boxed(next(&mut here)), async {
        tokio::time::timeout(std::time::Duration::from_millis(200), moved.next()).await
    });
    assert!(told.is_err(), "it is as the client knows it: {told:?}");
    assert_eq!(heard["modules"], known["modules"]);
    bank.ends_with(1).await;
}
