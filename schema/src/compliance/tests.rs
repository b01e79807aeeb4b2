//! The sub-schema in front of the real module, each test with a database of its own.

use std::sync::Arc;

use async_graphql::{Request, Response, Value, Variables};
use futures::stream::{BoxStream, StreamExt as _};
use serde_json::{Value as Json, json};
use uuid::Uuid;
use vostro_compliance::{Compliance, ComplianceErrorCode, Config, MIGRATIONS};
use vostro_events::Cause;
use vostro_events::account::{AccountChange, AccountStatus, AccountUpdatedV1};
use vostro_events::command::CommandRefusedV1;
use vostro_events::transaction::{RouteV1, TransactionCompletedV1, TransactionKind};
use vostro_kernel::ids::IdKind;
use vostro_kernel::{Actor, ActorKind, Money, RefusalCode as _, RequestContext, Role, Roles, SystemIds};
use vostro_messaging::{Incoming, Module as _};
use vostro_testkit::Database;

use super::{Mutation, Query, Subscription, builder};
use crate::scope::RequestScope;
use crate::stitch::subgraph::{self, Subgraph};
use crate::upload::{Files, UploadedFile};

const EVERYTHING: &str =
    "{ position eventId type module aggregateType aggregateId sequence actorKind actorId command outcome
    code subjectId correlationId causationId occurredAt recordedAt hash payload }";

struct Bank {
    database: Database,
    compliance: Compliance,
    schema: Subgraph<Query, Mutation, Subscription>,
}

impl Bank {
    async fn open() -> Self {
        let database = Database::create("compliance", &MIGRATIONS).await;
        let compliance = Compliance::new(database.foundation(), Config::default()).expect("a valid configuration");
        let schema = subgraph::finish(builder().data(compliance.clone()));
        Self { database, compliance, schema }
    }

    async fn store(&self, events: &[Incoming]) {
        let archive = self.compliance.handlers().remove(0).handler;
        vostro_testkit::deliver(self.database.pool(), &archive, events).await.expect("the archive takes every event");
    }

    fn request(role: Option<Role>, document: &str, variables: Json) -> Request {
        let actor = role.map_or(Actor::ANONYMOUS, |role| Actor::person(Uuid::now_v7(), Roles::from_iter([role]), None));
        let scope = RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds));
        Request::new(document).variables(Variables::from_json(variables)).data(Arc::new(scope))
    }

    async fn ask(&self, role: Option<Role>, document: &str, variables: Json) -> Response {
        self.schema.execute(Self::request(role, document, variables)).await
    }

    fn detected(&self, role: Option<Role>, after: &Json) -> BoxStream<'static, Response> {
        const DETECTED: &str = "subscription ($after: String) { violationDetected(after: $after) {
            sequence occurredAt kind cursor violation { id ruleId } } }";
        let request = Self::request(role, DETECTED, json!({"after": after}));
        self.schema.clone().execute_stream(request).boxed()
    }

    fn updated(&self, role: Option<Role>, after: &Json) -> BoxStream<'static, Response> {
        const UPDATED: &str = "subscription ($after: String) { violationUpdated(after: $after) {
            sequence occurredAt kind cursor violation { id } evidence { id fileName } } }";
        let request = Self::request(role, UPDATED, json!({"after": after}));
        self.schema.clone().execute_stream(request).boxed()
    }

    async fn answer(&self, document: &str, variables: Json) -> Json {
        let response = self.ask(Some(Role::ComplianceOfficer), document, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")
    }
}

fn by(actor: Uuid, command: &'static str) -> Cause {
    Cause {
        correlation_id: Uuid::now_v7(),
        causation_id: Uuid::now_v7(),
        command: Some(command.into()),
        actor_kind: ActorKind::Staff,
        actor_id: Some(actor),
        traceparent: None,
    }
}

fn frozen(account_id: Uuid, sequence: i64, cause: Cause) -> Incoming {
    let event = AccountUpdatedV1 {
        account_id,
        change: AccountChange::Status,
        owner_id: None,
        currency: "EUR".parse().expect("a currency"),
        status: AccountStatus::Frozen,
        overdraft_limit_minor: 0,
        reason: None,
    };
    vostro_testkit::incoming_caused_by(&event, sequence, cause)
}

