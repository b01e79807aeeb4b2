//! The sub-schema in front of the real module, each test with a database of its own.

use std::sync::Arc;

use async_graphql::{Request, Response, Value, Variables};
use futures::StreamExt as _;
use serde_json::{Value as Json, json};
use uuid::Uuid;
use vostro_events::auth::{LoginMethod, UserLoggedInV1};
use vostro_kernel::ids::IdKind;
use vostro_kernel::{Actor, RefusalCode as _, RequestContext, Role, Roles, SystemIds};
use vostro_messaging::{ContactKey, Module as _};
use vostro_notification::{Config, MIGRATIONS, Notifications};
use vostro_testkit::{Database, deliver, incoming};

use super::{Mutation, NotificationErrorCode, Query, Subscription, builder};
use crate::scope::RequestScope;
use crate::stitch::subgraph::{self, Subgraph};

const LIST: &str = "query ($filter: NotificationFilter, $first: Int, $after: String, $last: Int, $before: String) {
    notifications(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
        nodes { id topic channel status title body sourceEventId createdAt deliveredAt readAt sequence }
        pageInfo { hasPreviousPage hasNextPage startCursor endCursor }
    }
}";
const MARK_READ: &str = "mutation ($id: ID!) {
    notificationMarkRead(input: {notificationId: $id}) { notification { id status } userErrors { code message field } }
}";
const PREFER: &str = "mutation ($input: PreferencesUpdateInput!) {
    preferencesUpdate(input: $input) { preferences { topic channel enabled mandatory } userErrors { code field } }
}";

struct Bank {
    database: Database,
    module: Notifications,
    schema: Subgraph<Query, Mutation, Subscription>,
    user: Uuid,
}

impl Bank {
    async fn open() -> Self {
        let database = Database::create("notification", &MIGRATIONS).await;
        let key = Arc::new(ContactKey::derive("a secret of this test"));
        let module = Notifications::new(database.foundation(), Config::default(), key).expect("a valid configuration");
        let schema = subgraph::finish(builder().data(module.clone()));
        Self { database, module, schema, user: Uuid::now_v7() }
    }

    /// Has the bank tell the user something.
    async fn tell(&self) {
        let login = UserLoggedInV1 { user_id: self.user, session_id: Uuid::now_v7(), method: LoginMethod::Password };
        let handler = self.module.handlers().remove(0).handler;
        deliver(self.database.pool(), &handler, &[incoming(&login, 2)]).await.expect("the event is handled");
    }

    fn request(&self, person: Option<Uuid>, document: &str, variables: Json) -> Request {
        let roles = Roles::from_iter([Role::Customer]);
        let actor = person.map_or(Actor::ANONYMOUS, |id| Actor::person(id, roles, None));
        let scope = RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds));
        Request::new(document).variables(Variables::from_json(variables)).data(Arc::new(scope))
    }

    async fn ask(&self, person: Option<Uuid>, document: &str, variables: Json) -> Response {
        self.schema.execute(self.request(person, document, variables)).await
    }

    async fn answer(&self, person: Uuid, document: &str, variables: Json) -> Json {
        let response = self.ask(Some(person), document, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")
    }
}

fn code(response: &Response) -> Option<Value> {
    let [error] = response.errors.as_slice() else { panic!("one error, not {:?}", response.errors) };
    error.extensions.as_ref().and_then(|extensions| extensions.get("code")).cloned()
}

#[tokio::test]
async fn notifications_are_listed_newest_first_in_pages() {
    let bank = Bank::open().await;
    for _ in 0..3 {
        bank.tell().await;
    }
    let first = bank.answer(bank.user, LIST, json!({"first": 2})).await["notifications"].clone();
    let newest = &first["nodes"][0];
    assert_eq!((&newest["topic"], &newest["channel"]), (&json!("SECURITY"), &json!("IN_APP")));
    assert_eq!((&newest["status"], &newest["title"]), (&json!("DELIVERED"), &json!("New login")));
    assert!(newest["id"].as_str().expect("an id").starts_with("ntf_"));
    assert!(newest["deliveredAt"].is_string() && newest["readAt"].is_null());
    assert_eq!(first["pageInfo"]["hasNextPage"], json!(true));
    let delivered = bank.database.published("notification.delivered.v1").await;
    assert_eq!(delivered.len(), 2, "what is not on the page is not delivered");

    let after = first["pageInfo"]["endCursor"].clone();
    let rest = bank.answer(bank.user, LIST, json!({"first": 2, "after": after})).await["notifications"].clone();
    assert_eq!((rest["nodes"].as_array().map(Vec::len), &rest["pageInfo"]["hasNextPage"]), (Some(1), &json!(false)));
    assert!(rest["nodes"][0]["sequence"].as_i64() < first["nodes"][1]["sequence"].as_i64());
}

