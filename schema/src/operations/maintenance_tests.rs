//! Long work that operators order, in front of a real module's desk and an archive that a test holds in its hand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::{Request, Response, Variables};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_events::account::AccountCreatedV1;
use vostro_events::command::CommandRefusedV1;
use vostro_events::notification::NotificationSentV1;
use vostro_events::operator::{OperatorActedV1, OperatorAction, OperatorStep};
use vostro_kernel::{Actor, RequestContext, Role, Roles, SystemClock, SystemIds};
use vostro_messaging::maintenance::{EventArchive, MaintenanceDesk, MaintenanceDesks};
use vostro_messaging::parking::{ApprovalPolicy, ParkingDesks};
use vostro_messaging::{ContactKey, EventSource, Incoming, Module as _, SourceError};
use vostro_notification::{Config, MIGRATIONS, Notifications};
use vostro_testkit::{Database, deliver, incoming, walked_both_ways};

use super::{BrokerAway, BrokerView, Difference, Mutation, Operations, Query, QueueTotals, Subscription, builder};
use crate::scope::RequestScope;
use crate::stitch::subgraph::{self, Subgraph};

const JOB: &str = "id subject kind state dryRun events expectedEvents position target eventCounts { eventType count }
    comparison { isEqual different changed } failureCode isYoursToDecide requestedBy { id } decidedBy { id }";

fn republish() -> String {
    format!(
        "mutation ($input: RepublishOutboxInput!) {{
            republishOutbox(input: $input) {{ job {{ {JOB} }} userErrors {{ code message }} }} }}"
    )
}

fn rebuild() -> String {
    format!(
        "mutation ($input: RebuildProjectionInput!) {{
            rebuildProjection(input: $input) {{ job {{ {JOB} }} userErrors {{ code message }} }} }}"
    )
}

fn approve() -> String {
    format!(
        "mutation ($id: ID!) {{ maintenanceJobApprove(input: {{jobId: $id}}) {{ job {{ {JOB} }} userErrors {{ code }} }} }}"
    )
}

fn decline() -> String {
    format!(
        "mutation ($id: ID!) {{ maintenanceJobDecline(input: {{jobId: $id}}) {{ job {{ {JOB} }} userErrors {{ code }} }} }}"
    )
}

fn show() -> String {
    format!("query ($id: ID!) {{ maintenanceJob(id: $id) {{ {JOB} }} }}")
}

fn list() -> String {
    format!("{{ maintenanceJobs {{ nodes {{ {JOB} }} }} }}")
}

/// An archive in memory. Positions begin with 1.
struct Shelf {
    events: Vec<Incoming>,
    /// How often somebody has asked for events.
    asked: AtomicUsize,
    /// Whoever asks first for events waits for this.
    first: Semaphore,
}

#[async_trait]
impl EventSource for Shelf {
    async fn head(&self) -> Result<i64, SourceError> {
        Ok(i64::try_from(self.events.len()).expect("few"))
    }

    async fn events(
        &self,
        types: &[&str],
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Incoming)>, SourceError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            self.first.acquire().await.expect("never closed").forget();
        }
        let all = (1..).zip(&self.events).filter(|(position, event)| {
            *position > after && *position <= until && types.contains(&event.envelope.event_type.as_str())
        });
        Ok(all.take(usize::try_from(limit).expect("positive")).map(|(at, event)| (at, event.clone())).collect())
    }

    async fn gaps(&self, _: &[&str]) -> Result<i64, SourceError> {
        Ok(0)
    }
}

#[async_trait]
impl EventArchive for Shelf {
    async fn position_at(&self, time: DateTime<Utc>) -> Result<i64, SourceError> {
        let before = self.events.iter().take_while(|event| event.envelope.occurred_at < time).count();
        Ok(i64::try_from(before + 1).expect("few"))
    }

    async fn types_of(&self, module: &str) -> Result<Vec<String>, SourceError> {
        let types = self.events.iter().map(|event| &event.envelope.event_type);
        let mut types: Vec<_> = types.filter(|name| name.module() == module).map(ToString::to_string).collect();
        types.sort_unstable();
        types.dedup();
        Ok(types)
    }