fn refused(account_id: Uuid, cause: Cause) -> Incoming {
    let event = CommandRefusedV1 {
        module: "account".into(),
        command_id: Uuid::now_v7(),
        command: "accountFreeze".into(),
        code: "ACC_INVALID_STATE".into(),
        subject_id: Some(account_id),
    };
    vostro_testkit::incoming_caused_by(&event, 1, cause)
}

fn large_transfer(source: Uuid) -> Incoming {
    let event = TransactionCompletedV1 {
        transaction_id: Uuid::now_v7(),
        kind: TransactionKind::Transfer,
        route: RouteV1 {
            source_account_id: source,
            destination_account_id: Uuid::now_v7(),
            source_owner_id: Some(Uuid::now_v7()),
            destination_owner_id: None,
        },
        amount: Money::new(5_000_000_000, "EUR".parse().expect("a currency")),
        reference: None,
        booked_at: chrono::Utc::now(),
    };
    vostro_testkit::incoming(&event, 1)
}

fn code(response: &Response) -> Option<Value> {
    let [error] = response.errors.as_slice() else { panic!("one error, not {:?}", response.errors) };
    error.extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned()
}

async fn next(stream: &mut BoxStream<'static, Response>) -> Json {
    let response = stream.next().await.expect("a response");
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    let Json::Object(data) = response.data.into_json().expect("JSON") else { panic!("an object") };
    data.into_values().next().expect("one field")
}

#[tokio::test]
async fn officers_hear_of_each_violation_once_wherever_they_were_cut_off() {
    let bank = Bank::open().await;
    bank.store(&[large_transfer(Uuid::now_v7()), large_transfer(Uuid::now_v7())]).await;
    let officer = Some(Role::ComplianceOfficer);
    let mut all = bank.detected(officer, &Json::Null);
    let mut seen = vec![next(&mut all).await, next(&mut all).await];
    assert!(
        seen.iter().all(|update| update["kind"] == "SNAPSHOT" && update["violation"]["ruleId"] == "LARGE_TRANSFER")
    );
    for _ in 0..2 {
        let news = [large_transfer(Uuid::now_v7())];
        let (update, ()) = tokio::join!(next(&mut all), bank.store(&news));
        assert_eq!(update["kind"], "CHANGE");
        seen.push(update);
    }
    let missed = large_transfer(Uuid::now_v7());
    bank.store(&[missed.clone(), missed]).await;
    for (cut, update) in seen.iter().enumerate() {
        let mut again = bank.detected(officer, &update["cursor"]);
        for known in &seen[cut + 1..] {
            assert_eq!(next(&mut again).await["violation"], known["violation"]);
        }
        let last = next(&mut again).await;
        assert_eq!(last["kind"], "CHANGE");
        assert!(seen.iter().all(|known| known["violation"] != last["violation"]), "it is the one that was missed");
    }
}

#[tokio::test]
async fn officers_hear_what_becomes_of_a_violation_and_go_on_behind_any_cursor() {
    let bank = Bank::open().await;
    let officer = Some(Role::ComplianceOfficer);
    let violation = bank.violation().await;
    let mut updates = bank.updated(officer, &Json::Null);
    let found = next(&mut updates).await;
    assert_eq!((&found["kind"], &found["sequence"], &found["evidence"]), (&json!("SNAPSHOT"), &json!(1), &Json::Null));
    for (sequence, name) in [(2, "letter.pdf"), (3, "reply.pdf")] {
        let content = format!("%PDF-1.7 {name}");
        let (update, attached) =
            tokio::join!(next(&mut updates), bank.attach(officer, &violation, name, content.as_bytes()));
        assert!(attached.errors.is_empty(), "{:?}", attached.errors);
        assert_eq!((&update["kind"], &update["sequence"]), (&json!("CHANGE"), &json!(sequence)));
        assert_eq!((&update["violation"]["id"], &update["evidence"]["fileName"]), (&json!(violation), &json!(name)));
    }
    let mut again = bank.updated(officer, &found["cursor"]);
    for sequence in [2, 3] {
        assert_eq!(next(&mut again).await["sequence"], sequence);
    }
    let state = next(&mut bank.updated(officer, &Json::Null)).await;
    assert_eq!((&state["kind"], &state["sequence"]), (&json!("SNAPSHOT"), &json!(3)));
    assert_eq!(state["evidence"]["fileName"], "reply.pdf");
    // The other subscription is about what is found, and takes no cursor of this one.
    assert_eq!(next(&mut bank.detected(officer, &Json::Null)).await["sequence"], 1);
    let refused = bank.detected(officer, &found["cursor"]).next().await.expect("an answer");
    assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()));
}

