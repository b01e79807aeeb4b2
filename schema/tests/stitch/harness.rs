//! An engine over the fixture, and short ways to ask it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use serde_json::Value;
use uuid::Uuid;
use vostro_kernel::{Actor, Clock, RequestContext, Role, SystemClock, SystemIds};
use vostro_schema::door::{AuthFault, Authenticator, Door, DoorConfig, Principal};
use vostro_schema::scope::RequestScope;
use vostro_schema::stitch::{Engine, EngineBuilder, InProcess, Limits, Reply};

use crate::fixture::{Calls, accounts, payments, people};

pub struct Bank {
    pub engine: Engine,
    pub calls: Arc<Calls>,
}

pub const SUPERGRAPH: &str = include_str!("../fixtures/supergraph.graphql");

impl Bank {
    pub fn open() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self::built(|engine| engine.limits(limits))
    }

    pub fn built(settings: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        let calls = Arc::new(Calls::default());
        let engine = settings(Engine::over(SUPERGRAPH).unwrap())
            .module("people", InProcess(people::schema()))
            .module("accounts", InProcess(accounts::schema(calls.clone())))
            .module("payments", InProcess(payments::schema()))
            .build()
            .unwrap();
        Self { engine, calls }
    }

    pub async fn ask_as(&self, actor: Actor, document: &str, variables: Value) -> Value {
        let reply = match self.engine.prepare(document, None) {
            Ok(prepared) => {
                let variables = serde_json::from_value(variables).unwrap();
                self.engine.execute(&prepared, variables, scope(actor)).await
            }
            Err(errors) => Reply::refused(&errors, Uuid::nil()),
        };
        serde_json::from_slice(&reply.body).unwrap()
    }

    pub async fn ask(&self, document: &str) -> Value {
        self.ask_as(Actor::ANONYMOUS, document, Value::Null).await
    }

    /// The data of an operation that is expected to succeed.
    pub async fn data(&self, document: &str) -> String {
        let prepared = self.engine.prepare(document, None).unwrap();
        let reply = self.engine.execute(&prepared, Default::default(), scope(Actor::ANONYMOUS)).await;
        let text = String::from_utf8(reply.body).unwrap();
        text.strip_prefix("{\"data\":").and_then(|text| text.strip_suffix('}')).unwrap_or(&text).to_owned()
    }

    /// The code of the first error.
    pub async fn code(&self, document: &str) -> String {
        code(&self.ask(document).await)
    }

    pub async fn events(&self, document: &str) -> Vec<Value> {
        let prepared = self.engine.prepare(document, None).unwrap();
        let replies = self.engine.subscribe(prepared, Default::default(), scope(Actor::ANONYMOUS));
        replies.map(|reply| serde_json::from_slice(&reply.body).unwrap()).collect().await
    }

    pub fn passes_through(&self, document: &str) -> bool {
        self.engine.prepare(document, None).unwrap().planned.passes_through
    }

    pub fn paid(&self) -> usize {
        self.calls.pay.load(Ordering::SeqCst)
    }
}

pub fn code(body: &Value) -> String {
    body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
}

pub fn scope(actor: Actor) -> Arc<RequestScope> {
    Arc::new(RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds)))
}

pub fn person(roles: &[Role]) -> Actor {
    Actor::person(Uuid::from_u128(1), roles.iter().copied().collect(), None)
}

/// Takes `staff` and `customer` for tokens, and for one that expires at once.
#[derive(Default)]
pub struct Tokens {
    /// How often somebody showed the token of a session that ends soon.
    leaving: AtomicUsize,
}

#[async_trait::async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, AuthFault> {
        match bearer {
            None => Ok(Principal::ANONYMOUS),
            Some("staff") => Ok(Principal { actor: person(&[Role::Operator, Role::Admin]), expires_at: None }),
            Some("customer") => Ok(Principal { actor: person(&[Role::Customer]), expires_at: None }),
            Some("brief") => {
                let expires_at = Some(SystemClock.now() + chrono::TimeDelta::milliseconds(50));
                Ok(Principal { actor: person(&[Role::Customer]), expires_at })
            }
            // Long enough for a lot to be sent.
            Some("short") => {
                let expires_at = Some(SystemClock.now() + chrono::TimeDelta::seconds(3));
                Ok(Principal { actor: person(&[Role::Customer]), expires_at })
            }
            // Somebody who logs out after having been let in.
            Some("leaving") if self.leaving.fetch_add(1, Ordering::SeqCst) > 0 => Err(AuthFault::Revoked),
            Some("leaving") => Ok(Principal { actor: person(&[Role::Customer]), expires_at: None }),
            Some("expired") => Err(AuthFault::Expired),
            Some("refresh") => Err(AuthFault::WrongPurpose),
            Some(_) => Err(AuthFault::Forged),
        }
    }
}

/// A bank with its door open on a port of the loopback interface.
pub struct OpenBank {
    pub bank: Bank,
    pub door: Arc<Door>,
    pub address: SocketAddr,
    _server: tokio::task::JoinSet<()>,
}

impl OpenBank {
    pub async fn open() -> Self {
        Self::with(DoorConfig::default()).await
    }

    pub async fn with(config: DoorConfig) -> Self {
        Self::over(Bank::open(), config).await
    }

    pub async fn over(bank: Bank, config: DoorConfig) -> Self {
        let door = Door::new(
            bank.engine.clone(),
            Arc::new(Tokens::default()),
            Arc::new(SystemIds),
            Arc::new(SystemClock),
            config,
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = door.router();
        let mut server = tokio::task::JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap()
        });
        Self { bank, door, address, _server: server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
