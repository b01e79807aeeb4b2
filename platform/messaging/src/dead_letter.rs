//! Messages that could not be handled, kept with the reason until somebody decides about them.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::Undecodable;

use crate::InboundMessage;

/// Why a message is here. The codes are stable; operators and alerts name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonCode {
    /// Not a CloudEvent, or not one this release can read.
    Undecodable,
    /// It says it is an event of a module that did not send it.
    ForeignSender,
    /// An event type the subscription does not know, such as a version from the future.
    UnknownEvent,
    /// The data does not fit the event's schema, or contradicts what the module knows.
    Invalid,
    /// The handler failed on it repeatedly.
    RetriesExhausted,
    /// The process ended while handling it, repeatedly.
    CrashLoop,
}

impl ReasonCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "UNDECODABLE",
            Self::ForeignSender => "FOREIGN_SENDER",
            Self::UnknownEvent => "UNKNOWN_EVENT",
            Self::Invalid => "INVALID",
            Self::RetriesExhausted => "RETRIES_EXHAUSTED",
            Self::CrashLoop => "CRASH_LOOP",
        }
    }
}

impl From<&Undecodable> for ReasonCode {
    fn from(reason: &Undecodable) -> Self {
        match reason {
            Undecodable::ForeignSender { .. } => Self::ForeignSender,
            _ => Self::Undecodable,
        }
    }
}

/// A message about to be set aside.
#[derive(Debug, Clone)]
pub struct NewDeadLetter<'a> {
    pub subscription: &'a str,
    pub event: Option<(Uuid, &'a str)>,
    pub code: ReasonCode,
    pub reason: &'a str,
    pub message: &'a InboundMessage,
}

/// A message that was set aside, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: Uuid,
    pub subscription: String,
    pub event_id: Option<Uuid>,
    pub event_type: Option<String>,
    pub reason_code: String,
    pub reason: String,
    pub failed_at: DateTime<Utc>,
}

/// Sets a message aside. An event is set aside once per subscription, however often it comes.
///
/// # Errors
/// Database faults.
pub async fn insert_in_tx(connection: &mut PgConnection, letter: NewDeadLetter<'_>) -> sqlx::Result<()> {
    let headers = serde_json::to_value(&letter.message.headers).expect("a map of strings always serialises");
    let (event_id, event_type) = letter.event.unzip();
    sqlx::query!(
        "insert into dead_letter (id, subscription, event_id, event_type, reason_code, reason, content_type, headers, body)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
        Uuid::now_v7(),
        letter.subscription,
        event_id,
        event_type,
        letter.code.as_str(),
        letter.reason,
        letter.message.content_type,
        headers,
        letter.message.body
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest dead letters of the module whose pool this is.
///
/// # Errors
/// Database faults.
pub async fn list(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<DeadLetter>> {
    sqlx::query_as!(
        DeadLetter,
        "select id, subscription, event_id, event_type, reason_code, reason, failed_at
         from dead_letter order by failed_at desc, id desc limit $1",
        limit
    )
    .fetch_all(pool)
    .await
}

/// How many dead letters the module has.
///
/// # Errors
/// Database faults.
pub async fn count(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from dead_letter"#).fetch_one(pool).await
}
