use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use metrics::{Histogram, counter, histogram};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use uuid::Uuid;

use crate::dead_letter::{self, NewDeadLetter, ReasonCode};
use crate::fault::{Fault, classify, jitter, until_database_answers};
use crate::{
    Broker, Deliveries, Delivery, Handler, HandlerError, InboxMode, Incoming, Outbox, Subscription, crash, decode,
    inbox, wire,
};

/// Runs one subscription: takes messages from its queue in batches, has the handler apply them, acknowledges after the
/// commit.
///
/// What can go wrong, and what becomes of it:
/// - a duplicate is dropped by the inbox;
/// - a message that cannot be read goes to the dead-letter queue;
/// - an event that is not for this subscription, or that the handler calls invalid, is set aside with the reason, and the
///   rest of the batch goes on;
/// - a failure that may pass is tried three times; then the batch is taken apart, so that one bad event is set aside alone;
/// - while the database is away the batch is held, unacknowledged, until it answers.
pub struct Consumer {
    subscription: Subscription,
    group: String,
    handler: Arc<dyn Handler>,
    pool: PgPool,
    outbox: Outbox,
    broker: Arc<dyn Broker>,
    latencies: Mutex<HashMap<String, Histogram>>,
}

impl Consumer {
    const ATTEMPTS: u32 = 3;
    /// A handler that takes longer is cancelled and rolled back, long before the broker would give up on it.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// `outbox` is the module's own: it is woken after each commit, as handlers write events too.
    pub fn new(
        subscription: Subscription,
        handler: Arc<dyn Handler>,
        pool: PgPool,
        outbox: Outbox,
        broker: Arc<dyn Broker>,
    ) -> Self {
        let group = subscription.group();
        Self { subscription, group, handler, pool, outbox, broker, latencies: Mutex::default() }
    }