#[tokio::test]
async fn notifications_are_paged_back_from_a_cursor_and_only_those_of_the_page_are_delivered() {
    let bank = Bank::open().await;
    for _ in 0..3 {
        bank.tell().await;
    }
    let last = bank.answer(bank.user, LIST, json!({"last": 1})).await["notifications"].clone();
    let info = &last["pageInfo"];
    assert_eq!((&info["hasPreviousPage"], &info["hasNextPage"]), (&json!(true), &json!(false)));
    assert_eq!(bank.database.published("notification.delivered.v1").await.len(), 1);

    let before = json!({"last": 5, "before": info["startCursor"]});
    let rest = bank.answer(bank.user, LIST, before).await["notifications"].clone();
    let info = &rest["pageInfo"];
    assert_eq!((&info["hasPreviousPage"], &info["hasNextPage"]), (&json!(false), &json!(true)));
    let all = bank.answer(bank.user, LIST, json!({})).await["notifications"]["nodes"].clone();
    assert_eq!(json!([rest["nodes"][0], rest["nodes"][1], last["nodes"][0]]), all);
}

#[tokio::test]
async fn a_page_in_both_directions_is_refused() {
    let bank = Bank::open().await;
    let refused = bank.ask(Some(bank.user), LIST, json!({"first": 1, "last": 1})).await;
    assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()));
}

#[tokio::test]
async fn what_was_read_is_no_longer_unread() {
    let bank = Bank::open().await;
    bank.tell().await;
    bank.tell().await;
    let unread = json!({"filter": {"unread": true, "channel": "IN_APP"}});
    let list = bank.answer(bank.user, LIST, unread.clone()).await;
    let id = list["notifications"]["nodes"][0]["id"].clone();
    let answer = bank.answer(bank.user, MARK_READ, json!({"id": id})).await;
    let expected = json!({"notification": {"id": id, "status": "READ"}, "userErrors": []});
    assert_eq!(answer["notificationMarkRead"], expected);
    assert_eq!(bank.answer(bank.user, "{ unreadCount }", json!({})).await["unreadCount"], json!(1));
    let list = bank.answer(bank.user, LIST, unread).await;
    assert_eq!(list["notifications"]["nodes"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn somebody_elses_notification_is_not_found() {
    let bank = Bank::open().await;
    bank.tell().await;
    let list = bank.answer(bank.user, LIST, json!({})).await;
    let id = list["notifications"]["nodes"][0]["id"].clone();
    let stranger = Uuid::now_v7();
    let answer = bank.answer(stranger, MARK_READ, json!({"id": id})).await;
    assert_eq!(answer["notificationMarkRead"]["notification"], json!(null));
    assert_eq!(answer["notificationMarkRead"]["userErrors"][0]["code"], json!("NTF_NOT_FOUND"));
    assert_eq!(bank.answer(stranger, LIST, json!({})).await["notifications"]["nodes"], json!([]));
    let response = bank.ask(Some(stranger), MARK_READ, json!({"id": "acc_00000000-0000-0000-0000-000000000000"})).await;
    assert_eq!(code(&response), Some("BAD_USER_INPUT".into()));
}

#[tokio::test]
async fn entities_are_found_by_key_and_others_are_null() {
    const ENTITIES: &str =
        "query ($keys: [_Any!]!) { _entities(representations: $keys) { ... on Notification { id } } }";
    let bank = Bank::open().await;
    bank.tell().await;
    let id = bank.answer(bank.user, LIST, json!({})).await["notifications"]["nodes"][0]["id"].clone();
    let unknown = json!(IdKind::Notification.encode(Uuid::now_v7()));
    let key = |id: &Json| json!({"__typename": "Notification", "id": id});
    let keys = json!({"keys": [key(&unknown), key(&id)]});
    assert_eq!(bank.answer(bank.user, ENTITIES, keys.clone()).await["_entities"], json!([null, {"id": id}]));
    assert_eq!(bank.answer(Uuid::now_v7(), ENTITIES, keys).await["_entities"], json!([null, null]));
}

#[tokio::test]
async fn preferences_are_changed_unless_they_are_mandatory() {
    let bank = Bank::open().await;
    let input = |topic, enabled| json!({"input": {"topic": topic, "channel": "IN_APP", "enabled": enabled}});
    let answer = bank.answer(bank.user, PREFER, input("PAYMENT_SENT", false)).await;
    let preferences = answer["preferencesUpdate"]["preferences"].clone();
    let off = json!({"topic": "PAYMENT_SENT", "channel": "IN_APP", "enabled": false, "mandatory": false});
    assert!(preferences.as_array().expect("a list").contains(&off), "{preferences}");
    let query = "{ notificationPreferences { topic channel enabled mandatory } }";
    assert_eq!(bank.answer(bank.user, query, json!({})).await["notificationPreferences"], preferences);

    let answer = bank.answer(bank.user, PREFER, input("SECURITY", false)).await;
    let refusal = json!([{"code": "NTF_TOPIC_MANDATORY", "field": ["input", "enabled"]}]);
    assert_eq!(answer["preferencesUpdate"], json!({"preferences": null, "userErrors": refusal}));
}

#[tokio::test]
async fn a_subscription_begins_with_what_is_undelivered_and_goes_on_live() {
    const RECEIVED: &str =
        "subscription ($after: Int) { notificationReceived(afterSequence: $after) { sequence title status } }";
    let bank = Bank::open().await;
    bank.tell().await;
    let next = async |stream: &mut futures::stream::BoxStream<'_, Response>| {
        let response = stream.next().await.expect("a response");
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")["notificationReceived"].clone()
    };
    let mut stream = bank.schema.execute_stream(bank.request(Some(bank.user), RECEIVED, json!({}))).boxed();
    let first = next(&mut stream).await;
    assert_eq!((&first["title"], &first["status"]), (&json!("New login"), &json!("DELIVERED")));
    let (second, ()) = tokio::join!(next(&mut stream), bank.tell());
    drop(stream);

    let resumed = json!({"after": first["sequence"]});
    let mut stream = bank.schema.execute_stream(bank.request(Some(bank.user), RECEIVED, resumed)).boxed();
    assert_eq!(next(&mut stream).await["sequence"], second["sequence"]);
}

#[tokio::test]
async fn a_subscription_goes_on_behind_the_cursor_of_its_last_update() {
    const ARRIVED: &str = "subscription ($after: String) { notificationArrived(after: $after) {
        sequence occurredAt kind cursor notification { sequence title } } }";
    let bank = Bank::open().await;
    let arrived = |variables| bank.schema.execute_stream(bank.request(Some(bank.user), ARRIVED, variables)).boxed();
    let next = async |stream: &mut futures::stream::BoxStream<'_, Response>| {
        let response = stream.next().await.expect("a response");
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")["notificationArrived"].clone()
    };
    bank.tell().await;
    let mut stream = arrived(json!({}));
    let first = next(&mut stream).await;
    assert_eq!((&first["kind"], &first["notification"]["title"]), (&json!("SNAPSHOT"), &json!("New login")));
    assert_eq!(first["sequence"], first["notification"]["sequence"]);
    let (second, ()) = tokio::join!(next(&mut stream), bank.tell());
    assert_eq!(second["kind"], "CHANGE");
    drop(stream);
    bank.tell().await;

    let mut stream = arrived(json!({"after": first["cursor"]}));
    let again = [next(&mut stream).await, next(&mut stream).await];
    assert!(again.iter().all(|update| update["kind"] == "CHANGE"), "{again:?}");
    assert_eq!(again[0]["sequence"], second["sequence"], "in the order of their numbers");
    let refused = arrived(json!({"after": "1"})).next().await.expect("an answer");
    assert_eq!(code(&refused), Some("BAD_USER_INPUT".into()));
}