    async fn counts(&self, types: &[&str], after: i64, until: i64) -> Result<BTreeMap<String, i64>, SourceError> {
        let mut counts = BTreeMap::new();
        for (position, event) in (1..).zip(&self.events) {
            let name = event.envelope.event_type.as_str();
            if position > after && position <= until && types.contains(&name) {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

struct NoBroker;

#[async_trait]
impl BrokerView for NoBroker {
    async fn queues(&self) -> Result<HashMap<String, QueueTotals>, BrokerAway> {
        Ok(HashMap::new())
    }

    async fn topology_differences(&self) -> Result<Vec<Difference>, BrokerAway> {
        Ok(Vec::new())
    }
}

/// The notification module: it has told people some things, and knows the accounts of these events.
struct Bank {
    database: Database,
    shelf: Arc<Shelf>,
    desk: MaintenanceDesk,
    schema: Subgraph<Query, Mutation, Subscription>,
}

impl Bank {
    /// With so many of its own events in the archive. Nobody who asks for events has to wait.
    async fn open(told: usize) -> Self {
        Self::with(told, false, 1).await
    }

    async fn with(told: usize, two_people: bool, permits: usize) -> Self {
        let database = Database::create("notification", &MIGRATIONS).await;
        let foundation = database.foundation();
        let key = Arc::new(ContactKey::derive("a secret of this test"));
        let module = Notifications::new(foundation.clone(), Config::default(), key).expect("a valid configuration");
        let accounts: Vec<Incoming> = (0..3).map(|_| opened()).collect();
        let handler = module.handlers().remove(0).handler;
        deliver(database.pool(), &handler, &accounts).await.expect("taken");
        database.tamper("delete from notification.outbox").await;
        let events = accounts.into_iter().chain((0..told).map(|_| sent())).collect();
        let shelf = Arc::new(Shelf { events, asked: AtomicUsize::new(0), first: Semaphore::new(permits) });
        let policy = ApprovalPolicy {
            subscriptions: vec!["notification.*".to_owned()],
            redrive: false,
            maintenance: two_people,
        };
        let projections = module.projections();
        let desk = MaintenanceDesk::new("notification", foundation, policy, Arc::clone(&shelf) as _, projections);
        let operations = Operations {
            parking: ParkingDesks::new(Vec::new()),
            consumption: Vec::new(),
            maintenance: MaintenanceDesks::new(vec![desk.clone()]),
            broker: Arc::new(NoBroker),
            clock: Arc::new(SystemClock),
        };
        Self { database, shelf, desk, schema: subgraph::finish(builder().data(operations)) }
    }

    async fn ask(&self, who: &Actor, document: &str, variables: Json) -> Response {
        let scope = RequestScope::new(RequestContext::of(*who, &SystemIds), Arc::new(SystemIds));
        let request = Request::new(document).variables(Variables::from_json(variables)).data(Arc::new(scope));
        self.schema.execute(request).await
    }

    /// The answer of the one field.
    async fn answer(&self, who: &Actor, document: &str, variables: Json) -> Json {
        let response = self.ask(who, document, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        let data = response.data.into_json().expect("JSON");
        data.as_object().and_then(|fields| fields.values().next()).cloned().expect("one field")
    }

    /// Has a worker work until the job has ended, and shows it.
    async fn finish(&self, job: &Json) -> Json {
        let stop = CancellationToken::new();
        let working = tokio::spawn(self.desk.worker().run(stop.clone()));
        let ended = self.ended(job).await;
        stop.cancel();
        working.await.expect("the worker ends");
        ended
    }

    async fn ended(&self, job: &Json) -> Json {
        let looking = async {
            loop {
                let seen = self.answer(&operator(), &show(), json!({"id": job["id"]})).await;
                if ["DONE", "FAILED"].contains(&seen["state"].as_str().expect("a state")) {
                    return seen;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), looking).await.expect("it ends in time")
    }

    /// What is in the outbox of the events in the archive, by their ids, in the order of publishing.
    async fn again(&self) -> Vec<Uuid> {
        let events = self.database.outbox_events().await;
        let sent = events.into_iter().filter(|(envelope, _)| envelope.event_type.as_str() == NotificationSentV1::TYPE);
        sent.map(|(envelope, _)| envelope.id).collect()
    }

    /// The module's own events in the archive.
    fn told(&self) -> Vec<Uuid> {
        let sent = self.shelf.events.iter().filter(|event| event.is(NotificationSentV1::TYPE));
        sent.map(|event| event.envelope.id).collect()
    }

    /// Action, step and count of everything operators did.
    async fn record(&self) -> Vec<(OperatorAction, OperatorStep, i64)> {
        let events = self.database.published(OperatorActedV1::TYPES[3]).await;
        let read = |event| serde_json::from_value::<OperatorActedV1>(event).expect("it fits");
        events.into_iter().map(read).map(|event| (event.action, event.step, event.count)).collect()
    }

    /// Command and code of everything that was refused.
    async fn refusals(&self) -> Vec<(String, String)> {
        let events = self.database.published(CommandRefusedV1::TYPES[3]).await;
        let read = |event| serde_json::from_value::<CommandRefusedV1>(event).expect("it fits");
        events.into_iter().map(read).map(|event| (event.command, event.code)).collect()
    }

    async fn damaged(&self) -> i64 {
        self.database.count("select count(*) from notification.account where tail = '0000'").await
    }

    async fn asked_once(&self) {
        let asked = async {
            while self.shelf.asked.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), asked).await.expect("a worker reads the archive");
    }
}

fn opened() -> Incoming {
    let sample = include_str!("../../../events/samples/account.account-created.v1.json");
    let mut event: AccountCreatedV1 = serde_json::from_str(sample).expect("the sample fits");
    event.account_id = Uuid::now_v7();
    incoming(&event, 1)
}

fn sent() -> Incoming {
    let sample = include_str!("../../../events/samples/notification.sent.v1.json");
    let mut event: NotificationSentV1 = serde_json::from_str(sample).expect("the sample fits");
    event.notification_id = Uuid::now_v7();
    incoming(&event, 1)
}

fn person(roles: &[Role]) -> Actor {
    Actor::person(Uuid::now_v7(), roles.iter().copied().collect::<Roles>(), None)
}

fn operator() -> Actor {
    person(&[Role::Operator])
}

fn all_of_it() -> Json {
    json!({"input": {"module": "notification", "from": {"position": 1}, "reason": "the queue was deleted"}})
}

const REPUBLISH: OperatorAction = OperatorAction::Republish;
const REBUILD: OperatorAction = OperatorAction::Rebuild;

#[tokio::test]
async fn jobs_are_paged_alike_in_both_directions() {
    let bank = Bank::open(6).await;
    for position in 1..=5 {
        let input =
            json!({"module": "notification", "from": {"position": position}, "reason": "a look", "dryRun": true});
        let ordered = bank.answer(&operator(), &republish(), json!({"input": input})).await;
        assert_eq!(ordered["userErrors"], json!([]));
        if position == 2 {
            bank.finish(&ordered["job"]).await;
        }
    }
    let desks = MaintenanceDesks::new(vec![bank.desk.clone()]);
    for (unfinished_only, count) in [(true, 3), (false, 5)] {
        let read = async |page| {
            let jobs = desks.jobs(unfinished_only, page).await.expect("readable");
            jobs.into_iter().map(|job| (job.requested_at, job.id)).collect()
        };
        let all = walked_both_ways(|key| *key, read).await;
        assert_eq!(all.len(), count);
        assert!(all.is_sorted_by(|newer, older| newer > older));
    }
}

#[tokio::test]
async fn events_are_published_once_more_in_their_order_and_it_is_on_record_before_the_first_goes_out() {
    let bank = Bank::open(2_500).await;
    let ordered = bank.answer(&operator(), &republish(), all_of_it()).await;
    assert_eq!((&ordered["userErrors"], &ordered["job"]["state"]), (&json!([]), &json!("RUNNING")), "{ordered}");
    assert_eq!((&ordered["job"]["subject"], &ordered["job"]["target"]), (&json!("notification.outbox"), &json!(2_503)));
    let done = bank.finish(&ordered["job"]).await;
    assert_eq!((&done["state"], &done["position"]), (&json!("DONE"), &json!(2_503)));
    assert_eq!((&done["events"], &done["expectedEvents"]), (&json!(2_500), &json!(2_500)));
    assert_eq!(done["eventCounts"], json!([{"eventType": NotificationSentV1::TYPE, "count": 2_500}]));
    assert_eq!(bank.again().await, bank.told());
    let outbox = bank.database.outbox_events().await;
    assert_eq!(outbox[0].0.event_type.as_str(), OperatorActedV1::TYPES[3], "who did it comes first");
    assert_eq!(bank.record().await, [(REPUBLISH, OperatorStep::Done, 2_500)]);
    assert_eq!(bank.answer(&operator(), &list(), json!({})).await["nodes"], json!([]), "nothing is left to do");
}

#[tokio::test]
async fn a_part_of_the_archive_is_named_by_position_or_time_and_by_type() {
    let bank = Bank::open(10).await;
    let from = bank.shelf.events[7].envelope.occurred_at;
    let input = json!({"input": {"module": "notification", "from": {"recordedAt": from}, "to": {"position": 9},
        "eventTypes": [NotificationSentV1::TYPE], "reason": "a part"}});
    let ordered = bank.answer(&operator(), &republish(), input).await;
    bank.finish(&ordered["job"]).await;
    let positions: Vec<Uuid> = bank.shelf.events[7..9].iter().map(|event| event.envelope.id).collect();
    assert_eq!(bank.again().await, positions);
}

#[tokio::test]
async fn a_dry_run_counts_publishes_nothing_and_is_not_on_record() {
    let bank = Bank::open(5).await;
    let input = json!({"input": {"module": "notification", "from": {"position": 1}, "dryRun": true}});
    let ordered = bank.answer(&operator(), &republish(), input).await;
    let counted = bank.finish(&ordered["job"]).await;
    assert_eq!((&counted["expectedEvents"], &counted["events"]), (&json!(5), &json!(0)), "{counted}");
    assert!(bank.database.outbox_events().await.is_empty());
}

#[tokio::test]
async fn ordering_what_is_under_way_gives_the_job_that_is() {
    let bank = Bank::open(5).await;
    let first = bank.answer(&operator(), &republish(), all_of_it()).await;
    let second = bank.answer(&operator(), &republish(), all_of_it()).await;
    assert_eq!(first["job"]["id"], second["job"]["id"]);
    let input = json!({"input": {"projection": "notification.account", "reason": "damaged"}});
    let first = bank.answer(&operator(), &rebuild(), input.clone()).await;
    assert_eq!(bank.answer(&operator(), &rebuild(), input).await["job"]["id"], first["job"]["id"]);
    let other = json!({"input": {"projection": "notification.account", "waitSeconds": 1, "reason": "damaged"}});
    let refused = bank.answer(&operator(), &rebuild(), other).await;
    assert_eq!(refused["userErrors"][0]["code"], "MAINTENANCE_UNDER_WAY", "{refused}");
    bank.finish(&first["job"]).await;
    assert_eq!(bank.again().await, bank.told(), "once, not twice");
}

#[tokio::test]
async fn two_workers_that_both_believe_to_have_a_job_publish_each_event_once() {
    let bank = Bank::with(2_500, false, 0).await;
    let ordered = bank.answer(&operator(), &republish(), all_of_it()).await;
    let stop = CancellationToken::new();
    let paused = tokio::spawn(bank.desk.worker().run(stop.clone()));
    bank.asked_once().await;
    // Its lease ends while it waits for the archive; another takes over and finishes.
    bank.database.tamper("update notification.maintenance_job set due_at = now()").await;
    let done = bank.finish(&ordered["job"]).await;
    assert_eq!(done["events"], 2_500, "{done}");
    bank.shelf.first.add_permits(1);
    let job = bank.answer(&operator(), &republish(), all_of_it()).await;
    bank.ended(&job["job"]).await;
    stop.cancel();
    paused.await.expect("the worker ends");
    let twice = bank.told().into_iter().chain(bank.told()).collect::<Vec<_>>();
    assert_eq!(bank.again().await, twice, "once for each of the two orders");
}

#[tokio::test]
async fn a_projection_is_rebuilt_and_swapped_and_what_it_was_like_is_known() {
    let bank = Bank::open(1).await;
    bank.database.tamper("update notification.account set tail = '0000'").await;
    let compare = json!({"input": {"projection": "notification.account", "dryRun": true, "waitSeconds": 1}});
    let ordered = bank.answer(&operator(), &rebuild(), compare).await;
    let compared = bank.finish(&ordered["job"]).await;
    assert_eq!(compared["comparison"], json!({"isEqual": false, "different": 3, "changed": null}), "{compared}");
    assert_eq!(bank.damaged().await, 3, "it was only compared");
    let input = json!({"input": {"projection": "notification.account", "reason": "damaged by hand"}});
    let ordered = bank.answer(&operator(), &rebuild(), input).await;
    let done = bank.finish(&ordered["job"]).await;
    assert_eq!((&done["state"], &done["events"]), (&json!("DONE"), &json!(3)), "{done}");
    assert_eq!(done["comparison"], json!({"isEqual": false, "different": 3, "changed": 3}));
    assert_eq!(bank.damaged().await, 0);
    assert_eq!(bank.record().await, [(REBUILD, OperatorStep::Done, 0)]);
    assert_eq!(bank.database.outbox_events().await.len(), 1, "nobody is told anything else");
}

#[tokio::test]
async fn a_rebuild_that_is_interrupted_leaves_the_live_projection_alone_and_is_gone_on_with() {
    let bank = Bank::with(1, false, 0).await;
    bank.database.tamper("update notification.account set tail = '0000'").await;
    let input = json!({"input": {"projection": "notification.account", "reason": "damaged by hand"}});
    let ordered = bank.answer(&operator(), &rebuild(), input).await;
    let working = tokio::spawn(bank.desk.worker().run(CancellationToken::new()));
    bank.asked_once().await;
    working.abort();
    assert!(working.await.is_err_and(|error| error.is_cancelled()), "it is gone without a goodbye");
    assert_eq!(bank.damaged().await, 3);
    let seen = bank.answer(&operator(), &show(), json!({"id": ordered["job"]["id"]})).await;
    assert_eq!(seen["state"], "RUNNING", "{seen}");
    let done = bank.finish(&ordered["job"]).await;
    assert_eq!((&done["state"], &done["comparison"]["changed"]), (&json!("DONE"), &json!(3)), "{done}");
    assert_eq!(bank.damaged().await, 0);
    assert_eq!(bank.record().await, [(REBUILD, OperatorStep::Done, 0)], "once");
}

#[tokio::test]
async fn a_rebuild_that_cannot_be_done_says_why_and_is_on_record() {
    let bank = Bank::open(1).await;
    bank.database.tamper("insert into notification.account values (gen_random_uuid(), '0000')").await;
    let input = |trust| {
        json!({"input": {"projection": "notification.account", "waitSeconds": 0,
        "trustEventStore": trust, "reason": "damaged by hand"}})
    };
    let ordered = bank.answer(&operator(), &rebuild(), input(false)).await;
    let failed = bank.finish(&ordered["job"]).await;
    assert_eq!((&failed["state"], &failed["failureCode"]), (&json!("FAILED"), &json!("REBUILD_EVENTS_MISSING")));
    assert_eq!(bank.damaged().await, 1, "nothing was changed");
    let refused = ("projectionRebuild".to_owned(), "REBUILD_EVENTS_MISSING".to_owned());
    assert_eq!(bank.refusals().await, [refused]);
    assert!(bank.record().await.is_empty());
    // Giving up what only the projection knows takes two.
    let asked = bank.answer(&operator(), &rebuild(), input(true)).await;
    assert_eq!(asked["job"]["state"], "OPEN", "{asked}");
    bank.answer(&operator(), &approve(), json!({"id": asked["job"]["id"]})).await;
    let done = bank.finish(&asked["job"]).await;
    assert_eq!((&done["state"], &done["comparison"]["changed"]), (&json!("DONE"), &json!(1)), "{done}");
    assert_eq!(bank.damaged().await, 0);
}

#[tokio::test]
async fn what_takes_two_begins_when_a_second_person_agrees_and_an_attempt_to_do_without_is_on_record() {
    let bank = Bank::with(5, true, 1).await;
    let (ann, bob) = (operator(), person(&[Role::Admin]));
    let asked = bank.answer(&ann, &republish(), all_of_it()).await;
    let job = &asked["job"];
    assert_eq!((&job["state"], &job["isYoursToDecide"]), (&json!("OPEN"), &json!(false)), "{asked}");
    let id = json!({"id": job["id"]});
    let alone = bank.answer(&ann, &approve(), id.clone()).await;
    assert_eq!(alone["userErrors"][0]["code"], "MAINTENANCE_SAME_PERSON");
    let seen = bank.answer(&bob, &list(), json!({})).await;
    assert_eq!(seen["nodes"][0]["isYoursToDecide"], true);
    assert!(bank.again().await.is_empty(), "nothing is done yet");
    let agreed = bank.answer(&bob, &approve(), id.clone()).await;
    assert_eq!((&agreed["userErrors"], &agreed["job"]["state"]), (&json!([]), &json!("RUNNING")), "{agreed}");
    let done = bank.finish(job).await;
    assert_ne!(done["decidedBy"], done["requestedBy"]);
    assert_eq!(bank.again().await, bank.told());
    let late = bank.answer(&bob, &decline(), id).await;
    assert_eq!(late["userErrors"][0]["code"], "MAINTENANCE_JOB_DECIDED");
    let unknown = bank.answer(&bob, &approve(), json!({"id": Uuid::now_v7()})).await;
    assert_eq!(unknown["userErrors"][0]["code"], "MAINTENANCE_JOB_UNKNOWN");
    let (requested, approved) = (OperatorStep::Requested, OperatorStep::Approved);
    let steps = [(REPUBLISH, requested, 0), (REPUBLISH, approved, 0), (REPUBLISH, OperatorStep::Done, 5)];
    assert_eq!(bank.record().await, steps);
    let told = bank.database.outbox_events().await;
    let acted = told.iter().filter(|(envelope, _)| envelope.event_type.as_str() == OperatorActedV1::TYPES[3]);
    let told: Vec<_> = acted.map(|(envelope, _)| (envelope.sequence, envelope.cause.actor_id)).collect();
    assert_eq!(told, [(1, ann.id), (2, bob.id), (3, ann.id)]);
    let refusals = [
        ("maintenanceJobApprove", "MAINTENANCE_SAME_PERSON"),
        ("maintenanceJobDecline", "MAINTENANCE_JOB_DECIDED"),
        ("maintenanceJobApprove", "MAINTENANCE_JOB_UNKNOWN"),
    ];
    let refusals = refusals.map(|(command, code)| (command.to_owned(), code.to_owned()));
    assert_eq!(bank.refusals().await, refusals);
}

#[tokio::test]
async fn what_a_second_person_declines_never_begins() {
    let bank = Bank::with(5, true, 1).await;
    let asked = bank.answer(&operator(), &republish(), all_of_it()).await;
    let declined = bank.answer(&operator(), &decline(), json!({"id": asked["job"]["id"]})).await;
    assert_eq!(declined["job"]["state"], "REJECTED", "{declined}");
    // A job that is ordered later is done, and that one is not.
    let input = json!({"input": {"module": "notification", "from": {"position": 1}, "dryRun": true}});
    let counting = bank.answer(&operator(), &republish(), input).await;
    bank.finish(&counting["job"]).await;
    assert!(bank.again().await.is_empty());
    assert_eq!(bank.record().await, [(REPUBLISH, OperatorStep::Requested, 0), (REPUBLISH, OperatorStep::Rejected, 0),]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_code_and_on_record() {
    let bank = Bank::open(5).await;
    let input = |changed: Json| {
        let mut input = all_of_it()["input"].clone();
        input.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
        json!({ "input": input })
    };
    for (changed, code) in [
        (json!({"module": "nobody"}), "MAINTENANCE_MODULE_UNKNOWN"),
        (json!({"reason": " "}), "MAINTENANCE_REASON_MISSING"),
        (json!({"reason": null}), "MAINTENANCE_REASON_MISSING"),
        (json!({"eventTypes": ["account.account-created.v1"]}), "MAINTENANCE_EVENT_TYPE_UNKNOWN"),
        (json!({"from": {"position": 9}}), "MAINTENANCE_RANGE_EMPTY"),
        (json!({"to": {"position": 0}}), "MAINTENANCE_RANGE_EMPTY"),
        (json!({"from": {"recordedAt": "2999-01-01T00:00:00Z"}}), "MAINTENANCE_RANGE_EMPTY"),
    ] {
        let refused = bank.answer(&operator(), &republish(), input(changed.clone())).await;
        assert_eq!((&refused["job"], &refused["userErrors"][0]["code"]), (&Json::Null, &json!(code)), "{changed}");
    }
    for (changed, code) in [
        (json!({"projection": "notification.nothing"}), "MAINTENANCE_PROJECTION_UNKNOWN"),
        (json!({"projection": "account"}), "MAINTENANCE_PROJECTION_UNKNOWN"),
        (json!({"projection": "notification.account", "reason": ""}), "MAINTENANCE_REASON_MISSING"),
        (json!({"projection": "notification.account", "waitSeconds": 3_601}), "MAINTENANCE_PATIENCE_TOO_LONG"),
    ] {
        let mut wanted = json!({"reason": "a test"});
        wanted.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
        let refused = bank.answer(&operator(), &rebuild(), json!({"input": wanted})).await;
        assert_eq!(refused["userErrors"][0]["code"], code, "{changed}");
    }
    assert_eq!(bank.refusals().await.len(), 11);
    for from in [json!({}), json!({"position": 1, "recordedAt": "2026-01-01T00:00:00Z"})] {
        let refused = bank.ask(&operator(), &republish(), input(json!({ "from": from }))).await;
        assert_eq!(code(&refused), json!("BAD_USER_INPUT"), "{from}");
    }
    assert!(bank.record().await.is_empty());
    assert_eq!(bank.answer(&operator(), &list(), json!({})).await["nodes"], json!([]));
}

fn code(response: &Response) -> Json {
    let [error] = response.errors.as_slice() else { panic!("one error, not {:?}", response.errors) };
    let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned();
    code.expect("a code").into_json().expect("JSON")
}

#[tokio::test]
async fn only_operators_and_administrators_may_order_look_or_decide() {
    let bank = Bank::open(1).await;
    let rebuilding = json!({"input": {"projection": "notification.account", "reason": "a test"}});
    let (id, nothing) = (json!({"id": Uuid::nil()}), json!({}));
    let projections = "{ projections { name } }".to_owned();
    for (document, variables) in [
        (republish(), all_of_it()),
        (rebuild(), rebuilding),
        (approve(), id.clone()),
        (decline(), id.clone()),
        (show(), id),
        (list(), nothing.clone()),
        (projections, nothing),
    ] {
        let anonymous = bank.ask(&Actor::ANONYMOUS, &document, variables.clone()).await;
        assert_eq!(code(&anonymous), json!("UNAUTHENTICATED"), "{document}");
        for role in [Role::Customer, Role::ComplianceOfficer] {
            let refused = bank.ask(&person(&[role]), &document, variables.clone()).await;
            assert_eq!(code(&refused), json!("FORBIDDEN"), "{document}");
        }
    }
    assert!(bank.database.outbox_events().await.is_empty());
}

#[tokio::test]
async fn projections_are_listed_with_what_they_follow_from() {
    let bank = Bank::open(1).await;
    let listed = bank.answer(&operator(), "{ projections { name module subscription eventTypes } }", json!({})).await;
    let account = json!({"name": "notification.account", "module": "notification",
        "subscription": "notification.business-events", "eventTypes": [AccountCreatedV1::TYPE]});
    assert!(listed.as_array().expect("a list").contains(&account), "{listed}");
}