    /// Consumes until `stop` is cancelled; a batch in progress is finished first.
    pub async fn run(self, stop: CancellationToken) {
        let prefetch = u16::try_from(self.subscription.batch.clamp(32, 512)).unwrap_or(512);
        let mut pause = Duration::from_millis(100);
        while !stop.is_cancelled() {
            match self.broker.consume(&self.subscription.queue(), prefetch).await {
                Ok(deliveries) => {
                    pause = Duration::from_millis(100);
                    self.take_from(deliveries, &stop).await;
                }
                Err(error) => {
                    debug!(subscription = self.group, %error, "waiting for the broker");
                    tokio::select! {
                        () = tokio::time::sleep(jitter(pause)) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    async fn take_from(&self, mut deliveries: Box<dyn Deliveries>, stop: &CancellationToken) {
        loop {
            let first = tokio::select! {
                delivery = deliveries.next() => delivery,
                () = stop.cancelled() => None,
            };
            let Some(first) = first else { return };
            let settled = tokio::select! {
                settled = self.take_batch(first, deliveries.as_mut()) => settled,
                // Only reached when a batch is held because the database is away: the broker keeps it.
                () = self.held_when_stopping(stop) => return,
            };
            if let Err(error) = settled {
                debug!(subscription = self.group, error, "the connection is gone; its messages will come again");
                return;
            }
        }
    }

    /// Completes when the bank is stopping and a running batch has had its deadline.
    async fn held_when_stopping(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        tokio::time::sleep(Self::DEADLINE / 3).await;
    }

    async fn take_batch(&self, first: Delivery, deliveries: &mut dyn Deliveries) -> Result<(), String> {
        let mut last = first.tag;
        // After a crash the culprit is unknown: events that were delivered before are handled one by one.
        let mut suspicious = first.delivery_count >= 2;
        let mut events = self.read(first, deliveries).await?;
        let full_by = Instant::now() + self.subscription.linger;
        while events.len() < self.subscription.batch {
            let Some(delivery) = next_until(deliveries, full_by).await else { break };
            last = delivery.tag;
            suspicious |= delivery.delivery_count >= 2;
            events.extend(self.read(delivery, deliveries).await?);
        }
        crash::point(crash::DELIVERED, &self.group);
        if suspicious {
            for event in events {
                self.handle(vec![event]).await;
            }
        } else {
            self.handle(events).await;
        }
        deliveries.ack_through(last).await.map_err(|error| error.to_string())
    }

    /// The events of a delivery; an unreadable one is sent to the dead-letter queue and has none.
    async fn read(&self, delivery: Delivery, deliveries: &mut dyn Deliveries) -> Result<Vec<Incoming>, String> {
        match decode(&delivery.message) {
            Ok(events) => Ok(events),
            Err(reason) => {
                error!(subscription = self.group, %reason, "an unreadable message goes to the dead-letter queue");
                self.count("undecodable", 1);
                deliveries.reject(delivery.tag).await.map_err(|error| error.to_string())?;
                Ok(Vec::new())
            }
        }
    }

    /// Handles every event or sets it aside; returns only when each has had one of the two.
    async fn handle(&self, events: Vec<Incoming>) {
        let (mut events, foreign): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| self.subscription.takes(event.envelope.event_type.as_str()));
        for event in foreign {
            let reason = format!("{} does not take {}", self.group, event.envelope.event_type);
            self.set_aside(&event, ReasonCode::UnknownEvent, &reason).await;
        }
        let mut attempt = 1;
        while !events.is_empty() {
            match self.apply(&events).await {
                Ok(()) => return,
                Err(HandlerError::Invalid { event, reason })
                    if events.iter().any(|candidate| candidate.envelope.id == event) =>
                {
                    let (invalid, rest): (Vec<_>, Vec<_>) =
                        events.into_iter().partition(|candidate| candidate.envelope.id == event);
                    for event in &invalid {
                        self.set_aside(event, ReasonCode::Invalid, &reason).await;
                    }
                    events = rest;
                }
                Err(HandlerError::Database(error)) if classify(&error) == Fault::DatabaseDown => {
                    warn!(subscription = self.group, %error, "the database is away; holding the batch");
                    until_database_answers(&self.pool).await;
                }
                Err(error) if attempt < Self::ATTEMPTS => {
                    debug!(subscription = self.group, %error, attempt, "trying again");
                    tokio::time::sleep(jitter(Duration::from_millis(50) * 3_u32.pow(attempt))).await;
                    attempt += 1;
                }
                Err(error) => return self.take_apart(events, &error).await,
            }
        }
    }

    /// The batch failed again and again: find out which event it is.
    async fn take_apart(&self, events: Vec<Incoming>, error: &HandlerError) {
        if let [event] = events.as_slice() {
            let reason = match error {
                HandlerError::Database(source) => source.to_string(),
                other => other.to_string(),
            };
            return self.set_aside(event, ReasonCode::RetriesExhausted, &reason).await;
        }
        for event in events {
            Box::pin(self.handle(vec![event])).await;
        }
    }

    /// One transaction: claim, apply, commit.
    async fn apply(&self, events: &[Incoming]) -> Result<(), HandlerError> {
        match tokio::time::timeout(Self::DEADLINE, self.apply_unbounded(events)).await {
            Ok(result) => result,
            Err(_) => Err(HandlerError::Transient("the handler exceeded its deadline".to_owned())),
        }
    }

    async fn apply_unbounded(&self, events: &[Incoming]) -> Result<(), HandlerError> {
        let mut transaction = self.pool.begin().await?;
        let fresh = match self.subscription.inbox {
            InboxMode::Rows => Some(inbox::claim_in_tx(&mut transaction, &self.group, &ids(events)).await?),
            InboxMode::Handler => None,
        };
        let new = fresh.as_ref().map_or(events.len(), std::collections::HashSet::len);
        let after_commit = match &fresh {
            Some(fresh) if fresh.is_empty() => None,
            Some(fresh) if fresh.len() < events.len() => {
                let mut unseen = fresh.clone();
                let events: Vec<Incoming> =
                    events.iter().filter(|event| unseen.remove(&event.envelope.id)).cloned().collect();
                self.handler.handle_in_tx(&mut transaction, &events).await?
            }
            _ => self.handler.handle_in_tx(&mut transaction, events).await?,
        };
        crash::point(crash::HANDLED, &self.group);
        transaction.commit().await?;
        crash::point(crash::APPLIED, &self.group);
        self.outbox.committed();
        if let Some(effect) = after_commit {
            effect();
        }
        self.count("applied", new);
        self.count("duplicate", events.len() - new);
        self.observe_latency(events);
        Ok(())
    }

    async fn set_aside(&self, event: &Incoming, code: ReasonCode, reason: &str) {
        let event_type = event.envelope.event_type.as_str();
        error!(subscription = self.group, event = %event.envelope.id, event_type, code = code.as_str(), reason,
            "an event is set aside");
        while let Err(error) = self.write_dead_letter(event, code, reason).await {
            warn!(subscription = self.group, %error, "cannot set an event aside yet; holding it");
            until_database_answers(&self.pool).await;
            tokio::time::sleep(jitter(Duration::from_millis(200))).await;
        }
        self.count("dead_lettered", 1);
    }

    async fn write_dead_letter(&self, event: &Incoming, code: ReasonCode, reason: &str) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        inbox::claim_in_tx(&mut transaction, &self.group, &[event.envelope.id]).await?;
        let letter = NewDeadLetter {
            subscription: &self.group,
            event: Some((event.envelope.id, event.envelope.event_type.as_str())),
            code,
            reason,
            message: &wire::alone(event),
        };
        dead_letter::insert_in_tx(&mut transaction, letter).await?;
        transaction.commit().await
    }

    fn count(&self, outcome: &'static str, events: usize) {
        if events > 0 {
            counter!("vostro_consumed_total", "subscription" => self.group.clone(), "outcome" => outcome)
                .increment(u64::try_from(events).unwrap_or(u64::MAX));
        }
    }

    /// From the producer's transaction to this subscriber's commit.
    fn observe_latency(&self, events: &[Incoming]) {
        let now = Utc::now();
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let event_type = event.envelope.event_type.as_str();
            if !latencies.contains_key(event_type) {
                let (subscription, label) = (self.group.clone(), event_type.to_owned());
                let histogram =
                    histogram!("vostro_end_to_end_seconds", "subscription" => subscription, "type" => label);
                latencies.insert(event_type.to_owned(), histogram);
            }
            latencies[event_type].record((now - event.envelope.occurred_at).to_std().unwrap_or_default());
        }
    }
}

/// A message that is there, or comes before `deadline`.
async fn next_until(deliveries: &mut dyn Deliveries, deadline: Instant) -> Option<Delivery> {
    match deliveries.next_ready() {
        Some(delivery) => Some(delivery),
        // A stream that has ended gives nothing here and says so at the next turn.
        None => tokio::time::timeout_at(deadline, deliveries.next()).await.ok().flatten(),
    }
}

fn ids(events: &[Incoming]) -> Vec<Uuid> {
    events.iter().map(|event| event.envelope.id).collect()
}