#[tokio::test]
async fn an_officer_who_reads_too_slowly_is_told_so_with_the_state() {
    let bank = Bank::open().await;
    let officer = Some(Role::ComplianceOfficer);
    bank.violation().await;
    let mut slow = bank.updated(officer, &Json::Null);
    assert_eq!(next(&mut slow).await["kind"], "SNAPSHOT");
    for _ in 0..5 {
        let payments: Vec<_> = (0..250).map(|_| large_transfer(Uuid::now_v7())).collect();
        bank.store(&payments).await;
    }
    let latest = bank.answer("{ violations(first: 20) { nodes { id } } }", json!({})).await;
    let latest = latest["violations"]["nodes"].as_array().expect("a list").iter().rev();
    for (number, known) in latest.enumerate() {
        let update = next(&mut slow).await;
        assert_eq!(update["kind"], if number == 0 { "LAGGED" } else { "CHANGE" });
        assert_eq!(update["violation"]["id"], known["id"]);
    }
    bank.store(&[large_transfer(Uuid::now_v7())]).await;
    assert_eq!(next(&mut slow).await["kind"], "CHANGE", "and it goes on");
}

#[tokio::test]
async fn nobody_else_hears_of_violations_and_whoever_tries_is_on_record() {
    let bank = Bank::open().await;
    for (role, code) in
        [(None, "UNAUTHENTICATED"), (Some(Role::Customer), "FORBIDDEN"), (Some(Role::Operator), "FORBIDDEN")]
    {
        for mut stream in [bank.detected(role, &Json::Null), bank.updated(role, &Json::Null)] {
            let refused = stream.next().await.expect("an answer");
            let [error] = refused.errors.as_slice() else { panic!("one error, not {:?}", refused.errors) };
            let found = error.extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned();
            assert_eq!(found, Some(Value::from(code)), "{role:?}");
        }
    }
    let refused = bank.database.published("compliance.command-refused.v1").await;
    let commands: Vec<_> = refused.iter().map(|event| event["command"].clone()).collect();
    assert_eq!(commands, ["violationDetected", "violationUpdated", "violationDetected", "violationUpdated"]);
}

