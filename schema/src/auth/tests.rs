//! The sub-schema in front of the real module, each test with a database of its own.

use std::sync::Arc;

use async_graphql::{EmptySubscription, Request, Response, Variables};
use serde_json::{Value as Json, json};
use vostro_auth::{Auth, Config, NewStaff};
use vostro_kernel::{Actor, RefusalCode as _, RequestContext, Role, SystemIds};
use vostro_messaging::Module as _;
use vostro_testkit::Database;

use super::{AuthErrorCode, Mutation, Query, builder};
use crate::door::{AuthFault, Authenticator as _, Principal};
use crate::scope::RequestScope;
use crate::stitch::subgraph::{self, Subgraph};

const PASSWORD: &str = "umber gantry folio tern";
const REGISTER: &str = "mutation ($input: UserRegisterInput!) {
    userRegister(input: $input) { user { id email displayName locale roles status } userErrors { code message field } }
}";
const LOGIN: &str = "mutation ($input: LoginInput!) {
    login(input: $input) {
        tokens { accessToken refreshToken expiresAt tokenType } user { id email } userErrors { code message field }
    }
}";
const REFRESH: &str = "mutation ($input: TokenRefreshInput!) {
    tokenRefresh(input: $input) { tokens { accessToken refreshToken } userErrors { code } }
}";
const ASSIGN: &str = "mutation ($input: RoleAssignInput!) {
    roleAssign(input: $input) { user { roles } userErrors { code } }
}";

struct Bank {
    auth: Auth,
    schema: Subgraph<Query, Mutation, EmptySubscription>,
    database: Database,
}

impl Bank {
    async fn open() -> Self {
        let database = Database::create("auth", &vostro_auth::MIGRATIONS).await;
        let config = Config {
            secret: "a secret of the tests, long enough for everybody".into(),
            contact_secret: "the contact secret of the tests, long enough too".into(),
            memory_kib: 64,
            iterations: 1,
            allow_weak_hashing: true,
            stale_seconds: 3600,
            ..Config::default()
        };
        let auth = Auth::new(database.foundation(), config).expect("a valid configuration");
        auth.start().await.expect("starts");
        let schema = subgraph::finish(builder().data(auth.clone()));
        Self { auth, schema, database }
    }

    /// What the door makes of a token.
    async fn caller(&self, token: Option<&str>) -> Result<Principal, AuthFault> {
        self.auth.verifier().authenticate(token).await
    }

    async fn ask(&self, token: Option<&str>, document: &str, variables: Json) -> Response {
        let actor = self.caller(token).await.expect("a valid token").actor;
        let scope = RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds));
        let request = Request::new(document).variables(Variables::from_json(variables)).data(Arc::new(scope));
        self.schema.execute(request).await
    }

    async fn answer(&self, token: Option<&str>, document: &str, variables: Json) -> Json {
        let response = self.ask(token, document, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().expect("JSON")
    }

    /// The code of the one top-level error.
    async fn fault(&self, token: Option<&str>, document: &str, variables: Json) -> String {
        let response = self.ask(token, document, variables).await;
        assert_eq!(response.errors.len(), 1, "{:?}", response.errors);
        let extensions = response.errors[0].extensions.as_ref().expect("a code");
        extensions.get("code").cloned().expect("a code").into_json().expect("JSON").as_str().expect("text").to_owned()
    }

    /// Registers and logs in; the user's id and the tokens.
    async fn customer(&self, email: &str) -> (String, Json) {
        let registered = self.answer(None, REGISTER, registration(email)).await;
        let id = registered["userRegister"]["user"]["id"].as_str().expect("registered").to_owned();
        (id, self.login(email).await)
    }

    async fn login(&self, email: &str) -> Json {
        let input = json!({"input": {"email": email, "password": PASSWORD}});
        self.answer(None, LOGIN, input).await["login"]["tokens"].take()
    }

    async fn admin(&self) -> Json {
        let admin = NewStaff::admin("root@bank.example", PASSWORD.into(), "Root");
        self.auth.staff_ensure(&RequestContext::of(Actor::SYSTEM, &SystemIds), admin).await.expect("made");
        self.login("root@bank.example").await
    }
}

fn registration(email: &str) -> Json {
    json!({"input": {
        "email": email,
        "password": PASSWORD,
        "displayName": "Ada Lovelace",
        "locale": "en-GB",
        "idempotencyKey": format!("register-{email}"),
    }})
}

fn access(tokens: &Json) -> Option<&str> {
    Some(tokens["accessToken"].as_str().expect("a token"))
}

