use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::gauge;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use super::bell::{self, Ring};
use super::store;
use super::{Lease, LeaseTimes, What};
use crate::{Company, Foundation, Outbox};

/// Takes, renews and hands over one module's leases for one instance. Cheap to clone.
#[derive(Clone)]
pub struct LeaseKeeper {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) module: &'static str,
    /// Connections of its own: when all the module's are busy, leases must still be renewed.
    pub(super) pool: PgPool,
    pub(super) outbox: Outbox,
    pub(super) company: Company,
    pub(super) instance: Uuid,
    pub(super) name: String,
    pub(super) times: LeaseTimes,
    pub(super) wanted: Mutex<BTreeMap<What, Place>>,
    /// What the others were last told that this instance would take, if it were free.
    pub(super) announced: Mutex<Vec<String>>,
    pub(super) look_now: Notify,
}

/// Something this instance would do.
pub(super) struct Place {
    pub(super) lease: watch::Sender<Option<Lease>>,
    /// False while it is left to the others: because it could not be done here, or because this instance is stopping.
    pub(super) is_candidate: bool,
}

/// By this name of its sessions the others see that an instance is connected; `is_connected` in the database knows it.
fn session(instance: Uuid) -> String {
    format!("vostro instance {instance}")
}

impl LeaseKeeper {
    /// After so long an attempt to connect is begun anew.
    const CONNECT: Duration = Duration::from_secs(30);