#[tokio::test]
async fn an_event_is_shown_with_everything_an_examiner_asks_for() {
    let bank = Bank::open().await;
    let (account, teller) = (Uuid::now_v7(), Uuid::now_v7());
    let event = frozen(account, 1, by(teller, "accountFreeze"));
    bank.store(std::slice::from_ref(&event)).await;
    let answer = bank.answer(&format!("{{ auditEvents {{ nodes {EVERYTHING} }} }}"), json!({})).await;
    let mut shown = answer["auditEvents"]["nodes"][0].clone();
    let hash = shown["hash"].take();
    assert_eq!(hash.as_str().map(str::len), Some(64));
    assert!(shown["recordedAt"].take().is_string());
    let envelope = &event.envelope;
    let expected = json!({
        "position": 1,
        "eventId": envelope.id,
        "type": "account.account-updated.v1",
        "module": "account",
        "aggregateType": "account",
        "aggregateId": IdKind::Account.encode(account),
        "sequence": 1,
        "actorKind": "STAFF",
        "actorId": IdKind::User.encode(teller),
        "command": "accountFreeze",
        "outcome": "ACCEPTED",
        "code": null,
        "subjectId": null,
        "correlationId": envelope.cause.correlation_id,
        "causationId": envelope.cause.causation_id,
        "occurredAt": envelope.occurred_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "recordedAt": null,
        "hash": null,
        "payload": event.data.get(),
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn filters_and_cursors_narrow_the_log() {
    let bank = Bank::open().await;
    let (account, teller) = (Uuid::now_v7(), Uuid::now_v7());
    let events = [
        frozen(account, 1, by(teller, "accountFreeze")),
        refused(account, by(teller, "accountFreeze")),
        frozen(Uuid::now_v7(), 1, by(Uuid::now_v7(), "accountFreeze")),
    ];
    bank.store(&events).await;
    let document = "query ($filter: AuditEventFilter, $first: Int, $after: String) {
        auditEvents(filter: $filter, first: $first, after: $after) {
            nodes { position code } pageInfo { hasNextPage endCursor } } }";
    let positions = async |filter: Json| {
        let answer = bank.answer(document, json!({"filter": filter})).await;
        let nodes = answer["auditEvents"]["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().filter_map(|node| node["position"].as_i64()).collect::<Vec<_>>()
    };
    assert_eq!(positions(json!({"subjectId": IdKind::Account.encode(account)})).await, [2, 1]);
    assert_eq!(positions(json!({"subjectId": account})).await, [2, 1], "a plain UUID will do");
    assert_eq!(positions(json!({"actorId": IdKind::User.encode(teller), "outcome": "REFUSED"})).await, [2]);
    assert_eq!(positions(json!({"type": "account.account-updated.v1"})).await, [3, 1]);
    assert_eq!(positions(json!({"correlationId": events[1].envelope.cause.correlation_id})).await, [2]);
    assert_eq!(positions(json!({"to": "2020-01-01T00:00:00Z"})).await, Vec::<i64>::new());
    assert_eq!(positions(json!({"from": "2020-01-01T00:00:00Z"})).await, [3, 2, 1]);

    let first = bank.answer(document, json!({"first": 2})).await;
    let info = &first["auditEvents"]["pageInfo"];
    assert_eq!(info["hasNextPage"], json!(true));
    let last = bank.answer(document, json!({"first": 2, "after": info["endCursor"]})).await;
    assert_eq!(last["auditEvents"]["nodes"][0]["position"], json!(1));
    assert_eq!(last["auditEvents"]["pageInfo"]["hasNextPage"], json!(false));
}

#[tokio::test]
async fn a_trail_shows_refused_commands_about_the_object() {
    let bank = Bank::open().await;
    let account = Uuid::now_v7();
    bank.store(&[
        frozen(account, 1, by(Uuid::now_v7(), "accountFreeze")),
        refused(account, by(Uuid::now_v7(), "accountFreeze")),
    ])
    .await;
    let document = "query ($id: ID!) { auditTrail(aggregateId: $id) { position outcome code subjectId } }";
    let answer = bank.answer(document, json!({"id": IdKind::Account.encode(account)})).await;
    assert_eq!(
        answer["auditTrail"],
        json!([
            {"position": 1, "outcome": "ACCEPTED", "code": null, "subjectId": null},
            {"position": 2, "outcome": "REFUSED", "code": "ACC_INVALID_STATE", "subjectId": account},
        ])
    );
}

#[tokio::test]
async fn the_proof_names_what_is_wrong() {
    let bank = Bank::open().await;
    bank.store(&[frozen(Uuid::now_v7(), 1, by(Uuid::now_v7(), "accountFreeze"))]).await;
    let document = "{ auditVerification { ok checked firstBrokenPosition reason headPosition headHash } }";
    let proof = bank.answer(document, json!({})).await["auditVerification"].clone();
    assert_eq!((&proof["ok"], &proof["checked"], &proof["headPosition"]), (&json!(true), &json!(1), &json!(1)));
    assert_eq!((&proof["firstBrokenPosition"], &proof["reason"]), (&json!(null), &json!(null)));
    bank.database
        .tamper("alter table compliance.event disable trigger user; update compliance.event set code = 'x'")
        .await;
    let proof = bank.answer(document, json!({})).await["auditVerification"].clone();
    assert_eq!((&proof["ok"], &proof["firstBrokenPosition"]), (&json!(false), &json!(1)));
    assert!(proof["reason"].as_str().is_some_and(|reason| reason.starts_with("CONTENT_CHANGED")), "{proof}");
}

#[tokio::test]
async fn violations_gaps_and_counts_are_shown() {
    let bank = Bank::open().await;
    let (source, gapped) = (Uuid::now_v7(), Uuid::now_v7());
    let payment = large_transfer(source);
    bank.store(&[payment.clone(), frozen(gapped, 3, by(Uuid::now_v7(), "accountFreeze"))]).await;
    bank.database.tamper("update compliance.event_gap set opened_at = opened_at - interval '31 seconds'").await;
    let document = "{
        violations { nodes { id ruleId ruleVersion severity subjectId transactionIds score threshold explanation } }
        eventGaps { module aggregateType aggregateId missingFrom missingTo }
        eventCounts { type count }
    }";
    let answer = bank.answer(document, json!({})).await;
    let mut violation = answer["violations"]["nodes"][0].clone();
    assert!(violation["id"].take().as_str().is_some_and(|id| id.starts_with("vio_")));
    assert_eq!(
        violation,
        json!({
            "id": null,
            "ruleId": "LARGE_TRANSFER",
            "ruleVersion": 1,
            "severity": "HIGH",
            "subjectId": IdKind::Account.encode(source),
            "transactionIds": [IdKind::Transaction.encode(payment.envelope.aggregate_id)],
            "score": "5000000000",
            "threshold": "1000000",
            "explanation": "One payment of 50000000.00 EUR; payments from 10000.00 EUR on are reported.",
        })
    );
    let gap = json!({"module": "account", "aggregateType": "account", "aggregateId": IdKind::Account.encode(gapped),
        "missingFrom": 1, "missingTo": 2});
    assert_eq!(answer["eventGaps"], json!([gap]));
    assert_eq!(
        answer["eventCounts"],
        json!([
            {"type": "account.account-updated.v1", "count": 1},
            {"type": "transaction.completed.v1", "count": 1},
        ])
    );
}

const QUESTIONS: [&str; 6] = [
    "{ auditEvents { nodes { position } } }",
    "{ auditTrail(aggregateId: \"01890a5d-ac96-774b-bcce-b302099a8057\") { position } }",
    "{ auditVerification { ok } }",
    "{ violations { nodes { id } } }",
    "{ eventGaps { aggregateId } }",
    "{ eventCounts { type } }",
];

#[tokio::test]
async fn only_officers_and_administrators_are_answered() {
    let bank = Bank::open().await;
    for question in QUESTIONS {
        for role in [Role::ComplianceOfficer, Role::Admin] {
            let response = bank.ask(Some(role), question, json!({})).await;
            assert!(response.errors.is_empty(), "{question}: {:?}", response.errors);
        }
        for role in [Role::Customer, Role::Operator] {
            assert_eq!(code(&bank.ask(Some(role), question, json!({})).await), Some("FORBIDDEN".into()), "{question}");
        }
        assert_eq!(code(&bank.ask(None, question, json!({})).await), Some("UNAUTHENTICATED".into()), "{question}");
    }
    let refusals = bank.database.published("compliance.command-refused.v1").await;
    assert_eq!(refusals.len(), QUESTIONS.len() * 2, "each attempt is on record");
}

#[tokio::test]
async fn what_is_no_id_is_bad_user_input() {
    let bank = Bank::open().await;
    for question in [
        "{ auditTrail(aggregateId: \"nonsense\") { position } }",
        "{ auditEvents(filter: {actorId: \"acc_01890a5d-ac96-774b-bcce-b302099a8057\"}) { nodes { position } } }",
        "{ auditEvents(filter: {correlationId: \"7\"}) { nodes { position } } }",
        "{ auditEvents(first: 101) { nodes { position } } }",
        "{ violations(after: \"x\") { nodes { id } } }",
    ] {
        let response = bank.ask(Some(Role::ComplianceOfficer), question, json!({})).await;
        assert_eq!(code(&response), Some("BAD_USER_INPUT".into()), "{question}");
    }
}

const ATTACH: &str = "mutation ($input: ComplianceEvidenceAttachInput!) { complianceEvidenceAttach(input: $input) {
    replayed evidence { id violationId fileName mediaType size sha256 attachedAt } userErrors { code field } } }";

