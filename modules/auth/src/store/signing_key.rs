use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::{KeyRecord, KeyState};

/// A signing key as stored: the private half is sealed, and gone once the key has retired.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    pub(crate) record: KeyRecord,
    pub(crate) public: Vec<u8>,
    pub(crate) sealed_private: Option<Vec<u8>>,
}

/// Makes this transaction the only one that changes keys, in all instances.
pub(crate) async fn lock_keys_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('auth.signing_key'))").execute(connection).await?;
    Ok(())
}

/// All keys, oldest first.
pub(crate) async fn signing_keys(executor: impl PgExecutor<'_>) -> sqlx::Result<Vec<StoredKey>> {
    let rows = sqlx::query!(
        "select kid, state, public_key, sealed_private_key, created_at, activated_at, retired_at
         from auth.signing_key order by created_at, kid"
    )
    .fetch_all(executor)
    .await?;
    let keys = rows.into_iter().filter_map(|row| {
        // The database knows three states; one more would come from a newer release, and this one has no use for it.
        let state = KeyState::named(&row.state)?;
        let (created_at, activated_at, retired_at) = (row.created_at, row.activated_at, row.retired_at);
        let record = KeyRecord { kid: row.kid, state, created_at, activated_at, retired_at };
        Some(StoredKey { record, public: row.public_key, sealed_private: row.sealed_private_key })
    });
    Ok(keys.collect())
}

/// Adds a key, as the next one or (`active`) as the one that signs from now on.
pub(crate) async fn insert_key_in_tx(
    connection: &mut PgConnection,
    kid: &str,
    public: &[u8],
    sealed_private: &[u8],
    active: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into auth.signing_key (kid, state, public_key, sealed_private_key, created_at, activated_at)
         values ($1, case when $6 then 'ACTIVE' else 'NEXT' end, $2, $3, $4, $5)",
        kid,
        public,
        sealed_private,
        now,
        active.then_some(now),
        active
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the signing of the active key and destroys its private half.
pub(crate) async fn retire_active_in_tx(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "update auth.signing_key set state = 'RETIRED', retired_at = $1, sealed_private_key = null
         where state = 'ACTIVE'",
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The next key signs from now on.
pub(crate) async fn promote_next_in_tx(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("update auth.signing_key set state = 'ACTIVE', activated_at = $1 where state = 'NEXT'", now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets keys that retired before `before`: all they signed has expired.
pub(crate) async fn delete_obsolete_in_tx(connection: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let deleted = sqlx::query!("delete from auth.signing_key where state = 'RETIRED' and retired_at < $1", before)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
