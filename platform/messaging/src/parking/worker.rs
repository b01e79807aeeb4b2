use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};
use uuid::Uuid;

use super::reason::reason_of;
use super::store::{self, Finished, Head};
use super::{ParkedState, ReasonCode};
use crate::fault::{Pace, until_database_answers};
use crate::trace::Handling;
use crate::{Handler, HandlerError, InboxMode, Incoming, Intake, crash, decode, inbox};

/// Tries the parked keys of one subscription again when their time has come, each from its first message on, and
/// releases those that come to their end. Several instances may do it side by side.
pub struct RetryWorker {
    intake: Arc<Intake>,
    handler: Arc<dyn Handler>,
}

/// Why the first message of a key is still there.
enum Failure {
    /// The database is away; nothing is wrong with the message.
    DatabaseDown,
    Because(ReasonCode, String),
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Self {
        reason_of(&error).map_or(Self::DatabaseDown, |(code, reason)| Self::Because(code, reason))
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        HandlerError::from(error).into()
    }
}

/// For traces, which hold nothing that an event or the database said.
fn kind_of_failure(result: &Result<Finished, Failure>) -> Option<&'static str> {
    match result {
        Ok(Finished::More | Finished::Released) => None,
        Ok(Finished::Gone) => Some("somebody else has decided about it meanwhile"),
        Err(Failure::DatabaseDown) => Some("the database did not do its part"),
        Err(Failure::Because(code, _)) => Some(code.as_str()),
    }
}

impl RetryWorker {
    const POLL: Duration = Duration::from_secs(1);
    /// Keys that are tried at the same time, so that one whose handler hangs does not hold up all others.
    const LANES: usize = 2;
    const DEADLINE: Duration = Duration::from_secs(30);
    /// How long a key belongs to whoever took it. Longer than the deadline: two never work on one key.
    const CLAIM: Duration = Duration::from_secs(90);

    pub fn new(intake: Arc<Intake>, handler: Arc<dyn Handler>) -> Self {
        Self { intake, handler }
    }

