use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;
use vostro_kernel::Roles;

use super::user::roles;

pub(crate) struct RevokedSession {
    pub(crate) session_id: Uuid,
    pub(crate) revoked_at: DateTime<Utc>,
}

/// Sessions that were revoked after `since`.
pub(crate) async fn revoked_sessions(pool: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<RevokedSession>> {
    sqlx::query_as!(
        RevokedSession,
        r#"select id as session_id, revoked_at as "revoked_at!" from auth.session where revoked_at > $1"#,
        since
    )
    .fetch_all(pool)
    .await
}

pub(crate) struct ChangedRoles {
    pub(crate) user_id: Uuid,
    pub(crate) roles: Roles,
    pub(crate) changed_at: DateTime<Utc>,
}

/// People whose roles were changed after `since`, with the roles they have now.
pub(crate) async fn changed_roles(pool: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<ChangedRoles>> {
    let rows = sqlx::query!(
        r#"select id, roles_changed_at as "changed_at!",
                  array(select role from auth.role_assignment where user_id = u.id) as "roles!"
           from auth.user_account u where roles_changed_at > $1"#,
        since
    )
    .fetch_all(pool)
    .await?;
    let changed = rows.into_iter().map(|row| ChangedRoles {
        user_id: row.id,
        roles: roles(&row.roles),
        changed_at: row.changed_at,
    });
    Ok(changed.collect())
}
