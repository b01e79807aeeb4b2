//! What an instance does each time it looks at its module's leases.

use std::sync::PoisonError;

use metrics::counter;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::bell::{self, Ring};
use super::keeper::{Inner, LeaseKeeper, Place};
use super::share::{gives_one, to_take};
use super::store::{self, Instance, Row, Taken};
use super::{Lease, What};

/// Something this instance would do, as it was when it looked.
struct Wanted {
    what: What,
    name: String,
    is_held: bool,
    is_candidate: bool,
}

impl LeaseKeeper {
    /// Renews what is held and says what this instance stands for, then sees whether the shares are right.
    pub(super) async fn look(&self) -> sqlx::Result<()> {
        let Inner { module, pool, instance, name, times, company, .. } = &*self.inner;
        let (asked_at, held, candidate_for) = (Instant::now(), self.held(), self.candidate_for());
        let epochs: Vec<i64> = held.iter().map(Lease::epoch).collect();
        let renewed = store::renew(pool, *instance, name, times.expire, &epochs, &candidate_for).await?;
        for lease in held {
            if renewed.contains(&lease.epoch()) {
                lease.extend(asked_at + times.expire);
            } else if self.is_present(&lease) {
                self.lose(&lease);
            }
        }
        // Before the rows are read: what is given back in between is not taken for something to be taken anew.
        let wanted = self.wanted();
        let names: Vec<String> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        let mut rows = store::look(pool, &names).await?;
        if rows.len() < names.len() {
            store::prepare(pool, &names).await?;
            rows = store::look(pool, &names).await?;
        }
        let instances = store::instances(pool).await?;
        let others = instances.iter().filter(|other| other.id != *instance).count();
        let is_news = self.announces(candidate_for);
        if others != company.others() {
            company.set(others);
            store::forget_instances(pool).await?;
            bell::ring(pool, module, Ring::Leases).await?;
        } else if is_news && others > 0 {
            bell::ring(pool, module, Ring::Leases).await?;
        }
        // The relay is one thing and the queues are another: an instance that has the one is not spared the others.
        let (relay, queues): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.what == What::Relay);
        self.balance(&relay, &rows, &instances).await?;
        self.balance(&queues, &rows, &instances).await
    }

    fn wanted(&self) -> Vec<Wanted> {
        let wanted = |(what, place): (&What, &Place)| Wanted {
            what: what.clone(),
            name: what.to_string(),
            is_held: place.lease.borrow().is_some(),
            is_candidate: place.is_candidate,
        };
        self.lock().iter().map(wanted).collect()
    }

    fn candidate_for(&self) -> Vec<String> {
        self.lock().iter().filter(|(_, place)| place.is_candidate).map(|(what, _)| what.to_string()).collect()
    }

    /// Whether the others have not heard that.
    fn announces(&self, candidate_for: Vec<String>) -> bool {
        let mut announced = self.inner.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *announced != candidate_for;
        *announced = candidate_for;
        is_news
    }

    /// Takes what is free as far as it is this instance's share, or begins to hand one over. Only instances that
    /// stand for all of the group have a share: one that is stopping, or does not reach the broker, leaves it to the others.
    async fn balance(&self, group: &[Wanted], rows: &[Row], instances: &[Instance]) -> sqlx::Result<()> {
        if group.iter().any(|wanted| !wanted.is_candidate) {
            return Ok(());
        }
        let Inner { pool, instance, times, .. } = &*self.inner;
        let of_group = |row: &&Row| group.iter().any(|wanted| wanted.name == row.what);
        let count = |of: Uuid| rows.iter().filter(of_group).filter(|row| row.owner == Some(of)).count();
        let stands = |of: &&Instance| group.iter().all(|wanted| of.candidate_for.contains(&wanted.name));
        let others = instances.iter().filter(|other| other.id != *instance).filter(stands);
        let mine = count(*instance);
        let counts: Vec<usize> = others.map(|other| count(other.id)).chain([mine]).collect();
        let vacant: Vec<String> =
            group.iter().filter(|wanted| !wanted.is_held).map(|wanted| wanted.name.clone()).collect();
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

    async fn grant(&self, group: &[Wanted], taken: Taken, until: Instant) -> sqlx::Result<()> {
        let Inner { module, pool, instance, .. } = &*self.inner;
        let Taken { what: name, epoch, previous } = taken;
        debug!(module, what = name, epoch, "this instance has the lease");
        if let Some(previous) = previous {
            warn!(module, what = name, %previous, "its holder has ended or gone silent; taken over");
            counter!("vostro_lease_takeovers_total", "module" => *module, "what" => name.clone()).increment(1);
        }
        let wanted = group.iter().find(|wanted| wanted.name == name);
        let lease = wanted.map(|wanted| Lease::new(wanted.what.clone(), epoch, until));
        if !lease.is_some_and(|lease| self.hand_to_work(lease)) {
            store::give_back(pool, *instance, epoch).await?;
        }
        Ok(())
    }

    /// False when it is not wanted any more.
    fn hand_to_work(&self, lease: Lease) -> bool {
        let places = self.lock();
        let place = places.get(lease.what()).filter(|place| place.is_candidate);
        place.map(|place| place.lease.send_replace(Some(lease))).is_some()
    }

    /// One at a time: the next only when this one is given back.
    fn hand_one_over(&self, group: &[Wanted]) {
        let of_group = |lease: &Lease| group.iter().any(|wanted| wanted.what == *lease.what());
        let held: Vec<Lease> = self.held().into_iter().filter(of_group).collect();
        if held.iter().any(|lease| lease.wind_down().is_cancelled()) {
            return;
        }
        if let Some(lease) = held.last() {
            info!(module = self.inner.module, what = %lease.what(), "handing the lease over to another instance");
            lease.wind_down().cancel();
        }
    }

    fn lose(&self, lease: &Lease) {
        warn!(module = self.inner.module, what = %lease.what(), "another instance has taken the lease");
        lease.lose();
    }
}
