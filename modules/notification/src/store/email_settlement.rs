//! What became of e-mails a pass had claimed.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::{Status, Suppression};

/// The end of an e-mail's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Final {
    /// The mail server took it.
    Delivered { content_hash: Vec<u8> },
    /// It will not be sent, and nobody did anything wrong.
    Suppressed(Suppression),
    /// It could not be sent; the code says why.
    Failed(String),
}

/// Ends e-mails for good and returns those this pass still held. Others were taken over by a later pass, whose word
/// counts.
pub(crate) async fn finish_in_tx(
    connection: &mut PgConnection,
    claim: Uuid,
    finals: &[(Uuid, Final)],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<Uuid>> {
    if finals.is_empty() {
        return Ok(HashSet::new());
    }
    let count = finals.len();
    let (mut ids, mut statuses) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut suppressed, mut failures) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut delivered, mut hashes) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (id, end) in finals {
        let (status, reason, failure, hash) = match end {
            Final::Delivered { content_hash } => (Status::Delivered, None, None, Some(content_hash.as_slice())),
            Final::Suppressed(reason) => (Status::Suppressed, Some(reason.as_str()), None, None),
            Final::Failed(code) => (Status::Failed, None, Some(code.as_str()), None),
        };
        ids.push(*id);
        statuses.push(status.as_str());
        suppressed.push(reason);
        failures.push(failure);
        delivered.push((status == Status::Delivered).then_some(now));
        hashes.push(hash);
    }
    let settled = sqlx::query_scalar!(
        "with held as (
             delete from notification.email where notification_id = any($1) and claim = $7 returning notification_id
         )
         update notification.notification n
         set status = s.status, suppressed = s.suppressed, failure = s.failure, delivered_at = s.delivered_at,
             content_hash = s.content_hash
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[])
              as s (id, status, suppressed, failure, delivered_at, content_hash)
         join held on held.notification_id = s.id
         where n.id = s.id
         returning n.id",
        &ids,
        &statuses as &[&str],
        &suppressed as &[Option<&str>],
        &failures as &[Option<&str>],
        &delivered as &[Option<DateTime<Utc>>],
        &hashes as &[Option<&[u8]>],
        claim
    )
    .fetch_all(connection)
    .await?;
    Ok(settled.into_iter().collect())
}

/// An e-mail that is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    pub notification_id: Uuid,
    pub due_at: DateTime<Utc>,
    /// Whether this was an attempt to send it, or only a look whether the person is known by now.
    pub counts: bool,
}

/// Gives e-mails back to the queue, those this pass still holds.
pub(crate) async fn retry_in_tx(connection: &mut PgConnection, claim: Uuid, retries: &[Retry]) -> sqlx::Result<()> {
    if retries.is_empty() {
        return Ok(());
    }
    let ids = retries.iter().map(|retry| retry.notification_id).collect::<Vec<_>>();
    let dues = retries.iter().map(|retry| retry.due_at).collect::<Vec<_>>();
    let uncounted = retries.iter().map(|retry| i32::from(!retry.counts)).collect::<Vec<_>>();
    sqlx::query!(
        "with given_back as (
             update notification.email e set claim = null, due_at = r.due_at, attempts = e.attempts - r.uncounted
             from unnest($1::uuid[], $2::timestamptz[], $3::integer[]) as r (id, due_at, uncounted)
             where e.notification_id = r.id and e.claim = $4
             returning e.notification_id
         )
         update notification.notification n set status = 'RETRYING' from given_back g where n.id = g.notification_id",
        &ids,
        &dues,
        &uncounted,
        claim
    )
    .execute(connection)
    .await?;
    Ok(())
}
