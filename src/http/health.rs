use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use metrics::gauge;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::Operations;

/// How the bank and what it stands on are doing.
///
/// *Live*: the process runs. *Ready*: it has started, the broker's topology was right when it was last seen, and the
/// database answers. A broker that goes away does not make the bank unready: commands are accepted and events wait in the
/// outbox. One that lacks a queue does: what is published meanwhile never reaches its subscriber.
pub struct Health {
    pools: Vec<(&'static str, PgPool)>,
    connections_per_module: u32,
    serving: AtomicBool,
    draining: AtomicBool,
    broker: RwLock<Component>,
}

/// The state of one thing the bank needs, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    pub ok: bool,
    pub detail: String,
}

impl Health {
    const ASK_FOR: Duration = Duration::from_secs(2);

    pub fn new(pools: Vec<(&'static str, PgPool)>, connections_per_module: u32) -> Self {
        let broker = Component { ok: false, detail: "the topology is not checked yet".to_owned() };
        Self {
            pools,
            connections_per_module,
            serving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            broker: RwLock::new(broker),
        }
    }

    /// Everything is started; from now on the bank is ready while the database answers.
    pub fn serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// The bank is stopping: nothing new should be sent here.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn set_broker(&self, component: Component) {
        *self.broker.write().unwrap_or_else(PoisonError::into_inner) = component;
    }

    fn broker(&self) -> Component {
        self.broker.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections in use and idle, for the metrics page.
    pub fn sample_pools(&self) {
        gauge!("vostro_up").set(1.0);
        for (module, pool) in &self.pools {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            let used = pool.size().saturating_sub(idle);
            gauge!("vostro_db_pool_connections", "module" => *module, "state" => "used").set(f64::from(used));
            gauge!("vostro_db_pool_connections", "module" => *module, "state" => "idle").set(f64::from(idle));
            gauge!("vostro_db_pool_connections", "module" => *module, "state" => "max")
                .set(f64::from(self.connections_per_module));
        }
    }

    async fn databases(&self) -> Vec<(&'static str, Component, Duration)> {
        let asked = self.pools.iter().map(|(module, pool)| async move {
            let started = Instant::now();
            let answer =
                tokio::time::timeout(Self::ASK_FOR, sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(pool));
            let component = match answer.await {
                Ok(Ok(_)) => Component { ok: true, detail: "answers".to_owned() },
                Ok(Err(_)) => Component { ok: false, detail: "refuses".to_owned() },
                Err(_) => Component { ok: false, detail: "does not answer in time".to_owned() },
            };
            (*module, component, started.elapsed())
        });
        futures::future::join_all(asked).await
    }

    fn not_ready_because(&self, databases: &[(&'static str, Component, Duration)]) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Acquire) {
            reasons.push("the bank is stopping".to_owned());
        }
        if !self.serving.load(Ordering::Acquire) {
            reasons.push(format!("the bank is starting: {}", self.broker().detail));
        } else if !self.broker().ok {
            reasons.push(self.broker().detail);
        }
        let away = databases.iter().filter(|(_, component, _)| !component.ok);
        reasons.extend(away.map(|(module, component, _)| format!("the database of {module} {}", component.detail)));
        reasons
    }
}

pub async fn ready(State(operations): State<Operations>) -> (StatusCode, Json<Value>) {
    let databases = operations.health.databases().await;
    let reasons = operations.health.not_ready_because(&databases);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": reasons.is_empty(), "reasons": reasons})))
}

/// Every module and dependency with its state and latency, in milliseconds.
pub async fn report(State(operations): State<Operations>) -> (StatusCode, Json<Value>) {
    let databases = operations.health.databases().await;
    let reasons = operations.health.not_ready_because(&databases);
    let broker = operations.health.broker();
    let modules = databases.iter().map(|(module, component, took)| {
        json!({"module": module, "database": {"ok": component.ok, "detail": component.detail, "millis": took.as_millis()}})
    });
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "modules": modules.collect::<Vec<_>>(),
        "broker": {"ok": broker.ok, "detail": broker.detail},
    });
    (status, Json(body))
}