#[tokio::test]
async fn a_person_registers_logs_in_and_sees_themselves() {
    let bank = Bank::open().await;
    let registered = bank.answer(None, REGISTER, registration("Ada@example.org")).await;
    let user = &registered["userRegister"]["user"];
    assert!(user["id"].as_str().expect("an id").starts_with("usr_"));
    assert_eq!(user["email"], "ada@example.org");
    assert_eq!(user["roles"], json!(["CUSTOMER"]));
    assert_eq!(user["status"], "ACTIVE");

    let input = json!({"input": {"email": "ada@example.org", "password": PASSWORD}});
    let login = bank.answer(None, LOGIN, input).await["login"].take();
    assert_eq!(login["userErrors"], json!([]));
    assert_eq!(login["tokens"]["tokenType"], "Bearer");
    let me = bank.answer(access(&login["tokens"]), "{ me { id displayName createdAt } }", json!({})).await;
    assert_eq!(me["me"]["id"], user["id"]);
    assert_eq!(me["me"]["displayName"], "Ada Lovelace");
}

#[tokio::test]
async fn refusals_are_data_with_code_message_and_field() {
    let bank = Bank::open().await;
    let mut weak = registration("ada@example.org");
    weak["input"]["password"] = "short".into();
    let refused = bank.answer(None, REGISTER, weak).await["userRegister"].take();
    assert_eq!(refused["user"], Json::Null);
    assert_eq!(refused["userErrors"][0]["code"], "AUTH_PASSWORD_WEAK");
    assert_eq!(refused["userErrors"][0]["field"], json!(["input", "password"]));

    let nobody = json!({"input": {"email": "nobody@example.org", "password": PASSWORD}});
    let refused = bank.answer(None, LOGIN, nobody).await["login"].take();
    assert_eq!((&refused["tokens"], &refused["user"]), (&Json::Null, &Json::Null));
    assert_eq!(refused["userErrors"][0]["code"], "AUTH_INVALID_CREDENTIALS");
}

#[tokio::test]
async fn nobody_is_a_null_and_not_an_error() {
    let bank = Bank::open().await;
    assert_eq!(bank.answer(None, "{ me { id } }", json!({})).await["me"], Json::Null);
}

#[tokio::test]
async fn somebody_else_does_not_exist_for_a_customer_and_does_for_staff() {
    let bank = Bank::open().await;
    let (ada, ada_tokens) = bank.customer("ada@example.org").await;
    let (_, eve_tokens) = bank.customer("eve@example.org").await;
    let admin = bank.admin().await;
    let user = "query ($id: ID!) { user(id: $id) { id email displayName } }";
    let seen = async |token| bank.answer(token, user, json!({"id": ada})).await["user"]["email"].take();
    assert_eq!(seen(access(&ada_tokens)).await, "ada@example.org");
    assert_eq!(seen(access(&eve_tokens)).await, Json::Null);
    assert_eq!(seen(access(&admin)).await, "ada@example.org");
    assert_eq!(bank.fault(None, user, json!({"id": ada})).await, "UNAUTHENTICATED");
    assert_eq!(bank.fault(access(&admin), user, json!({"id": "usr_1"})).await, "BAD_USER_INPUT");
}

#[tokio::test]
async fn entities_are_the_callers_own_and_asked_for_together() {
    let bank = Bank::open().await;
    let (ada, ada_tokens) = bank.customer("ada@example.org").await;
    let (eve, _) = bank.customer("eve@example.org").await;
    let entities = "query ($keys: [_Any!]!) { _entities(representations: $keys) { ... on User { id displayName } } }";
    let keys = json!({"keys": [{"__typename": "User", "id": eve}, {"__typename": "User", "id": ada}]});
    let found = bank.answer(access(&ada_tokens), entities, keys.clone()).await["_entities"].take();
    assert_eq!(found, json!([null, {"id": ada, "displayName": "Ada Lovelace"}]));
    let found = bank.answer(access(&bank.admin().await), entities, keys).await["_entities"].take();
    assert_eq!((&found[0]["id"], &found[1]["id"]), (&json!(eve), &json!(ada)));
}

#[tokio::test]
async fn tokens_are_exchanged_once_and_a_second_time_ends_the_session() {
    let bank = Bank::open().await;
    let (_, tokens) = bank.customer("ada@example.org").await;
    let exchange = json!({"input": {"refreshToken": tokens["refreshToken"]}});
    let next = bank.answer(None, REFRESH, exchange.clone()).await["tokenRefresh"]["tokens"].take();
    assert!(bank.caller(access(&next)).await.is_ok());
    let again = bank.answer(None, REFRESH, exchange).await["tokenRefresh"].take();
    assert_eq!(again, json!({"tokens": null, "userErrors": [{"code": "AUTH_TOKEN_REUSED"}]}));
    assert_eq!(bank.caller(access(&next)).await, Err(AuthFault::Revoked));
}

