use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics::{counter, gauge};
use sqlx::{PgConnection, PgExecutor, PgPool};
use tracing::{error, warn};
use uuid::Uuid;
use vostro_kernel::Clock;

use crate::fault::{Fault, classify, until_database_answers};
use crate::lease::{Fence, LeaseLost};
use crate::parking::store::{self, Verdict};
use crate::parking::{KnownParked, ParkedCounts, ParkedState, ReasonCode, RetrySchedule};
use crate::{
    ConsumptionSwitch, EventReader, Foundation, InboundMessage, InboxMode, Incoming, Outbox, Subscription, crash, inbox,
};

/// What the consumer, the retry worker and the dead-letter drain of one subscription share: where its events go that
/// cannot be handled, and whether it may consume at all.
pub struct Intake {
    pub(crate) subscription: Subscription,
    /// `<module>.<name>`.
    pub(crate) group: String,
    pub(crate) pool: PgPool,
    pub(crate) outbox: Outbox,
    pub(crate) schedule: RetrySchedule,
    pub(crate) switch: ConsumptionSwitch,
    pub(crate) parked: KnownParked,
    pub(crate) reader: EventReader,
    clock: Arc<dyn Clock>,
}

impl Intake {
    /// `foundation` is the module's own.
    pub fn new(
        subscription: Subscription,
        foundation: &Foundation,
        schedule: RetrySchedule,
        switch: ConsumptionSwitch,
    ) -> Arc<Self> {
        let Foundation { pool, outbox, clock, .. } = foundation.clone();
        let (group, reader) = (subscription.group(), subscription.reader());
        let parked = KnownParked::default();
        Arc::new(Self { subscription, group, pool, outbox, schedule, switch, parked, reader, clock })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Of these events, those whose keys are parked are put behind them, and those that were given up are left out;
    /// returns the others. Nothing is asked of the database while nothing is parked and nothing was given up.
    pub(crate) async fn keep_behind_parked(
        &self,
        fence: &Fence,
        mut events: Vec<Incoming>,
    ) -> Result<Vec<Incoming>, LeaseLost> {
        loop {
            match self.try_keep_behind(fence, &events).await {
                Ok((kept, given_up)) => {
                    events.retain(|event| {
                        let envelope = &event.envelope;
                        !kept.contains(&envelope.partition_key) && !given_up.contains(&self.reader.identity(envelope))
                    });
                    return Ok(events);
                }
                Err(error) => self.hold(&error).await?,
            }
        }
    }

    /// The keys of these events that are parked, and the events that were given up. A transaction of its own, before that
    /// of the batch: a key that is released meanwhile has its effects committed, and one that is not gets what is behind
    /// it. What was given up is asked for under the keys' locks, which whoever gives up holds too.
    async fn try_keep_behind(
        &self,
        fence: &Fence,
        events: &[Incoming],
    ) -> sqlx::Result<(HashSet<Uuid>, HashSet<Uuid>)> {
        while self.parked.anything().is_none() {
            self.look().await?;
        }
        if self.parked.anything() == Some(false) {
            let given_up =
                if self.parked.given_up() { self.given_up(&self.pool, events).await? } else { HashSet::new() };
            return Ok((HashSet::new(), given_up));
        }
        let keys: Vec<Uuid> =
            events.iter().map(|event| event.envelope.partition_key).collect::<HashSet<_>>().into_iter().collect();
        let mut transaction = fence.begin(&self.pool).await?;
        let parked: HashSet<Uuid> =
            store::lock_in_tx(&mut transaction, &self.group, &keys).await?.into_iter().collect();
        let given_up = self.given_up(&mut *transaction, events).await?;
        if parked.is_empty() {
            return Ok((parked, given_up));
        }
        let behind: Vec<&Incoming> =
            events.iter().filter(|event| parked.contains(&event.envelope.partition_key)).collect();
        let behind = self.unhandled_in_tx(&mut transaction, behind).await?;
        let added = self.append_in_tx(&mut transaction, &behind).await?;
        transaction.commit().await?;
        crash::point(crash::PARKED, &self.group);
        self.count_parked("BEHIND", added);
        Ok((parked, given_up))
    }

    /// Those events that operators have skipped or discarded. Where every handled event has an inbox row, theirs is one of
    /// them; where the handler knows by itself what it has handled, it does not know these.
    async fn given_up<'c>(&self, connection: impl PgExecutor<'c>, events: &[Incoming]) -> sqlx::Result<HashSet<Uuid>> {
        if self.subscription.inbox == InboxMode::Rows {
            return Ok(HashSet::new());
        }
        inbox::known(connection, &self.group, &self.identities(events)).await
    }

