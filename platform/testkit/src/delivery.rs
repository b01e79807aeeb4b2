use std::borrow::Cow;
use std::sync::Arc;

use chrono::Utc;
use sqlx::PgPool;
use uuid::Uuid;
use vostro_events::{Cause, DomainEvent, Envelope, EventType, NextVersionOf, copy_of};
use vostro_kernel::ActorKind;
use vostro_messaging::{Handler, HandlerError, Incoming};

/// An event as a subscriber would receive it, with a fresh id and a cause of its own.
pub fn incoming<E: DomainEvent>(event: &E, sequence: i64) -> Incoming {
    let cause = Cause {
        correlation_id: Uuid::now_v7(),
        causation_id: Uuid::now_v7(),
        command: None,
        actor_kind: ActorKind::System,
        actor_id: None,
        traceparent: None,
    };
    incoming_caused_by(event, sequence, cause)
}

/// An event as a subscriber would receive it, with a fresh id.
pub fn incoming_caused_by<E: DomainEvent>(event: &E, sequence: i64, cause: Cause) -> Incoming {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        event_type: EventType::of(event.event_type()),
        occurred_at: Utc::now(),
        aggregate_type: E::AGGREGATE.into(),
        aggregate_id: event.aggregate_id(),
        sequence,
        partition_key: event.partition_key(),
        cause,
        dataref: None,
    };
    let data = serde_json::value::to_raw_value(event).expect("events always serialise");
    Incoming { envelope, data }
}

/// What happened once, as its producer tells it in two versions that follow one another: the older, and its newer copy.
pub fn incoming_in_two_versions<Before: DomainEvent, After: NextVersionOf<Before>>(
    before: &Before,
    after: &After,
    sequence: i64,
) -> [Incoming; 2] {
    let original = incoming(before, sequence);
    let event_type = EventType::of(after.event_type());
    let envelope = Envelope { id: copy_of(original.envelope.id), event_type, ..original.envelope.clone() };
    let data = serde_json::value::to_raw_value(after).expect("events always serialise");
    [original, Incoming { envelope, data }]
}

/// Has a handler apply a batch the way the consumer does: one transaction, committed, then what comes after the commit.
///
/// # Errors
/// What the handler answered; the transaction is rolled back then.
pub async fn deliver(pool: &PgPool, handler: &Arc<dyn Handler>, batch: &[Incoming]) -> Result<(), HandlerError> {
    let batch = handler.prepare(Cow::Borrowed(batch)).await?;
    let mut transaction = vostro_messaging::begin(pool).await?;
    let after_commit = handler.handle_in_tx(&mut transaction, &batch).await?;
    transaction.commit().await?;
    if let Some(effect) = after_commit {
        effect();
    }
    Ok(())
}

/// The reason a handler gives for calling an event with this data invalid.
///
/// # Panics
/// When the handler accepts it, or fails for another reason.
pub async fn reason_for_refusing(pool: &PgPool, handler: &Arc<dyn Handler>, event: Incoming) -> String {
    let id = event.envelope.id;
    match deliver(pool, handler, &[event]).await {
        Err(HandlerError::Invalid { event, reason }) if event == id => reason,
        other => panic!("expected the event to be called invalid, got {other:?}"),
    }
}
