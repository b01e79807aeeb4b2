use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use metrics::{Histogram, counter, histogram};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use uuid::Uuid;

use crate::claim::CLAIMED_BYTES;
use crate::fault::{Fault, classify, jitter, until_database_answers};
use crate::lease::{Fence, LeaseLost};
use crate::parking::{ReasonCode, reason_of};
use crate::trace::Handling;
use crate::{
    Broker, Deliveries, Delivery, Handler, HandlerError, InboxMode, Incoming, Intake, TransportError, crash, decode,
    inbox,
};

/// Runs one subscription: takes messages from its queue in batches, has the handler apply them, acknowledges after the
/// commit.
///
/// What can go wrong, and what becomes of it:
/// - a duplicate is dropped by the inbox;
/// - a message that cannot be read goes to the dead-letter queue, and from there to the parked messages;
/// - an event of an earlier version is read as the one that is taken; the newer copy of one that is published in two
///   versions is left to whoever takes it ([`crate::EventReader`]);
/// - an event that is not for this subscription, or that the handler calls invalid or blocked, is parked with its key
///   ([`crate::parking`]), and the other keys of the batch go on;
/// - a failure that may pass is tried three times; then the batch is taken apart, so that the bad event's key is parked
///   alone;
/// - an event of a parked key is kept behind it;
/// - what came again and again because the process ended is parked, so that the one that ends it is tried alone;
/// - while the database is away the batch is held, unacknowledged, until it answers;
/// - a batch whose data did not travel is handled in portions, each with no more of it than one event may have;
/// - when another instance has taken the lease the batch is rolled back and returned to the queue.
pub struct Consumer {
    intake: Arc<Intake>,
    handler: Arc<dyn Handler>,
    broker: Arc<dyn Broker>,
    queue: String,
    fence: Fence,
    latencies: Mutex<HashMap<String, Histogram>>,
}

/// Why a batch was not applied.
enum Failure {
    /// It took too long; a second try would too.
    DeadlineExceeded,
    Handler(HandlerError),
}

impl Failure {
    /// For traces: the text of a refusal may hold data of customers.
    const fn kind(&self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "the handler exceeded its deadline",
            Self::Handler(error) => error.kind(),
        }
    }
}

impl<E: Into<HandlerError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Handler(error.into())
    }
}

/// Why deliveries are not taken any more.
enum Ended {
    /// The consumer is gone, or is to pause: a new one has to be made.
    Stream,
    LeaseLost,
}

impl From<LeaseLost> for Ended {
    fn from(_: LeaseLost) -> Self {
        Self::LeaseLost
    }
}

/// Events of one key that wait to be parked, the one that failed first.
struct Failed {
    events: Vec<Incoming>,
    code: ReasonCode,
    reason: String,
}

impl Consumer {
    const ATTEMPTS: u32 = 3;
    /// From so many returns on, a message is suspected of ending the process.
    const SUSPICIOUS: u64 = 2;
    /// From so many returns on it is not handled here any more. Far below the eight after which the broker gives it up.
    const INTERRUPTED: u64 = 4;
    /// A handler that takes longer is cancelled and rolled back, long before the broker would give up on it.
    const DEADLINE: Duration = Duration::from_secs(30);
    /// The same for one event alone, which has to do with much less.
    const DEADLINE_ALONE: Duration = Duration::from_secs(10);

    pub fn new(intake: Arc<Intake>, handler: Arc<dyn Handler>, broker: Arc<dyn Broker>) -> Self {
        let queue = intake.subscription.queue();
        Self { intake, handler, broker, queue, fence: Fence::none(), latencies: Mutex::default() }
    }

    /// From this queue of the subscription, under a lease for it.
    #[must_use]
    pub fn on(self, queue: impl Into<String>, fence: Fence) -> Self {
        Self { queue: queue.into(), fence, ..self }
    }

