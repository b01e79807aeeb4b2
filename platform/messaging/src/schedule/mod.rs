//! Events for later: committed now, published when they are due, unless they are cancelled before.
//!
//! An event waits in the module's own schema under what it is for and about whom, such as `("statement-term", statement)`.
//! Scheduling, postponing and cancelling happen in the caller's transaction; [`ScheduleWorker`] moves what is due into the
//! outbox. Which of the two a cancelled event has become is decided by its row: it is cancelled or published, never both.
//!
//! *When* is the database's business: an instance whose clock is wrong publishes nothing early. Events can be late (by
//! the worker's poll, or by an outage) and are never published twice.

mod worker;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::{Cause, DomainEvent};

use crate::NewEvent;

pub use worker::ScheduleWorker;

/// What a scheduled event is known by until it is published: one at a time for each purpose and subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Appointment {
    /// What it is for, such as `statement-term`.
    pub purpose: &'static str,
    /// What it is about.
    pub subject: Uuid,
}

/// An event that is to be published later.
#[derive(Debug, Clone)]
pub struct ScheduledEvent {
    appointment: Appointment,
    due_at: DateTime<Utc>,
    event: NewEvent,
}

impl ScheduledEvent {
    /// `id` is fresh (UUIDv7). The event says that it happens when it is due, and it is the first and only one of its
    /// aggregate: a number that was promised to an event would be missing in the aggregate's history when the event is
    /// cancelled, and out of order when it is not.
    pub fn new<E: DomainEvent>(
        id: Uuid,
        appointment: Appointment,
        due_at: DateTime<Utc>,
        cause: Cause,
        event: &E,
    ) -> Self {
        Self { appointment, due_at, event: NewEvent::new(id, due_at, 1, cause, event) }
    }
}

/// Events a module has for later. Every method works in the caller's transaction and on the module's own schema.
#[derive(Debug, Clone, Copy)]
pub struct Schedule;

impl Schedule {
    /// Schedules an event. One that waits for the same appointment is replaced, which is how to postpone; one that has
    /// become due already is not recalled.
    ///
    /// # Errors
    /// As [`crate::Outbox::append_in_tx`].
    pub async fn add_in_tx(connection: &mut PgConnection, scheduled: ScheduledEvent) -> sqlx::Result<()> {
        let ScheduledEvent { appointment, due_at, event } = scheduled;
        event.check_size()?;
        let envelope = event.envelope();
        sqlx::query!(
            "insert into scheduled_event (purpose, subject, due_at, event_id, event_type, slot, aggregate_id, event)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (purpose, subject) do update
             set due_at = excluded.due_at, event_id = excluded.event_id, event_type = excluded.event_type,
                 slot = excluded.slot, aggregate_id = excluded.aggregate_id, event = excluded.event",
            appointment.purpose,
            appointment.subject,
            due_at,
            envelope.id,
            envelope.event_type.to_string(),
            i16::from(envelope.slot().number()),
            envelope.aggregate_id,
            event.bytes()
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    /// The time that counts for what is due: the database's. Whoever schedules something for a while from now on adds
    /// to this.
    ///
    /// # Errors
    /// Database faults.
    pub async fn now_in_tx(connection: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
        sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(connection).await
    }

    /// Cancels what waits for an appointment, and says whether anything did. `false` also means "too late": the event is
    /// published. Waits for a worker that is moving it at this moment.
    ///
    /// # Errors
    /// Database faults.
    pub async fn cancel_in_tx(connection: &mut PgConnection, appointment: Appointment) -> sqlx::Result<bool> {
        let cancelled = sqlx::query!(
            "delete from scheduled_event where purpose = $1 and subject = $2",
            appointment.purpose,
            appointment.subject
        )
        .execute(connection)
        .await?;
        Ok(cancelled.rows_affected() > 0)
    }
}