#[tokio::test]
async fn a_logout_ends_the_session_for_the_door() {
    let bank = Bank::open().await;
    let (_, tokens) = bank.customer("ada@example.org").await;
    let logout = "mutation { logout { loggedOut userErrors { code } } }";
    let ended = bank.answer(access(&tokens), logout, json!({})).await;
    assert_eq!(ended["logout"], json!({"loggedOut": true, "userErrors": []}));
    assert_eq!(bank.caller(access(&tokens)).await, Err(AuthFault::Revoked));
    assert_eq!(bank.fault(None, logout, json!({})).await, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_profile_is_changed_by_its_owner() {
    let bank = Bank::open().await;
    let (_, tokens) = bank.customer("ada@example.org").await;
    let update = "mutation ($input: ProfileUpdateInput!) {
        profileUpdate(input: $input) { user { displayName locale } userErrors { code } }
    }";
    let change = json!({"input": {"displayName": "Ada King"}});
    let changed = bank.answer(access(&tokens), update, change.clone()).await["profileUpdate"].take();
    assert_eq!(changed, json!({"user": {"displayName": "Ada King", "locale": "en-GB"}, "userErrors": []}));
    assert_eq!(bank.fault(None, update, change).await, "UNAUTHENTICATED");
}

#[tokio::test]
async fn roles_are_given_by_administrators_and_every_attempt_is_on_record() {
    let bank = Bank::open().await;
    let (ada, tokens) = bank.customer("ada@example.org").await;
    let admin = bank.admin().await;
    let wish = json!({"input": {"userId": ada, "role": "COMPLIANCE_OFFICER"}});
    assert_eq!(bank.fault(access(&tokens), ASSIGN, wish.clone()).await, "FORBIDDEN");
    let refused = bank.database.published("auth.command-refused.v1").await;
    assert_eq!(refused[0]["code"], "AUTH_SCOPE_INSUFFICIENT");
    let given = bank.answer(access(&admin), ASSIGN, wish).await["roleAssign"]["user"]["roles"].take();
    assert_eq!(given, json!(["CUSTOMER", "COMPLIANCE_OFFICER"]));
    let actor = bank.caller(access(&tokens)).await.expect("the same token").actor;
    assert!(actor.roles.contains(Role::ComplianceOfficer));
}

#[tokio::test]
async fn the_door_tells_every_kind_of_bad_token_apart() {
    let bank = Bank::open().await;
    let (_, tokens) = bank.customer("ada@example.org").await;
    let good = access(&tokens).expect("a token");
    let principal = bank.caller(Some(good)).await.expect("a valid token");
    assert!(principal.expires_at.is_some());
    assert_eq!(bank.caller(None).await, Ok(Principal::ANONYMOUS));
    assert_eq!(bank.caller(Some("")).await, Err(AuthFault::Malformed));
    assert_eq!(bank.caller(Some("garbage")).await, Err(AuthFault::Malformed));
    assert_eq!(bank.caller(tokens["refreshToken"].as_str()).await, Err(AuthFault::WrongPurpose));
    let (message, signature) = good.rsplit_once('.').expect("a signature");
    let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
    assert!(matches!(bank.caller(Some(&forged)).await, Err(AuthFault::Forged | AuthFault::Malformed)));
    let other = format!("{message}.{}", "A".repeat(86));
    assert_eq!(bank.caller(Some(&other)).await, Err(AuthFault::Forged));
}

#[test]
fn every_refusal_of_the_module_has_its_code_in_the_schema() {
    for code in vostro_auth::AuthErrorCode::ALL {
        assert!(AuthErrorCode::named(code.code()).is_some(), "{code:?}");
    }
}

#[test]
fn the_subgraph_owns_users() {
    let sdl = subgraph::sdl(&subgraph::finish(builder()));
    assert!(sdl.contains("type User @key(fields: \"id\")"), "{sdl}");
    for root in ["me: User", "user(id: ID!): User", "login(input: LoginInput!): LoginPayload", "logout: LogoutPayload"]
    {
        assert!(sdl.contains(root), "{root} in {sdl}");
    }
}

#[tokio::test]
async fn a_query_that_has_shown_who_its_caller_is_does_not_read_it_again() {
    const ENTITY: &str = "query ($keys: [_Any!]!) { _entities(representations: $keys) { ... on User { locale } } }";
    let bank = Bank::open().await;
    let (ada, tokens) = bank.customer("ada@example.org").await;
    let actor = bank.caller(access(&tokens)).await.expect("a valid token").actor;
    let scope = Arc::new(RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds)));
    scope.remember();
    let step = async |document: &str| {
        let variables = Variables::from_json(json!({"keys": [{"__typename": "User", "id": ada}]}));
        let request = Request::new(document).variables(variables).data(Arc::clone(&scope));
        bank.schema.execute(request).await.data.into_json().expect("JSON")
    };
    assert_eq!(step("{ me { locale } }").await["me"]["locale"], "en-GB");
    bank.database.tamper("update auth.user_account set locale = 'cs'").await;
    assert_eq!(step(ENTITY).await["_entities"][0]["locale"], "en-GB");
}