impl Bank {
    /// Attaches a document, as the door hands it over.
    async fn attach(&self, role: Option<Role>, violation: &str, name: &str, content: &[u8]) -> Response {
        let file = UploadedFile { name: name.to_owned(), media_type: None, content: content.to_vec() };
        let actor = role.map_or(Actor::ANONYMOUS, |role| Actor::person(Uuid::now_v7(), Roles::from_iter([role]), None));
        let scope = RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds));
        let scope = scope.with_files(Files::from([("token".to_owned(), file)]));
        let variables = json!({"input": {"violationId": violation, "file": "token"}});
        let request = Request::new(ATTACH).variables(Variables::from_json(variables)).data(Arc::new(scope));
        self.schema.execute(request).await
    }

    /// The id of a violation that was found.
    async fn violation(&self) -> String {
        self.store(&[large_transfer(Uuid::now_v7())]).await;
        let found = self.answer("{ violations(first: 1) { nodes { id } } }", json!({})).await;
        found["violations"]["nodes"][0]["id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test]
async fn a_document_is_kept_once_listed_and_read_back() {
    let bank = Bank::open().await;
    let violation = bank.violation().await;
    let officer = Some(Role::ComplianceOfficer);
    let mut answers = Vec::new();
    for replayed in [false, true] {
        let response = bank.attach(officer, &violation, "letter.pdf", b"%PDF-1.7").await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        let answer = response.data.into_json().expect("JSON")["complianceEvidenceAttach"].take();
        assert_eq!((&answer["replayed"], &answer["userErrors"]), (&json!(replayed), &json!([])));
        answers.push(answer["evidence"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    let kept = &answers[0];
    assert_eq!(
        (&kept["fileName"], &kept["mediaType"], &kept["size"]),
        (&json!("letter.pdf"), &json!("application/pdf"), &json!(8))
    );
    let listed = "query ($id: ID!) { violationEvidence(violationId: $id) { nodes { id sha256 } } }";
    let listed = bank.answer(listed, json!({"id": violation})).await;
    assert_eq!(listed["violationEvidence"]["nodes"], json!([{"id": kept["id"], "sha256": kept["sha256"]}]));
    let content = bank.answer("query ($id: ID!) { evidenceContent(id: $id) }", json!({"id": kept["id"]})).await;
    assert_eq!(content["evidenceContent"], "JVBERi0xLjc=");
    let told = bank.database.take_published("compliance.evidence-attached.v1").await;
    assert_eq!(told.len(), 1, "on record once");
}

#[tokio::test]
async fn a_document_is_refused_for_a_reason_that_is_data() {
    let bank = Bank::open().await;
    let violation = bank.violation().await;
    let nobodys = IdKind::Violation.encode(Uuid::now_v7());
    let cases: [(&str, &str, &[u8], &str); 4] = [
        (&nobodys, "a.pdf", b"%PDF-1.7", "CMP_VIOLATION_NOT_FOUND"),
        (&violation, "../a.pdf", b"%PDF-1.7", "CMP_EVIDENCE_NAME_INVALID"),
        (&violation, "a.pdf", b"", "CMP_EVIDENCE_EMPTY"),
        (&violation, "a.exe", b"MZ\0\0", "CMP_EVIDENCE_TYPE_NOT_ALLOWED"),
    ];
    for (violation, name, content, code) in cases {
        let response = bank.attach(Some(Role::Admin), violation, name, content).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        let answer = response.data.into_json().expect("JSON")["complianceEvidenceAttach"].take();
        assert_eq!((&answer["evidence"], &answer["userErrors"][0]["code"]), (&Json::Null, &json!(code)));
    }
    let refused = bank.database.take_published("compliance.command-refused.v1").await;
    assert_eq!(refused.len(), 4, "each is on record");
}

#[tokio::test]
async fn only_officers_attach_and_a_file_comes_as_one() {
    let bank = Bank::open().await;
    let violation = bank.violation().await;
    for (role, code) in [(None, "UNAUTHENTICATED"), (Some(Role::Operator), "FORBIDDEN")] {
        let response = bank.attach(role, &violation, "a.pdf", b"%PDF-1.7").await;
        assert_eq!(code_of(&response).as_deref(), Some(code));
    }
    let made_up = json!({"input": {"violationId": violation, "file": "token"}});
    let response = bank.ask(Some(Role::Admin), ATTACH, made_up).await;
    assert_eq!(code_of(&response).as_deref(), Some("BAD_USER_INPUT"));
}

const ENTITIES: &str = "query ($keys: [_Any!]!) { _entities(representations: $keys) {
    ... on Violation { id ruleId } ... on Evidence { id fileName } } }";

impl Bank {
    /// A violation and a document with it, each as a key between keys that lead nowhere, and the answer to them all.
    async fn objects(&self) -> (Json, Json) {
        let violation = self.violation().await;
        let kept = self.attach(Some(Role::ComplianceOfficer), &violation, "letter.pdf", b"%PDF-1.7").await;
        let document = kept.data.into_json().expect("JSON")["complianceEvidenceAttach"]["evidence"]["id"].take();
        let nobodys = |kind: IdKind| kind.encode(Uuid::now_v7());
        let key = |of: &str, id: &str| json!({"__typename": of, "id": id});
        let keys = json!([
            key("Violation", &nobodys(IdKind::Violation)),
            key("Violation", &violation),
            key("Evidence", document.as_str().expect("an id")),
            key("Evidence", &nobodys(IdKind::Evidence)),
        ]);
        let shown = json!([
            null,
            {"id": violation, "ruleId": "LARGE_TRANSFER"},
            {"id": document, "fileName": "letter.pdf"},
            null,
        ]);
        (keys, shown)
    }
}

#[tokio::test]
async fn violations_and_documents_are_found_by_key_and_others_are_null() {
    let bank = Bank::open().await;
    let (keys, shown) = bank.objects().await;
    assert_eq!(bank.answer(ENTITIES, json!({"keys": keys})).await["_entities"], shown);
}

#[tokio::test]
async fn who_may_not_look_into_the_audit_log_finds_nothing_by_key() {
    let bank = Bank::open().await;
    let (keys, _) = bank.objects().await;
    for role in [Role::Customer, Role::Operator] {
        let hidden = bank.ask(Some(role), ENTITIES, json!({"keys": keys})).await;
        assert!(hidden.errors.is_empty(), "{:?}", hidden.errors);
        assert_eq!(hidden.data.into_json().expect("JSON")["_entities"], json!([null, null, null, null]));
    }
    let nobody = bank.ask(None, ENTITIES, json!({"keys": keys})).await;
    assert_eq!(code_of(&nobody).as_deref(), Some("UNAUTHENTICATED"));
}

#[tokio::test]
async fn objects_of_a_kind_are_asked_for_together_and_who_may_not_is_on_record_once_for_each() {
    let bank = Bank::open().await;
    let (keys, _) = bank.objects().await;
    bank.ask(Some(Role::Operator), ENTITIES, json!({"keys": keys})).await;
    let refused = bank.database.published("compliance.command-refused.v1").await;
    let told: Vec<_> = refused.iter().map(|event| (&event["command"], &event["code"])).collect();
    assert_eq!(told, [(&json!("node"), &json!("CMP_FORBIDDEN")); 2]);
}

#[tokio::test]
async fn what_somebody_may_not_look_at_by_its_id_is_named_in_the_audit_log() {
    let bank = Bank::open().await;
    let violation = Uuid::now_v7();
    let key = json!({"__typename": "Violation", "id": IdKind::Violation.encode(violation)});
    bank.ask(Some(Role::Customer), ENTITIES, json!({"keys": [key]})).await;
    let refused = bank.database.published("compliance.command-refused.v1").await;
    assert_eq!(refused[0]["subjectId"], json!(violation));
}

#[test]
fn the_schema_knows_every_code() {
    for code in ComplianceErrorCode::ALL {
        assert!(super::ComplianceErrorCode::named(code.code()).is_some(), "{code:?}");
    }
}

fn code_of(response: &Response) -> Option<String> {
    let extensions = response.errors.first()?.extensions.as_ref()?;
    match extensions.get("code")? {
        Value::String(code) => Some(code.clone()),
        _ => None,
    }
}