    /// Parks events of one key, the one that failed first. Returns when it is committed; while the database is away that
    /// is later.
    pub(crate) async fn park(
        &self,
        fence: &Fence,
        events: &[Incoming],
        code: ReasonCode,
        reason: &str,
    ) -> Result<(), LeaseLost> {
        while let Err(error) = self.try_park(fence, events, code, reason).await {
            self.hold(&error).await?;
        }
        crash::point(crash::PARKED, &self.group);
        Ok(())
    }

    async fn try_park(&self, fence: &Fence, events: &[Incoming], code: ReasonCode, reason: &str) -> sqlx::Result<()> {
        let _parking = self.parked.parking();
        let mut transaction = fence.begin(&self.pool).await?;
        self.park_in_tx(&mut transaction, events.iter().collect(), code, reason).await?;
        transaction.commit().await
    }

    pub(crate) async fn park_in_tx(
        &self,
        connection: &mut PgConnection,
        events: Vec<&Incoming>,
        code: ReasonCode,
        reason: &str,
    ) -> sqlx::Result<()> {
        let events = self.unhandled_in_tx(&mut *connection, events).await?;
        let Some(first) = events.first() else { return Ok(()) };
        let envelope = &first.envelope;
        let (event, event_type) = (envelope.id, envelope.event_type.as_str());
        error!(subscription = self.group, %event, event_type, key = %envelope.partition_key, code = code.as_str(),
            reason, "an event is parked, and its key with it");
        let (now, verdict) = (self.now(), self.verdict(code, reason, 0));
        store::park_in_tx(&mut *connection, &self.group, envelope.partition_key, &verdict, now).await?;
        let added = self.append_in_tx(&mut *connection, &events).await?;
        // Parked already, under this or another key: a key without messages would hold others up for nothing.
        store::release_in_tx(connection, &self.group, &[envelope.partition_key]).await?;
        self.count_parked(code.as_str(), 1);
        self.count_parked("BEHIND", added.saturating_sub(1));
        Ok(())
    }

    /// Keeps a message that is no event, or none of its sender's, quarantined under a digest of all that was sent: the same
    /// message is kept once.
    pub(crate) async fn park_unreadable_in_tx(
        &self,
        connection: &mut PgConnection,
        message: &InboundMessage,
        code: ReasonCode,
        reason: &str,
    ) -> sqlx::Result<()> {
        let key = digest_key(message);
        let (now, verdict) = (self.now(), self.verdict(code, reason, 0));
        error!(subscription = self.group, %key, reason, "an unreadable message is quarantined");
        store::park_in_tx(&mut *connection, &self.group, key, &verdict, now).await?;
        store::append_unreadable_in_tx(connection, &self.group, key, message, now).await?;
        self.count_parked(code.as_str(), 1);
        Ok(())
    }