    /// For the module that stands on `foundation`: its relay is woken when other instances commit, and it is told whether
    /// there are any. `instance` tells the instances of the bank apart, `name` is for people.
    pub fn new(
        module: &'static str,
        foundation: &Foundation,
        instance: Uuid,
        name: impl Into<String>,
        times: LeaseTimes,
    ) -> Self {
        let Foundation { pool, outbox, company, .. } = foundation.clone();
        let pool = PgPoolOptions::new()
            // One to listen on, one for everything else.
            .max_connections(2)
            .acquire_timeout(Self::CONNECT.max(times.expire))
            .test_before_acquire(false)
            .connect_lazy_with((*pool.connect_options()).clone().application_name(&session(instance)));
        let inner = Inner {
            module,
            pool,
            outbox,
            company,
            instance,
            name: name.into(),
            times,
            wanted: Mutex::default(),
            announced: Mutex::default(),
            look_now: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Keeps the leases until `stop` is cancelled; then it gives back what is left, for others to take at once. While it
    /// does not run nobody here is given a lease.
    pub async fn run(self, stop: CancellationToken) {
        let Inner { module, pool, times, .. } = &*self.inner;
        tokio::select! {
            () = self.keep() => {}
            () = bell::listen(pool, module, |ring| self.heard(ring)) => {}
            () = stop.cancelled() => {}
        }
        if !matches!(tokio::time::timeout(times.expire, self.leave()).await, Ok(Ok(()))) {
            debug!(module, "cannot give the leases back; they expire");
        }
        pool.close().await;
    }

    async fn leave(&self) -> sqlx::Result<()> {
        let Inner { module, pool, instance, .. } = &*self.inner;
        store::leave(pool, *instance).await?;
        bell::ring(pool, module, Ring::Leases).await
    }

    /// Does `work` whenever this instance holds the lease, and `meanwhile` while it does not. Ends when `stop` is
    /// cancelled and the work, which is told by [`Lease::wind_down`], has ended.
    ///
    /// While there are others who may be able to, an instance that is not `is_able` for as long as a lease lasts, or whose
    /// work ends before it is told to, leaves it to them until it is able again.
    pub async fn whenever_held<W: Future<Output = ()>, M: Future<Output = ()>>(
        &self,
        what: What,
        stop: CancellationToken,
        is_able: impl Fn() -> bool,
        work: impl Fn(Lease) -> W,
        meanwhile: impl Fn() -> M,
    ) {
        let mut leases = self.want(what.clone());
        while !stop.is_cancelled() {
            let granted = async { leases.wait_for(Option::is_some).await.ok().and_then(|lease| lease.clone()) };
            let lease = tokio::select! {
                lease = granted => lease,
                () = stop.cancelled() => None,
                () = async { loop { meanwhile().await } } => None,
            };
            let Some(lease) = lease else { break };
            let told = async {
                stop.cancelled().await;
                self.stand(&what, false);
                lease.wind_down().cancel();
                std::future::pending().await
            };
            tokio::select! {
                () = lease.guard(work(lease.clone())) => {}
                () = self.unable(&what, &is_able) => {}
                () = told => {}
            }
            let rests = !lease.wind_down().is_cancelled() && self.has_company();
            if rests {
                self.stand(&what, false);
            }
            self.give_back(&lease).await;
            if rests {
                tokio::select! {
                    () = self.rest(&is_able) => {}
                    () = stop.cancelled() => break,
                }
                self.stand(&what, true);
            }
        }
        self.lock().remove(&what);
    }

    /// Completes when it was not `is_able` for as long as a lease lasts while there are others. Alone, an instance waits as
    /// long as it takes.
    async fn unable(&self, what: &What, is_able: impl Fn() -> bool) {
        let LeaseTimes { expire, renew } = self.inner.times;
        let mut since = None;
        loop {
            tokio::time::sleep(renew).await;
            if is_able() || !self.has_company() {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() >= expire {
                warn!(module = self.inner.module, %what, "the broker is out of reach; leaving it to another instance");
                return;
            }
        }
    }

    /// Long enough for another to take it, and then until it can be done here.
    async fn rest(&self, is_able: impl Fn() -> bool) {
        let LeaseTimes { expire, renew } = self.inner.times;
        tokio::time::sleep(expire / 2).await;
        while self.has_company() && !is_able() {
            tokio::time::sleep(renew / 8).await;
        }
    }

    /// Whether another instance is there to take over.
    pub(super) fn has_company(&self) -> bool {
        self.inner.company.is_there()
    }

    /// Wakes the relay on whichever instance it is, as soon as something is committed here.
    pub(super) async fn ring_for_the_relay(self) {
        /// Everything that is committed meanwhile shares a ring.
        const SHARED: Duration = Duration::from_millis(5);
        let Inner { module, pool, outbox, .. } = &*self.inner;
        outbox.woken().await;
        if self.has_company()
            && let Err(error) = bell::ring(pool, module, Ring::Outbox).await
        {
            debug!(module, %error, "the relay will find the events by itself");
        }
        tokio::time::sleep(SHARED).await;
    }

    fn heard(&self, ring: Ring) {
        match ring {
            Ring::Leases => self.inner.look_now.notify_one(),
            // Elsewhere there is nobody to wake, and what wakes there is answered with a ring.
            Ring::Outbox if self.holds(&What::Relay) => self.inner.outbox.committed(),
            Ring::Outbox => {}
        }
    }

    fn holds(&self, what: &What) -> bool {
        self.lock().get(what).is_some_and(|place| place.lease.borrow().is_some())
    }

    fn want(&self, what: What) -> watch::Receiver<Option<Lease>> {
        let place = Place { lease: watch::Sender::new(None), is_candidate: true };
        let receiver = self.lock().entry(what).or_insert(place).lease.subscribe();
        self.inner.look_now.notify_one();
        receiver
    }

    /// Stands for it, or leaves it to the others, who are told.
    fn stand(&self, what: &What, is_candidate: bool) {
        if let Some(place) = self.lock().get_mut(what) {
            place.is_candidate = is_candidate;
        }
        self.inner.look_now.notify_one();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<What, Place>> {
        self.inner.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(&self) {
        let Inner { module, pool, times, .. } = &*self.inner;
        loop {
            if pool.num_idle() == 0 {
                self.connect().await;
            }
            match tokio::time::timeout(times.expire, self.look()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(module, %error, "leases are not renewed"),
                Err(_) => warn!(module, "leases are not renewed: the database does not answer"),
            }
            self.measure();
            tokio::select! {
                () = tokio::time::sleep(times.renew) => {}
                () = self.inner.look_now.notified() => {}
            }
        }
    }

    /// Takes as long as it takes: on a server too busy to connect in the time of a lease, attempts that are given up by
    /// then would never end.
    async fn connect(&self) {
        let Inner { module, pool, times, .. } = &*self.inner;
        let mut connecting = pin!(pool.acquire());
        while tokio::time::timeout(times.expire, &mut connecting).await.is_err() {
            warn!(module, "leases are not renewed: the database is slow to connect");
            self.measure();
        }
    }

    pub(super) fn held(&self) -> Vec<Lease> {
        let wanted = self.lock();
        wanted.values().filter_map(|place| place.lease.borrow().clone()).filter(Lease::is_valid).collect()
    }

    pub(super) fn is_present(&self, lease: &Lease) -> bool {
        let wanted = self.lock();
        wanted.get(lease.what()).is_some_and(|place| place.lease.borrow().as_ref().is_some_and(|held| held.is(lease)))
    }

    /// Nothing is done under the lease any more.
    async fn give_back(&self, lease: &Lease) {
        let Inner { module, pool, instance, times, look_now, .. } = &*self.inner;
        let giving = async {
            match store::give_back(pool, *instance, lease.epoch()).await {
                Ok(true) => bell::ring(pool, module, Ring::Leases).await,
                given => given.map(drop),
            }
        };
        // When it was not renewed in time, the database is away: it need not be told now, as this instance may take the
        // lease again in any case.
        if lease.is_valid() && !matches!(tokio::time::timeout(times.renew, giving).await, Ok(Ok(()))) {
            debug!(module, what = %lease.what(), "cannot give the lease back; it expires");
        }
        lease.lose();
        if let Some(place) = self.lock().get(lease.what()) {
            place.lease.send_if_modified(|held| held.take_if(|held| held.is(lease)).is_some());
        }
        self.measure_held(lease.what(), false);
        look_now.notify_one();
    }

    fn measure(&self) {
        for (what, place) in &*self.lock() {
            self.measure_held(what, place.lease.borrow().as_ref().is_some_and(Lease::is_valid));
        }
    }

    fn measure_held(&self, what: &What, is_held: bool) {
        gauge!("vostro_lease_held", "module" => self.inner.module, "what" => what.to_string())
            .set(f64::from(u8::from(is_held)));
    }
}
