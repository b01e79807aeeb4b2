//! Which command or event opened which account.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

/// Something that opens an account for somebody, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub owner_id: Uuid,
    /// What makes it the same opening: [`registration`] or [`by_key`].
    pub request: String,
    pub product: String,
    pub currency: String,
    /// The name that was asked for; `None` for the product's own.
    pub name: Option<String>,
    pub account_id: Uuid,
}

/// The opening that belongs to the registration itself.
pub(crate) fn registration() -> String {
    "registration".to_owned()
}

/// The opening a client asked for under this idempotency key.
pub(crate) fn by_key(key: &str) -> String {
    format!("key:{key}")
}

/// Claims openings and returns the account ids of those that nobody had claimed before. A concurrent claim of the same
/// opening waits here until the other transaction has ended.
pub(crate) async fn claim_in_tx(connection: &mut PgConnection, openings: &[Opening]) -> sqlx::Result<HashSet<Uuid>> {
    let column = |value: fn(&Opening) -> &str| openings.iter().map(|it| value(it).to_owned()).collect::<Vec<_>>();
    let claimed = sqlx::query_scalar!(
        "insert into account.opening (owner_id, request, product, currency, name, account_id)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[])
         on conflict do nothing returning account_id",
        &openings.iter().map(|opening| opening.owner_id).collect::<Vec<_>>(),
        &column(|opening| &opening.request),
        &column(|opening| &opening.product),
        &column(|opening| &opening.currency),
        &openings.iter().map(|opening| opening.name.clone()).collect::<Vec<_>>() as &[Option<String>],
        &openings.iter().map(|opening| opening.account_id).collect::<Vec<_>>()
    )
    .fetch_all(connection)
    .await?;
    Ok(claimed.into_iter().collect())
}

/// The opening that was claimed first under this owner and request.
pub(crate) async fn find_in_tx(
    connection: &mut PgConnection,
    owner_id: Uuid,
    request: &str,
) -> sqlx::Result<Option<Opening>> {
    sqlx::query_as!(
        Opening,
        "select owner_id, request, product, currency, name, account_id from account.opening
         where owner_id = $1 and request = $2",
        owner_id,
        request
    )
    .fetch_optional(connection)
    .await
}
