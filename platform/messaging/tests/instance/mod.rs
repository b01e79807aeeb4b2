//! Instances of the bank, as far as leases are concerned, on one database.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_messaging::Outbox;
use vostro_messaging::lease::{Lease, LeaseKeeper, LeaseTimes, What};
use vostro_testkit::{Database, eventually};

/// Short, for tests in which leases expire. On a machine that stands still for some seconds others expire as well.
pub const TIMES: LeaseTimes = LeaseTimes::expiring_after(Duration::from_secs(2));
/// Long enough that any machine renews in time, for tests in which nobody may lose a lease.
pub const STEADY: LeaseTimes = LeaseTimes::expiring_after(Duration::from_secs(10));

pub struct Instance {
    pub keeper: LeaseKeeper,
    pub outbox: Outbox,
    id: Uuid,
    pool: PgPool,
    stop: CancellationToken,
    running: JoinHandle<()>,
    /// Whether it reaches the broker.
    able: Arc<AtomicBool>,
    /// What it has begun is finished only then.
    finish: CancellationToken,
}

impl Instance {
    pub fn start(database: &Database, name: &str) -> Self {
        Self::start_with(database, name, TIMES)
    }

    /// One that loses no lease, however busy the machine is.
    pub fn steady(database: &Database, name: &str) -> Self {
        Self::start_with(database, name, STEADY)
    }

    pub fn start_with(database: &Database, name: &str, times: LeaseTimes) -> Self {
        let (id, foundation, stop) = (Uuid::now_v7(), database.foundation(), CancellationToken::new());
        let keeper = LeaseKeeper::new("account", &foundation, id, name, times);
        let running = tokio::spawn(keeper.clone().run(stop.clone()));
        let (able, finish) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        finish.cancel();
        Self { keeper, outbox: foundation.outbox, id, pool: database.pool().clone(), stop, running, able, finish }
    }

    pub fn reaches_the_broker(&self, able: bool) {
        self.able.store(able, Ordering::Relaxed);
    }

    /// What it works on from now on is not finished before the token is cancelled.
    pub fn is_slow(&mut self) -> CancellationToken {
        self.finish = CancellationToken::new();
        self.finish.clone()
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    /// As if the process were stopped: nothing is renewed and nothing given back.
    pub fn freeze(&self) {
        self.running.abort();
    }

    /// As if the process were killed: its connections are closed, and nothing was given back.
    pub async fn kill(&self) {
        self.freeze();
        until("its sessions end", async || {
            let ended: i64 = sqlx::query_scalar(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = $1",
            )
            .bind(format!("vostro instance {}", self.id))
            .fetch_one(&self.pool)
            .await
            .expect("readable");
            ended == 0
        })
        .await;
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("the keeper ends");
    }

    /// The instance outlives the test's interest in it.
    pub fn go_on_for_ever(self) {
        std::mem::forget(self.stop);
    }

    /// The lease, once it is held; it is held on.
    pub async fn holds(&self, what: What) -> Lease {
        let (sender, receiver) = oneshot::channel();
        let (keeper, sender) = (self.keeper.clone(), Mutex::new(Some(sender)));
        tokio::spawn(async move {
            let work = |lease: Lease| {
                if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = sender.send(lease);
                }
                std::future::pending()
            };
            keeper.whenever_held(what, CancellationToken::new(), || true, work, std::future::pending).await;
        });
        tokio::time::timeout(Duration::from_secs(120), receiver).await.expect("within two minutes").expect("sent")
    }

    pub fn wants(&self, what: What) -> Work {
        self.works_on(what, &Holders::default())
    }

    /// Works on it whenever it may, until it is told to stop.
    pub fn works_on(&self, what: What, holders: &Holders) -> Work {
        let (keeper, id, holders, stop) = (self.keeper.clone(), self.id, holders.clone(), CancellationToken::new());
        let (stopped, able, finish) = (stop.clone(), Arc::clone(&self.able), self.finish.clone());
        let task = tokio::spawn(async move {
            let work = |lease: Lease| {
                let (entered, finish) = (holders.enter(id, &lease), finish.clone());
                async move {
                    lease.wind_down().cancelled().await;
                    finish.cancelled().await;
                    drop(entered);
                }
            };
            keeper.whenever_held(what, stopped, || able.load(Ordering::Relaxed), work, std::future::pending).await;
        });
        Work { task: Some(task), stop }
    }

    /// Waits until it has looked at the leases this often.
    pub async fn looks(&self, times: u32) {
        for _ in 0..times {
            let before = self.expires_at().await;
            until("the instance looks again", async || self.expires_at().await > before).await;
        }
    }

    pub async fn looks_twice_after_expiry_of(&self, what: &str) {
        until("it expires", async || {
            sqlx::query_scalar("select expires_at < clock_timestamp() from lease where what = $1")
                .bind(what)
                .fetch_one(&self.pool)
                .await
                .expect("readable")
        })
        .await;
        self.looks(2).await;
    }

    async fn expires_at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        sqlx::query_scalar("select expires_at from instance where id = $1")
            .bind(self.id)
            .fetch_optional(&self.pool)
            .await
            .expect("readable")
    }
}

/// What an instance does under a lease; dropped, it is as if the process were gone.
pub struct Work {
    task: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Work {
    pub fn begins_to_stop(&self) {
        self.stop.cancel();
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.expect("the work ends");
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Who works on what just now, and whether two ever did at the same time.
#[derive(Clone, Default)]
pub struct Holders {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    working: HashMap<String, (Uuid, Lease)>,
    overlapped: bool,
}

impl Holders {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work under a lease that is no longer valid does nothing any more, also when it was not dropped yet.
    fn enter(&self, id: Uuid, lease: &Lease) -> Entered {
        let (what, mut state) = (lease.what().to_string(), self.lock());
        let previous = state.working.insert(what.clone(), (id, lease.clone()));
        state.overlapped |= previous.is_some_and(|(_, lease)| lease.is_valid());
        Entered { holders: self.clone(), what, id }
    }

    pub fn of(&self, what: &str) -> Option<Uuid> {
        self.lock().working.get(what).map(|(id, _)| *id)
    }

    pub fn count(&self, id: Uuid) -> usize {
        self.lock().working.values().filter(|(holder, _)| *holder == id).count()
    }

    pub fn were_exclusive(&self) -> bool {
        !self.lock().overlapped
    }
}

struct Entered {
    holders: Holders,
    what: String,
    id: Uuid,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.holders.lock();
        if state.working.get(&self.what).is_some_and(|(id, _)| *id == self.id) {
            state.working.remove(&self.what);
        }
    }
}

pub async fn owner_of(database: &Database, what: &str) -> Option<Uuid> {
    sqlx::query_scalar("select owner from lease where what = $1")
        .bind(what)
        .fetch_optional(database.pool())
        .await
        .expect("readable")
        .flatten()
}

/// Waits for a condition.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    eventually(what, || async { condition().await.then_some(()) }).await;
}
