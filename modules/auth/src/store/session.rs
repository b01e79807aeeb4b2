use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::auth::RevocationReason;

use crate::domain::RefreshRecord;

pub(crate) struct NewSession {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

pub(crate) struct NewRefreshToken {
    pub(crate) digest: [u8; 32],
    pub(crate) session_id: Uuid,
    pub(crate) issued_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// What the winner of an exchange gets: the session the token belonged to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangedToken {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) session_end: DateTime<Utc>,
}

pub(crate) async fn insert_session_in_tx(connection: &mut PgConnection, session: &NewSession) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into auth.session (id, user_id, created_at, expires_at) values ($1, $2, $3, $4)",
        session.id,
        session.user_id,
        session.created_at,
        session.expires_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn insert_refresh_token_in_tx(
    connection: &mut PgConnection,
    token: &NewRefreshToken,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into auth.refresh_token (token_hash, session_id, issued_at, expires_at) values ($1, $2, $3, $4)",
        &token.digest,
        token.session_id,
        token.issued_at,
        token.expires_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Uses a refresh token up. Of any number that try at the same time exactly one gets an answer: the others wait for its
/// transaction and then find the token used.
pub(crate) async fn exchange_in_tx(
    connection: &mut PgConnection,
    digest: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<ExchangedToken>> {
    sqlx::query_as!(
        ExchangedToken,
        "update auth.refresh_token t set used_at = $2
         from auth.session s
         where t.token_hash = $1 and t.used_at is null and t.expires_at > $2
           and s.id = t.session_id and s.revoked_at is null and s.expires_at > $2
         returning s.id as session_id, s.user_id, s.expires_at as session_end",
        digest,
        now
    )
    .fetch_optional(connection)
    .await
}

/// What is known about a refresh token.
pub(crate) async fn inspect(pool: &PgPool, digest: &[u8]) -> sqlx::Result<Option<RefreshRecord>> {
    sqlx::query_as!(
        RefreshRecord,
        r#"select s.id as session_id, s.user_id, t.used_at is not null as "used!",
                  least(t.expires_at, s.expires_at) as "expires_at!", s.revoked_at is not null as "revoked!"
           from auth.refresh_token t join auth.session s on s.id = t.session_id
           where t.token_hash = $1"#,
        digest
    )
    .fetch_optional(pool)
    .await
}

/// Ends a session. The person whose it was, or `None` when it has ended already or never was.
pub(crate) async fn revoke_in_tx(
    connection: &mut PgConnection,
    session_id: Uuid,
    reason: RevocationReason,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Uuid>> {
    let reason = match reason {
        RevocationReason::Logout => "LOGOUT",
        RevocationReason::ReuseDetected => "REUSE_DETECTED",
    };
    sqlx::query_scalar!(
        "update auth.session set revoked_at = $3, revocation_reason = $2
         where id = $1 and revoked_at is null returning user_id",
        session_id,
        reason,
        now
    )
    .fetch_optional(connection)
    .await
}
