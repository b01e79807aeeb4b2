use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::domain::Hash;

/// Where the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of the newest event; 0 when there is none.
    pub position: i64,
    pub hash: Hash,
    pub recorded_at: DateTime<Utc>,
    /// How many gaps are open.
    pub open_gaps: i64,
}

/// The head as it is stored, which somebody may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    pub position: i64,
    pub hash: Vec<u8>,
    /// Of the last row there is, whatever the head says.
    pub last_row: i64,
}

/// Locks the end of the chain until the transaction ends: whoever appends is alone, over all instances.
///
/// # Errors
/// Database faults; [`sqlx::Error::RowNotFound`] when the head is gone.
pub async fn lock_in_tx(connection: &mut PgConnection) -> sqlx::Result<Head> {
    let row = sqlx::query!("select position, hash, recorded_at, open_gaps from compliance.chain_head for update")
        .fetch_one(connection)
        .await?;
    let hash = row.hash.try_into().map_err(|_| sqlx::Error::Decode("a hash has 32 bytes".into()))?;
    Ok(Head { position: row.position, hash, recorded_at: row.recorded_at, open_gaps: row.open_gaps })
}

/// Moves the end of the chain and counts the types of the new events, in one statement.
///
/// # Errors
/// Database faults.
pub async fn advance_in_tx(
    connection: &mut PgConnection,
    head: &Head,
    types: &[i16],
    counts: &[i64],
) -> sqlx::Result<()> {
    sqlx::query!(
        "with counted as (
             update compliance.event_count stored set count = stored.count + new.count
             from unnest($5::smallint[], $6::bigint[]) as new(type, count) where stored.type = new.type
         )
         update compliance.chain_head set position = $1, hash = $2, recorded_at = $3, open_gaps = $4",
        head.position,
        head.hash.as_slice(),
        head.recorded_at,
        head.open_gaps,
        types,
        counts
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The head and the last row, as of one moment; `None` when the head is gone.
///
/// # Errors
/// Database faults.
pub async fn read(pool: &PgPool) -> sqlx::Result<Option<StoredHead>> {
    sqlx::query_as!(
        StoredHead,
        r#"select position, hash, coalesce((select max(position) from compliance.event), 0) as "last_row!"
           from compliance.chain_head"#
    )
    .fetch_optional(pool)
    .await
}
