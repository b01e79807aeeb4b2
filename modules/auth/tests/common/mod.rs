#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;
use vostro_auth::{Auth, AuthError, AuthErrorCode, Config, LoggedIn, NewStaff, Registration, TokenFault, Tokens, User};
use vostro_kernel::{Actor, FixedClock, RequestContext, Role, SystemIds};
use vostro_messaging::Module as _;
use vostro_testkit::Database;

pub const PASSWORD: &str = "umber gantry folio tern";
pub const OTHER_PASSWORD: &str = "quartz mantle otter 52 kiln";

/// The module on a database of its own, at a time the test controls.
pub struct Bank {
    pub database: Database,
    pub clock: Arc<FixedClock>,
    pub auth: Auth,
}

pub fn config() -> Config {
    Config {
        secret: "a secret of the tests, long enough for everybody".into(),
        contact_secret: "the contact secret of the tests, long enough too".into(),
        memory_kib: 64,
        iterations: 1,
        allow_weak_hashing: true,
        stale_seconds: 3600,
        ..Config::default()
    }
}

impl Bank {
    pub async fn open() -> Self {
        Self::open_with(config()).await
    }

    pub async fn open_with(config: Config) -> Self {
        let database = Database::create("auth", &vostro_auth::MIGRATIONS).await;
        let clock = Arc::new(FixedClock::at(DateTime::from_timestamp(1_800_000_000, 0).expect("an instant")));
        let auth = Auth::new(database.foundation_at(clock.clone()), config).expect("a valid configuration");
        auth.start().await.expect("starts");
        Self { database, clock, auth }
    }

    /// Another instance on the same database.
    pub async fn another(&self, config: Config) -> Auth {
        let auth = Auth::new(self.database.foundation_at(self.clock.clone()), config).expect("a valid configuration");
        auth.start().await.expect("starts");
        auth
    }

    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    pub async fn register(&self, email: &str) -> User {
        self.auth.register(&anonymous(), registration(email)).await.expect("registers").user
    }

    pub async fn login(&self, email: &str) -> LoggedIn {
        self.auth.login(&anonymous(), email, &PASSWORD.into()).await.expect("logs in")
    }

    /// A customer with an open session.
    pub async fn customer(&self, email: &str) -> LoggedIn {
        self.register(email).await;
        self.login(email).await
    }

    /// Somebody of the bank with an open session.
    pub async fn staff(&self, email: &str, roles: &[Role]) -> LoggedIn {
        let staff = NewStaff {
            email: email.to_owned(),
            password: PASSWORD.into(),
            display_name: "Grace Hopper".to_owned(),
            locale: None,
            roles: roles.iter().copied().collect(),
        };
        self.auth.staff_ensure(&system(), staff).await.expect("created");
        self.login(email).await
    }

    pub fn verify(&self, tokens: &Tokens) -> Result<Actor, TokenFault> {
        self.auth.verifier().verify(tokens.access_token.expose_secret()).map(|verified| verified.actor)
    }

    /// A request with this access token.
    pub fn request(&self, tokens: &Tokens) -> RequestContext {
        RequestContext::of(self.verify(tokens).expect("a valid token"), &SystemIds)
    }

    /// Types and sequences of the events about a person, in order.
    pub async fn told_about(&self, user: Uuid) -> Vec<(String, i64)> {
        let events = self.database.outbox_events().await;
        events
            .into_iter()
            .filter(|(envelope, _)| envelope.aggregate_id == user)
            .map(|(envelope, _)| (envelope.event_type.to_string(), envelope.sequence))
            .collect()
    }

    /// Command, code and subject of every refused command, in order.
    pub async fn refusals(&self) -> Vec<(String, String, Option<Uuid>)> {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let events = self.database.published("auth.command-refused.v1").await;
        let refusals = events.into_iter().map(|data| {
            let subject = text(&data["subjectId"]).map(|id| id.parse().expect("a UUID"));
            (text(&data["command"]).expect("a command"), text(&data["code"]).expect("a code"), subject)
        });
        refusals.collect()
    }

    /// How many rows a query finds.
    pub async fn count(&self, rows: &'static str) -> i64 {
        sqlx::query_scalar(rows).fetch_one(self.database.pool()).await.expect("a count")
    }
}

pub fn anonymous() -> RequestContext {
    RequestContext::of(Actor::ANONYMOUS, &SystemIds)
}

pub fn system() -> RequestContext {
    RequestContext::system(&SystemIds)
}

pub fn registration(email: &str) -> Registration {
    Registration {
        email: email.to_owned(),
        password: PASSWORD.into(),
        display_name: "Ada Lovelace".to_owned(),
        locale: Some("en-GB".to_owned()),
        idempotency_key: Uuid::now_v7().to_string(),
    }
}

pub fn secret(text: &str) -> SecretString {
    text.into()
}

/// The code of a refusal; anything else fails the test.
pub fn code<T: std::fmt::Debug>(result: Result<T, AuthError>) -> AuthErrorCode {
    match result {
        Err(AuthError::Refused(refusal)) => refusal.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