    /// What to do with a key that failed with `code` after `attempts` attempts of the worker.
    pub(crate) fn verdict<'a>(&self, code: ReasonCode, reason: &'a str, attempts: u32) -> Verdict<'a> {
        let exhausted = attempts >= self.schedule.attempts;
        let state = if exhausted { ParkedState::Quarantined } else { code.state() };
        Verdict { code, reason, state, next_attempt_at: self.schedule.next(attempts, self.now()) }
    }

    /// Those events this subscription has not taken responsibility for yet, as far as inbox rows tell; they get theirs.
    async fn unhandled_in_tx<'a>(
        &self,
        connection: &mut PgConnection,
        events: Vec<&'a Incoming>,
    ) -> sqlx::Result<Vec<&'a Incoming>> {
        let ids = self.identities(events.iter().copied());
        if self.subscription.inbox == InboxMode::Handler {
            let given_up = inbox::known(connection, &self.group, &ids).await?;
            let is_given_up = |event: &Incoming| given_up.contains(&self.reader.identity(&event.envelope));
            return Ok(events.into_iter().filter(|event| !is_given_up(event)).collect());
        }
        let mut fresh = inbox::claim_in_tx(connection, &self.group, &ids).await?;
        Ok(events.into_iter().filter(|event| fresh.remove(&self.reader.identity(&event.envelope))).collect())
    }

    /// Puts events behind their keys as they came, in the version in which they came, each under its identity.
    async fn append_in_tx(&self, connection: &mut PgConnection, events: &[&Incoming]) -> sqlx::Result<u64> {
        let ids = self.identities(events.iter().copied());
        store::append_in_tx(connection, &self.group, events, &ids, self.now()).await
    }

    fn identities<'a>(&self, events: impl IntoIterator<Item = &'a Incoming>) -> Vec<Uuid> {
        events.into_iter().map(|event| self.reader.identity(&event.envelope)).collect()
    }

    /// Asks the database what is parked, for metrics and for the consumer.
    ///
    /// # Errors
    /// Database faults.
    pub async fn look(&self) -> sqlx::Result<ParkedCounts> {
        let asked_at = self.parked.changes();
        let counts = store::counts(&self.pool, &self.group).await?;
        self.parked.learn(asked_at, counts.waiting + counts.quarantined > 0, counts.given_up);
        self.measure(&counts);
        Ok(counts)
    }

    fn measure(&self, counts: &ParkedCounts) {
        let age = counts.oldest.map_or(0.0, |oldest| (self.now() - oldest).as_seconds_f64().max(0.0));
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the number is far below 2^52")]
        for (state, keys) in [(ParkedState::Waiting, counts.waiting), (ParkedState::Quarantined, counts.quarantined)] {
            gauge!("vostro_parked_keys", "subscription" => self.group.clone(), "state" => state.as_str().to_lowercase())
                .set(keys as f64);
        }
        gauge!("vostro_parked_oldest_age_seconds", "subscription" => self.group.clone()).set(age);
    }

    /// Waits for the database: nothing is parked and nothing acknowledged while it is away. Not when another instance has
    /// taken the lease: what came is to be returned then.
    pub(crate) async fn hold(&self, error: &sqlx::Error) -> Result<(), LeaseLost> {
        match classify(error) {
            Fault::LeaseLost => return Err(LeaseLost),
            Fault::DatabaseDown => warn!(subscription = self.group, %error, "cannot park yet; holding what came"),
            _ => error!(subscription = self.group, %error, "the database refuses to park what came; holding it"),
        }
        until_database_answers(&self.pool).await;
        Ok(())
    }

    fn count_parked(&self, reason: &'static str, messages: u64) {
        if messages > 0 {
            counter!("vostro_parked_total", "subscription" => self.group.clone(), "reason" => reason)
                .increment(messages);
        }
    }
}

/// Stands in for the key of a message that has none. In binary mode what tells two messages apart may be in the headers
/// alone; what the broker adds on the way (`x-death`) differs each time.
fn digest_key(message: &InboundMessage) -> Uuid {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut add = |part: &[u8]| {
        digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    };
    add(message.content_type.as_bytes());
    for (name, value) in message.headers.iter().filter(|(name, _)| !name.starts_with("x-")).collect::<BTreeMap<_, _>>()
    {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    add(&message.body);
    let digest = digest.finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    Uuid::new_v8(bytes)
}
