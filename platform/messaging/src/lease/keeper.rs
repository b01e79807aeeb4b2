use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::bell::{self, Ring};
use super::share::{gives_one, to_take};
use super::store::{self, Row, Taken};
use super::{Lease, LeaseTimes, What};
use crate::{Company, Foundation, Outbox};

/// Takes, renews and hands over one module's leases for one instance. Cheap to clone.
#[derive(Clone)]
pub struct LeaseKeeper {
    inner: Arc<Inner>,
}

struct Inner {
    module: &'static str,
    /// Connections of its own: when all the module's are busy, leases must still be renewed.
    pool: PgPool,
    outbox: Outbox,
    company: Company,
    instance: Uuid,
    name: String,
    times: LeaseTimes,
    /// What this instance would do, and the lease it has for it.
    wanted: Mutex<BTreeMap<What, watch::Sender<Option<Lease>>>>,
    look_now: Notify,
}

/// By this name of its sessions the others see that an instance is connected; `is_connected` in the database knows it.
fn session(instance: Uuid) -> String {
    format!("vostro instance {instance}")
}

impl LeaseKeeper {
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
            .acquire_timeout(times.expire)
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
    /// Work that ends before it is told to gives the lease back, for others to try, and wants it again a little later.
    pub async fn whenever_held<W: Future<Output = ()>, M: Future<Output = ()>>(
        &self,
        what: What,
        stop: CancellationToken,
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
                lease.wind_down().cancel();
                std::future::pending().await
            };
            tokio::select! {
                () = lease.guard(work(lease.clone())) => {}
                () = told => {}
            }
            let gave_up = !lease.wind_down().is_cancelled();
            self.give_back(&lease).await;
            if gave_up && self.has_company() {
                self.lock().remove(&what);
                tokio::select! {
                    () = tokio::time::sleep(self.inner.times.expire / 2) => {}
                    () = stop.cancelled() => break,
                }
                leases = self.want(what.clone());
            }
        }
        self.lock().remove(&what);
    }

    pub(super) fn times(&self) -> LeaseTimes {
        self.inner.times
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
        self.lock().get(what).is_some_and(|lease| lease.borrow().is_some())
    }

    fn want(&self, what: What) -> watch::Receiver<Option<Lease>> {
        let receiver = self.lock().entry(what).or_default().subscribe();
        self.inner.look_now.notify_one();
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<What, watch::Sender<Option<Lease>>>> {
        self.inner.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(&self) {
        let Inner { module, times, .. } = &*self.inner;
        loop {
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

    /// Renews what is held, then sees whether the shares are right.
    async fn look(&self) -> sqlx::Result<()> {
        let Inner { pool, instance, name, times, company, .. } = &*self.inner;
        let (asked_at, held) = (Instant::now(), self.held());
        let epochs: Vec<i64> = held.iter().map(Lease::epoch).collect();
        let renewed = store::renew(pool, *instance, name, times.expire, &epochs).await?;
        for lease in held {
            if renewed.contains(&lease.epoch()) {
                lease.extend(asked_at + times.expire);
            } else if self.is_present(&lease) {
                self.lose(&lease);
            }
        }
        // Before the rows are read: what is given back in between is not taken for something to be taken anew.
        let wanted: Vec<(What, bool)> =
            self.lock().iter().map(|(what, lease)| (what.clone(), lease.borrow().is_some())).collect();
        let names: Vec<String> = wanted.iter().map(|(what, _)| what.to_string()).collect();
        let mut rows = store::look(pool, &names).await?;
        if rows.len() < names.len() {
            store::prepare(pool, &names).await?;
            rows = store::look(pool, &names).await?;
        }
        let instances = store::instances(pool).await?;
        let others = instances.iter().filter(|other| *other != instance).count();
        if others != company.others() {
            company.set(others);
            bell::ring(pool, self.inner.module, Ring::Leases).await?;
        }
        // The relay is one thing and the queues are another: an instance that has the one is not spared the others.
        let (relay, queues): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(what, _)| *what == What::Relay);
        self.balance(&relay, &rows, &instances).await?;
        self.balance(&queues, &rows, &instances).await
    }

    /// Takes what is free as far as it is this instance's share, or begins to hand one over.
    async fn balance(&self, group: &[(What, bool)], rows: &[Row], instances: &[Uuid]) -> sqlx::Result<()> {
        let Inner { pool, instance, times, .. } = &*self.inner;
        let of_group = |row: &&Row| group.iter().any(|(what, _)| what.to_string() == row.what);
        let count = |of: &Uuid| rows.iter().filter(of_group).filter(|row| row.owner == Some(*of)).count();
        let counts: Vec<usize> = instances.iter().map(count).collect();
        let mine = count(instance);
        let vacant: Vec<String> = group.iter().filter(|(_, held)| !held).map(|(what, _)| what.to_string()).collect();
        // What is ours in the database and not in use here was lost or not given back: it is taken anew.
        let ours_anew = rows.iter().filter(|row| row.owner == Some(*instance) && vacant.contains(&row.what)).count();
        let most = to_take(group.len(), mine - ours_anew, &counts).max(ours_anew);
        if most > 0 && !vacant.is_empty() {
            let (asked_at, most) = (Instant::now(), i64::try_from(most).unwrap_or(i64::MAX));
            for taken in store::take(pool, *instance, times.expire, &vacant, most).await? {
                self.grant(group, taken, asked_at + times.expire).await?;
            }
        } else if gives_one(mine, &counts) {
            self.hand_one_over(group);
        }
        Ok(())
    }

    async fn grant(&self, group: &[(What, bool)], taken: Taken, until: Instant) -> sqlx::Result<()> {
        let Inner { module, pool, instance, .. } = &*self.inner;
        let Taken { what: name, epoch, previous } = taken;
        debug!(module, what = name, epoch, "this instance has the lease");
        if let Some(previous) = previous {
            warn!(module, what = name, %previous, "its holder has ended or gone silent; taken over");
            counter!("vostro_lease_takeovers_total", "module" => *module, "what" => name.clone()).increment(1);
        }
        let what = group.iter().map(|(what, _)| what).find(|what| what.to_string() == name);
        let lease = what.map(|what| Lease::new(what.clone(), epoch, until));
        let wanted = lease.is_some_and(|lease| {
            self.lock().get(lease.what()).map(|place| place.send_replace(Some(lease.clone()))).is_some()
        });
        if !wanted {
            store::give_back(pool, *instance, epoch).await?;
        }
        Ok(())
    }

    /// One at a time: the next only when this one is given back.
    fn hand_one_over(&self, group: &[(What, bool)]) {
        let of_group = |lease: &Lease| group.iter().any(|(what, _)| what == lease.what());
        let held: Vec<Lease> = self.held().into_iter().filter(of_group).collect();
        if held.iter().any(|lease| lease.wind_down().is_cancelled()) {
            return;
        }
        if let Some(lease) = held.last() {
            info!(module = self.inner.module, what = %lease.what(), "handing the lease over to another instance");
            lease.wind_down().cancel();
        }
    }

    fn held(&self) -> Vec<Lease> {
        let wanted = self.lock();
        wanted.values().filter_map(|lease| lease.borrow().clone()).filter(Lease::is_valid).collect()
    }

    fn is_present(&self, lease: &Lease) -> bool {
        let wanted = self.lock();
        wanted.get(lease.what()).is_some_and(|place| place.borrow().as_ref().is_some_and(|held| held.is(lease)))
    }

    fn lose(&self, lease: &Lease) {
        warn!(module = self.inner.module, what = %lease.what(), "another instance has taken the lease");
        lease.lose();
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
            place.send_if_modified(|held| held.take_if(|held| held.is(lease)).is_some());
        }
        look_now.notify_one();
    }

    fn measure(&self) {
        for (what, lease) in &*self.lock() {
            let held = lease.borrow().as_ref().is_some_and(Lease::is_valid);
            gauge!("vostro_lease_held", "module" => self.inner.module, "what" => what.to_string())
                .set(f64::from(u8::from(held)));
        }
    }
}