    /// Works until `stop` is cancelled, and not while consuming is paused. An attempt that is cut off is rolled back.
    pub async fn run(self, stop: CancellationToken) {
        let mut pace = Pace::of(Self::POLL);
        loop {
            let answered = tokio::select! {
                answered = self.turn() => answered,
                () = stop.cancelled() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pace.after(answered)) => {}
                () = self.intake.parked.woken() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Whether the database answered.
    async fn turn(&self) -> bool {
        let turn = async {
            if !self.intake.switch.is_paused() && self.intake.look().await?.waiting > 0 {
                self.retry_due().await?;
            }
            self.intake.look().await
        };
        let done = turn.await;
        if let Err(error) = &done {
            debug!(subscription = self.intake.group, %error, "parked keys wait for the database");
        }
        done.is_ok()
    }

    /// Tries every key whose time has come, and says how many attempts that were.
    ///
    /// # Errors
    /// Database faults; what was released before stays so.
    pub async fn retry_due(&self) -> sqlx::Result<usize> {
        let lanes = (0..Self::LANES).map(|_| self.lane());
        Ok(futures::future::try_join_all(lanes).await?.into_iter().sum())
    }

    async fn lane(&self) -> sqlx::Result<usize> {
        let mut attempts = 0;
        let Intake { pool, group, .. } = &*self.intake;
        loop {
            if self.intake.switch.is_paused() {
                return Ok(attempts);
            }
            let claim = self.claim();
            let Some((key, nth)) = store::claim_due(pool, group, self.intake.now(), claim).await? else {
                return Ok(attempts);
            };
            attempts += 1;
            self.retry(key, nth, claim).await?;
        }
    }

    /// Until when a key belongs to this attempt. It is also how the attempt recognises that nobody else has decided about
    /// the key since, so it is as exact as the database keeps it.
    fn claim(&self) -> DateTime<Utc> {
        (self.intake.now() + Self::CLAIM).trunc_subsecs(6)
    }

    /// From the first message of the key as far as it goes.
    async fn retry(&self, key: Uuid, mut attempt: u32, mut claim: DateTime<Utc>) -> sqlx::Result<()> {
        let Intake { pool, group, schedule, .. } = &*self.intake;
        if attempt > schedule.attempts {
            let reason = "each attempt ended the process";
            return self.postpone(key, attempt, claim, ReasonCode::CrashLoop, reason).await;
        }
        loop {
            let Some(head) = store::head(pool, group, key).await? else { return self.release(key).await };
            let next_claim = self.claim();
            match self.apply_within_deadline(key, &head, next_claim).await {
                Ok(Finished::More) if self.intake.switch.is_paused() => {
                    return store::give_back(pool, group, key, next_claim, self.intake.now()).await;
                }
                Ok(Finished::More) => (attempt, claim) = (1, next_claim),
                Ok(Finished::Released) => {
                    info!(subscription = group, %key, "a parked key is released");
                    return Ok(());
                }
                Ok(Finished::Gone) => return Ok(()),
                Err(Failure::DatabaseDown) => {
                    until_database_answers(pool).await;
                    return store::give_back(pool, group, key, claim, self.intake.now()).await;
                }
                Err(Failure::Because(code, reason)) => return self.postpone(key, attempt, claim, code, &reason).await,
            }
        }
    }

    /// A key that has lost its last message holds nothing up.
    async fn release(&self, key: Uuid) -> sqlx::Result<()> {
        let mut transaction = crate::begin(&self.intake.pool).await?;
        store::lock_in_tx(&mut transaction, &self.intake.group, &[key]).await?;
        store::release_in_tx(&mut transaction, &self.intake.group, &[key]).await?;
        transaction.commit().await
    }

    async fn postpone(
        &self,
        key: Uuid,
        attempt: u32,
        claim: DateTime<Utc>,
        code: ReasonCode,
        reason: &str,
    ) -> sqlx::Result<()> {
        let verdict = self.intake.verdict(code, reason, attempt);
        let (subscription, code) = (&self.intake.group, code.as_str());
        match verdict.state {
            ParkedState::Quarantined => {
                error!(subscription, %key, attempt, code, reason, "a parked key is quarantined: an operator has to decide");
            }
            ParkedState::Waiting => debug!(subscription, %key, attempt, code, reason, "a parked key has to wait on"),
        }
        store::postpone(&self.intake.pool, subscription, key, claim, &verdict).await
    }

    async fn apply_within_deadline(
        &self,
        key: Uuid,
        head: &Head,
        next_claim: DateTime<Utc>,
    ) -> Result<Finished, Failure> {
        let events = self.read(head)?;
        let handling = Handling::begin(&self.intake.group, &events);
        let events = handling.as_ref().map_or(events, |handling| handling.events().to_vec());
        let applied = tokio::time::timeout(Self::DEADLINE, self.apply(key, head, events, next_claim)).await;
        let deadline = || HandlerError::Transient("the handler exceeded its deadline".to_owned());
        let result = applied.unwrap_or_else(|_| Err(deadline().into()));
        if let (Some(handling), Some(kind)) = (handling, kind_of_failure(&result)) {
            handling.fail(kind);
        }
        result
    }

    /// One transaction: the effect, the message gone, the key free if it was the last.
    async fn apply(
        &self,
        key: Uuid,
        head: &Head,
        events: Vec<Incoming>,
        next_claim: DateTime<Utc>,
    ) -> Result<Finished, Failure> {
        let intake = &*self.intake;
        let events = self.handler.prepare(Cow::Owned(events)).await?.into_owned();
        let mut transaction = crate::begin(&intake.pool).await?;
        let events = if head.event_id.is_none() && intake.subscription.inbox == InboxMode::Rows {
            // It could not be read when it was parked, so its events have no inbox rows yet.
            let ids: Vec<Uuid> = events.iter().map(|event| event.envelope.id).collect();
            let mut fresh = inbox::claim_in_tx(&mut transaction, &intake.group, &ids).await?;
            events.into_iter().filter(|event| fresh.remove(&event.envelope.id)).collect()
        } else {
            events
        };
        let after_commit =
            if events.is_empty() { None } else { self.handler.handle_in_tx(&mut transaction, &events).await? };
        crash::point(crash::RETRIED, &intake.group);
        let finished = store::finish_in_tx(&mut transaction, &intake.group, key, head.position, next_claim).await?;
        if finished == Finished::Gone {
            return Ok(finished);
        }
        transaction.commit().await?;
        crash::point(crash::RELEASED, &intake.group);
        intake.outbox.committed();
        if let Some(effect) = after_commit {
            effect();
        }
        Ok(finished)
    }

    /// The events of a message, in the versions that this release takes: it may have been parked by another one.
    fn read(&self, head: &Head) -> Result<Vec<Incoming>, Failure> {
        let mut events =
            decode(&head.message).map_err(|reason| Failure::Because(ReasonCode::from(&reason), reason.to_string()))?;
        let Intake { reader, group, .. } = &*self.intake;
        reader.leave_other_versions(&mut events);
        match events.iter().find(|event| !reader.takes(event.envelope.event_type.as_str())) {
            Some(event) => {
                let reason = format!("{group} does not take {}", event.envelope.event_type);
                Err(Failure::Because(ReasonCode::UnknownEvent, reason))
            }
            None => Ok(reader.read(&events)?.into_owned()),
        }
    }
}
