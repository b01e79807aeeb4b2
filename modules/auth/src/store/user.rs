use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;
use vostro_kernel::Roles;
use vostro_messaging::Entity;

use crate::domain::UserStatus;

/// A person as stored: what identifies them is sealed. Kept like that for those who look, too, and opened for each of them.
#[derive(Debug, Clone)]
pub(crate) struct UserRow {
    pub(crate) id: Uuid,
    pub(crate) sealed_email: Vec<u8>,
    pub(crate) sealed_display_name: Vec<u8>,
    pub(crate) locale: String,
    role_names: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    /// Of the events told about the person.
    sequence: i64,
}

impl Entity for UserRow {
    const NAME: &'static str = "users";

    fn id(&self) -> Uuid {
        self.id
    }

    /// Whatever changes a person is told, and so are logins, which change nothing that is shown.
    fn edition(&self) -> i64 {
        self.sequence
    }

    fn is_settled(&self) -> bool {
        false
    }
}

impl UserRow {
    pub(crate) fn roles(&self) -> Roles {
        roles(&self.role_names)
    }
}

/// The database knows no other roles than the kernel, so one that cannot be read comes from a newer release during its
/// roll-out; it gives no rights here.
pub(super) fn roles(names: &[String]) -> Roles {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

fn names(roles: Roles) -> Vec<String> {
    roles.iter().map(|role| role.as_str().to_owned()).collect()
}

pub(crate) struct NewUser<'a> {
    pub(crate) id: Uuid,
    pub(crate) email_index: &'a [u8],
    pub(crate) sealed_email: &'a [u8],
    pub(crate) sealed_display_name: &'a [u8],
    pub(crate) locale: &'a str,
    pub(crate) phc: &'a str,
    pub(crate) roles: Roles,
    /// Who gives the roles; `None` for the bank itself.
    pub(crate) assigned_by: Option<Uuid>,
    pub(crate) created_at: DateTime<Utc>,
}

/// Adds a person with their password and their roles. `false` when the e-mail address is taken; a transaction that is
/// just taking it is waited for.
pub(crate) async fn insert_user_in_tx(connection: &mut PgConnection, user: NewUser<'_>) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "with person as (
             insert into auth.user_account
                 (id, email_index, sealed_email, sealed_display_name, locale, status, sequence, created_at)
             values ($1, $2, $3, $4, $5, $6, 1, $7)
             on conflict (email_index) do nothing
             returning id
         ), credential as (
             insert into auth.password_credential (user_id, phc, changed_at) select id, $8, $7 from person
         )
         insert into auth.role_assignment (user_id, role, assigned_at, assigned_by)
         select person.id, role, $7, $10 from person, unnest($9::text[]) as role",
        user.id,
        user.email_index,
        user.sealed_email,
        user.sealed_display_name,
        user.locale,
        UserStatus::Active.as_str(),
        user.created_at,
        user.phc,
        &names(user.roles),
        user.assigned_by
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Who has the e-mail address.
pub(crate) async fn user_by_email(pool: &PgPool, email_index: &[u8]) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!("select id from auth.user_account where email_index = $1", email_index)
        .fetch_optional(pool)
        .await
}

pub(crate) struct Credential {
    pub(crate) user_id: Uuid,
    pub(crate) phc: String,
}

/// What a login is checked against.
pub(crate) async fn credential(pool: &PgPool, email_index: &[u8]) -> sqlx::Result<Option<Credential>> {
    sqlx::query_as!(
        Credential,
        "select user_id, phc from auth.user_account u join auth.password_credential c on c.user_id = u.id
         where email_index = $1",
        email_index
    )
    .fetch_optional(pool)
    .await
}

/// The password hash of a person.
pub(crate) async fn password_hash(pool: &PgPool, user_id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("select phc from auth.password_credential where user_id = $1", user_id)
        .fetch_optional(pool)
        .await
}

/// Replaces a password hash, unless it has been replaced since it was read.
pub(crate) async fn replace_password_in_tx(
    connection: &mut PgConnection,
    user_id: Uuid,
    old: &str,
    new: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update auth.password_credential set phc = $3, changed_at = $4 where user_id = $1 and phc = $2",
        user_id,
        old,
        new,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The people of a list of ids that exist, in no particular order.
pub(crate) async fn users(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<UserRow>> {
    sqlx::query_as!(
        UserRow,
        r#"select id, sealed_email, sealed_display_name, locale, created_at, sequence,
                  array(select role from auth.role_assignment where user_id = u.id) as "role_names!"
           from auth.user_account u where id = any($1)"#,
        ids
    )
    .fetch_all(executor)
    .await
}

/// The person, locked until the transaction ends.
pub(crate) async fn lock_user_in_tx(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<UserRow>> {
    // The lock first, in a statement of its own: a statement that waits for a lock reads the person's other rows as
    // they were before it waited.
    sqlx::query!("select id from auth.user_account where id = $1 for no key update", id)
        .fetch_optional(&mut *connection)
        .await?;
    Ok(users(connection, &[id]).await?.pop())
}

/// Takes the next number of the person's event sequence and locks the person. `None` when there is no such person.
pub(crate) async fn next_sequence_in_tx(connection: &mut PgConnection, user_id: Uuid) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "update auth.user_account set sequence = sequence + 1 where id = $1 returning sequence",
        user_id
    )
    .fetch_optional(connection)
    .await
}

/// Stores a changed profile; returns the number of the event that tells it.
pub(crate) async fn update_profile_in_tx(
    connection: &mut PgConnection,
    user_id: Uuid,
    sealed_display_name: &[u8],
    locale: &str,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "update auth.user_account set sealed_display_name = $2, locale = $3, sequence = sequence + 1
         where id = $1 returning sequence",
        user_id,
        sealed_display_name,
        locale
    )
    .fetch_one(connection)
    .await
}

/// Gives roles a locked person does not have; returns the number of the last of the events that tell it, one a role.
pub(crate) async fn assign_roles_in_tx(
    connection: &mut PgConnection,
    user_id: Uuid,
    missing: Roles,
    assigned_by: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "with given as (
             insert into auth.role_assignment (user_id, role, assigned_at, assigned_by)
             select $1, role, $3, $4 from unnest($2::text[]) as role
         )
         update auth.user_account set sequence = sequence + cardinality($2::text[]), roles_changed_at = $3
         where id = $1 returning sequence",
        user_id,
        &names(missing),
        now,
        assigned_by
    )
    .fetch_one(connection)
    .await
}