#[tokio::test]
async fn nobody_gets_anything_without_logging_in() {
    let bank = Bank::open().await;
    let id = json!({"id": IdKind::Notification.encode(Uuid::now_v7())});
    let input = json!({"input": {"topic": "ACCOUNT", "channel": "EMAIL", "enabled": true}});
    let documents = [
        (LIST, json!({})),
        ("{ unreadCount }", json!({})),
        ("{ notificationPreferences { enabled } }", json!({})),
        (MARK_READ, id),
        (PREFER, input),
    ];
    for (document, variables) in documents {
        let response = bank.ask(None, document, variables).await;
        assert_eq!(code(&response), Some("UNAUTHENTICATED".into()), "{document}");
    }
    let request = bank.request(None, "subscription { notificationReceived { id } }", json!({}));
    let response = bank.schema.execute_stream(request).boxed().next().await.expect("an answer");
    assert_eq!(code(&response), Some("UNAUTHENTICATED".into()));
}

#[tokio::test]
async fn a_lost_database_is_a_fault_that_may_pass() {
    let bank = Bank::open().await;
    bank.database.pool().close().await;
    let response = bank.ask(Some(bank.user), "{ unreadCount }", json!({})).await;
    assert_eq!(code(&response), Some("MODULE_UNAVAILABLE".into()));
}

#[test]
fn every_refusal_of_the_module_has_its_code_in_the_schema() {
    for code in vostro_notification::NotificationErrorCode::ALL {
        assert!(NotificationErrorCode::named(code.code()).is_some(), "{code:?}");
    }
}

#[test]
fn the_subgraph_owns_notifications() {
    let sdl = subgraph::sdl(&subgraph::finish(builder()));
    for line in [
        "type Notification @key(fields: \"id\")",
        "type NotificationConnection @shareable",
        "notificationArrived(after: String): NotificationArrival! @authenticated",
        "notificationReceived(afterSequence: Int): Notification!",
        "notifications(filter: NotificationFilter, first: Int, after: String, last: Int, before: String): \
            NotificationConnection @authenticated",
        "unreadCount: Int @authenticated",
    ] {
        assert!(sdl.contains(line), "{line}\n{sdl}");
    }
}