    /// Consumes until `stop` is cancelled, when a batch in progress is finished first, or until the lease is lost.
    pub async fn run(self, stop: CancellationToken) {
        self.begin_counting();
        let subscription = &self.intake.subscription;
        // The same for every consumer of a queue, whatever happened before: what is returned goes behind what was returned
        // earlier, so one that took less than all of it and ended would leave it in another order.
        let prefetch = u16::try_from(subscription.batch.clamp(32, 512)).unwrap_or(512);
        let mut pause = Duration::from_millis(100);
        while !stop.is_cancelled() {
            if self.intake.switch.is_paused() {
                tokio::select! {
                    () = self.intake.switch.resumed() => {}
                    () = stop.cancelled() => return,
                }
            }
            match self.broker.consume(&self.queue, prefetch).await {
                Ok(deliveries) => {
                    pause = Duration::from_millis(100);
                    if matches!(self.take_from(deliveries, &stop).await, Ended::LeaseLost) {
                        warn!(queue = self.queue, "another instance has the queue; what came is returned");
                        return;
                    }
                }
                Err(error) => {
                    debug!(subscription = self.intake.group, %error, "waiting for the broker");
                    tokio::select! {
                        () = tokio::time::sleep(jitter(pause)) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// A counter that appears with its first event has not increased, as Prometheus sees it.
    fn begin_counting(&self) {
        for outcome in ["applied", "duplicate", "undecodable", "parked"] {
            counter!("vostro_consumed_total", "subscription" => self.intake.group.clone(), "outcome" => outcome)
                .increment(0);
        }
        self.count_redelivered(0);
    }

    fn count_redelivered(&self, messages: u64) {
        counter!("vostro_redelivered_total", "subscription" => self.intake.group.clone()).increment(messages);
    }

    async fn take_from(&self, mut deliveries: Box<dyn Deliveries>, stop: &CancellationToken) -> Ended {
        let mut is_first = true;
        loop {
            let first = tokio::select! {
                delivery = deliveries.next() => delivery,
                () = stop.cancelled() => None,
                // Dropping the deliveries returns what was not begun to the queue.
                () = self.intake.switch.paused() => None,
            };
            let Some(first) = first else { return Ended::Stream };
            if std::mem::take(&mut is_first) {
                // Whoever had the queue before has it no more, and may have parked some of its keys.
                self.intake.parked.forget();
            }
            let settled = tokio::select! {
                settled = self.take_batch(first, deliveries.as_mut()) => settled,
                // Only reached when a batch is held because the database is away: the broker keeps it.
                () = self.held_when_stopping(stop) => return Ended::Stream,
            };
            if let Err(ended) = settled {
                return ended;
            }
        }
    }

    /// Completes when the bank is stopping and a running batch has had its deadline.
    async fn held_when_stopping(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        tokio::time::sleep(Self::DEADLINE / 3).await;
    }

    async fn take_batch(&self, first: Delivery, deliveries: &mut dyn Deliveries) -> Result<(), Ended> {
        let mut last = first.tag;
        // After a crash the culprit is unknown.
        let mut suspicious = first.delivery_count >= Self::SUSPICIOUS;
        let mut returns = first.delivery_count;
        let mut events = self.read(first, deliveries).await?;
        // Those at the front whose messages have come again too often.
        let mut interrupted = if returns >= Self::INTERRUPTED { events.len() } else { 0 };
        let full_by = Instant::now() + self.intake.subscription.linger;
        while events.len() < self.intake.subscription.batch {
            let Some(delivery) = next_until(deliveries, full_by).await else { break };
            last = delivery.tag;
            suspicious |= delivery.delivery_count >= Self::SUSPICIOUS;
            returns = returns.min(delivery.delivery_count);
            events.extend(self.read(delivery, deliveries).await?);
            if returns >= Self::INTERRUPTED {
                interrupted = events.len();
            }
        }
        crash::point(crash::DELIVERED, &self.intake.group);
        if suspicious {
            let others = events.split_off(interrupted);
            self.set_aside(events).await?;
            self.feel_the_way(others).await?;
        } else {
            for events in in_portions(events) {
                self.handle(events).await?;
            }
        }
        deliveries.ack_through(last).await.map_err(|error| self.gone(&error))?;
        crash::point(crash::ACKNOWLEDGED, &self.intake.group);
        Ok(())
    }

    fn gone(&self, error: &TransportError) -> Ended {
        debug!(subscription = self.intake.group, %error, "the connection is gone; its messages will come again");
        Ended::Stream
    }

    /// Parks events that were with a consumer each of the last times its process ended. One of them may be why, and would
    /// take those that wait behind it to the dead letters with it. As a parked message each is tried by itself, and an
    /// attempt is counted before it begins.
    async fn set_aside(&self, mut events: Vec<Incoming>) -> Result<(), LeaseLost> {
        const REASON: &str = "the process has ended several times while it was being handled, or about to be";
        self.intake.reader.leave_other_versions(&mut events);
        let mut events = self.intake.keep_behind_parked(&self.fence, events).await?;
        while !events.is_empty() {
            let of_one_key = split_off_key(&mut events, 0);
            self.park(&of_one_key, ReasonCode::Interrupted, REASON).await?;
        }
        Ok(())
    }

    /// Handles events of which one may end the process: one, then two, four, and so on, so that most of what comes before it
    /// is committed, and what is innocent, which is nearly everything the broker returns after a crash, does not take a
    /// commit an event.
    async fn feel_the_way(&self, mut events: Vec<Incoming>) -> Result<(), LeaseLost> {
        let mut size = 1;
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(size));
            for portion in in_portions(events) {
                self.handle(portion).await?;
            }
            events = rest;
            size *= 2;
        }
        Ok(())
    }

    /// The events of a delivery; an unreadable one is sent to the dead-letter queue and has none.
    async fn read(&self, delivery: Delivery, deliveries: &mut dyn Deliveries) -> Result<Vec<Incoming>, Ended> {
        if delivery.delivery_count > 0 {
            self.count_redelivered(1);
        }
        match decode(&delivery.message) {
            Ok(events) => Ok(events),
            Err(reason) => {
                error!(subscription = self.intake.group, %reason, "an unreadable message goes to the dead-letter queue");
                self.count("undecodable", 1);
                deliveries.reject(delivery.tag).await.map_err(|error| self.gone(&error))?;
                Ok(Vec::new())
            }
        }
    }

    /// Handles every event or parks it; returns only when each has had one of the two.
    async fn handle(&self, mut events: Vec<Incoming>) -> Result<(), LeaseLost> {
        self.intake.reader.leave_other_versions(&mut events);
        let mut events = self.intake.keep_behind_parked(&self.fence, events).await?;
        let mut failed = self.split_off_foreign(&mut events);
        let mut attempt = 1;
        while !events.is_empty() {
            let error = match self.apply(&events).await {
                Ok(()) => break,
                Err(error) => error,
            };
            match error {
                Failure::Handler(HandlerError::Database(error)) if classify(&error) == Fault::LeaseLost => {
                    return Err(LeaseLost);
                }
                Failure::Handler(HandlerError::Database(error)) if classify(&error) == Fault::DatabaseDown => {
                    warn!(subscription = self.intake.group, %error, "the database is away; holding the batch");
                    until_database_answers(&self.intake.pool).await;
                }
                Failure::Handler(
                    ref error @ (HandlerError::Invalid { event, .. } | HandlerError::Blocked { event, .. }),
                ) if self.position(&events, event).is_some() => {
                    failed.extend(self.split_off(&mut events, event, error))
                }
                Failure::Handler(error) if attempt < Self::ATTEMPTS => {
                    debug!(subscription = self.intake.group, %error, attempt, "trying again");
                    tokio::time::sleep(jitter(Duration::from_millis(50) * 3_u32.pow(attempt))).await;
                    attempt += 1;
                }
                Failure::Handler(error) => {
                    self.take_apart(std::mem::take(&mut events), &error).await?;
                }
                Failure::DeadlineExceeded => {
                    let error = HandlerError::Transient("the handler exceeded its deadline".to_owned());
                    self.take_apart(std::mem::take(&mut events), &error).await?;
                }
            }
        }
        // Only now: what came before them in their keys is applied. The last found first: what was split off took with it
        // whatever came later in its key, so of two of one key the one found later is the earlier one.
        for Failed { events, code, reason } in failed.into_iter().rev() {
            self.park(&events, code, &reason).await?;
        }
        Ok(())
    }

    /// Takes events out that are not for this subscription, each with what is behind it in its key.
    fn split_off_foreign(&self, events: &mut Vec<Incoming>) -> Vec<Failed> {
        let Intake { reader, group, .. } = &*self.intake;
        let mut failed = Vec::new();
        while let Some(first) = events.iter().position(|event| !reader.takes(event.envelope.event_type.as_str())) {
            let reason = format!("{group} does not take {}", events[first].envelope.event_type);
            let events = split_off_key(events, first);
            failed.push(Failed { events, code: ReasonCode::UnknownEvent, reason });
        }
        failed
    }

    /// The batch failed again and again: find out which event it is.
    async fn take_apart(&self, events: Vec<Incoming>, error: &HandlerError) -> Result<(), LeaseLost> {
        if events.len() == 1 {
            // The database is there, or this batch would be held.
            let (code, reason) = reason_of(error).unwrap_or((ReasonCode::RetriesExhausted, error.to_string()));
            return self.park(&events, code, &reason).await;
        }
        for event in events {
            Box::pin(self.handle(vec![event])).await?;
        }
        Ok(())
    }

    async fn park(&self, events: &[Incoming], code: ReasonCode, reason: &str) -> Result<(), LeaseLost> {
        self.intake.park(&self.fence, events, code, reason).await?;
        self.count("parked", events.len());
        Ok(())
    }

    /// One transaction: claim, apply, commit.
    async fn apply(&self, events: &[Incoming]) -> Result<(), Failure> {
        let deadline = if events.len() == 1 { Self::DEADLINE_ALONE } else { Self::DEADLINE };
        let handling = Handling::begin(&self.intake.group, events);
        let events = handling.as_ref().map_or(events, Handling::events);
        let applied = tokio::time::timeout(deadline, self.apply_unbounded(events)).await;
        let result = applied.unwrap_or(Err(Failure::DeadlineExceeded));
        if let (Some(handling), Err(failure)) = (handling, &result) {
            handling.fail(failure.kind());
        }
        result
    }

    async fn apply_unbounded(&self, events: &[Incoming]) -> Result<(), Failure> {
        let prepared = self.handler.prepare(self.intake.reader.read(events)?).await?;
        let events = prepared.as_ref();
        let mut transaction = self.fence.begin(&self.intake.pool).await?;
        let fresh = match self.intake.subscription.inbox {
            InboxMode::Rows => Some(inbox::claim_in_tx(&mut transaction, &self.intake.group, &ids(events)).await?),
            InboxMode::Handler => None,
        };
        if fresh.is_some() {
            crash::point(crash::CLAIMED, &self.intake.group);
        }
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
        crash::point(crash::HANDLED, &self.intake.group);
        transaction.commit().await?;
        crash::point(crash::APPLIED, &self.intake.group);
        self.intake.outbox.committed();
        if let Some(effect) = after_commit {
            effect();
        }
        self.count("applied", new);
        self.count("duplicate", events.len() - new);
        self.observe_latency(events);
        Ok(())
    }

    /// Where the event of this identity is.
    fn position(&self, events: &[Incoming], id: Uuid) -> Option<usize> {
        events.iter().position(|event| self.intake.reader.identity(&event.envelope) == id)
    }

    /// Takes the event that failed out of the batch, with what is behind it in its key.
    fn split_off(&self, events: &mut Vec<Incoming>, id: Uuid, error: &HandlerError) -> Option<Failed> {
        let first = self.position(events, id)?;
        let (code, reason) = reason_of(error)?;
        Some(Failed { events: split_off_key(events, first), code, reason })
    }

    fn count(&self, outcome: &'static str, events: usize) {
        if events > 0 {
            counter!("vostro_consumed_total", "subscription" => self.intake.group.clone(), "outcome" => outcome)
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
                let (subscription, label) = (self.intake.group.clone(), event_type.to_owned());
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

/// The events in order, in as few batches as there can be without one whose data, where it did not travel, is more than a
/// single event may have: a batch has it all in memory.
fn in_portions(events: Vec<Incoming>) -> Vec<Vec<Incoming>> {
    let most = u64::try_from(CLAIMED_BYTES).unwrap_or(u64::MAX);
    let mut portions = vec![Vec::with_capacity(events.len())];
    let mut bytes = 0_u64;
    for event in events {
        let size = event.envelope.dataref.map_or(0, |reference| reference.size);
        if bytes > 0 && bytes.saturating_add(size) > most {
            portions.push(Vec::new());
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        portions.last_mut().expect("there is one from the start").push(event);
    }
    portions
}

fn ids(events: &[Incoming]) -> Vec<Uuid> {
    events.iter().map(|event| event.envelope.id).collect()
}

/// Takes the event at `first` out, and all later ones of its key.
fn split_off_key(events: &mut Vec<Incoming>, first: usize) -> Vec<Incoming> {
    let key = events[first].envelope.partition_key;
    let mut index = 0;
    events
        .extract_if(.., |event| {
            let behind = index >= first && event.envelope.partition_key == key;
            index += 1;
            behind
        })
        .collect()
}
