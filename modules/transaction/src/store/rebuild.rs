//! The account view and the one that is built beside it.

use sqlx::PgConnection;
use vostro_messaging::{Comparison, compare_pairs};

/// Empties the view that is built beside the live one.
pub(crate) async fn clear_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("delete from transaction.account_view_rebuild").execute(connection).await?;
    Ok(())
}

/// Keeps writers from the live view; readers go on.
pub(crate) async fn lock_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("lock table transaction.account_view in share row exclusive mode").execute(connection).await?;
    Ok(())
}

/// Compares the two views. A row's version is the pair of its sequences.
pub(crate) async fn compare_in_tx(connection: &mut PgConnection) -> sqlx::Result<Comparison> {
    compare_pairs!(
        connection,
        "select coalesce(l.id, r.id) as id, l::text as live, r::text as rebuilt,
                l.id is not null and (r.id is null or l.lifecycle_sequence > r.lifecycle_sequence
                    or l.balance_sequence > r.balance_sequence) as ahead,
                r.id is not null and (l.id is null or l.lifecycle_sequence < r.lifecycle_sequence
                    or l.balance_sequence < r.balance_sequence) as behind
         from transaction.account_view l full join transaction.account_view_rebuild r on r.id = l.id"
    )
}

/// Makes the live view what the one beside it is. Rows that are the same are not written: the lock is short, and nothing
/// is left for vacuum that need not be.
pub(crate) async fn adopt_in_tx(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let removed = sqlx::query!(
        "delete from transaction.account_view l
         where not exists (select from transaction.account_view_rebuild r where r.id = l.id)"
    )
    .execute(&mut *connection)
    .await?;
    let written = sqlx::query!(
        "insert into transaction.account_view as l
             (id, number, kind, owner_id, currency, status, lifecycle_sequence, available_minor, balance_sequence)
         select id, number, kind, owner_id, currency, status, lifecycle_sequence, available_minor, balance_sequence
         from transaction.account_view_rebuild r
         where not exists (select from transaction.account_view l where l.id = r.id and l::text = r::text)
         on conflict (id) do update set
             number = excluded.number, kind = excluded.kind, owner_id = excluded.owner_id,
             currency = excluded.currency, status = excluded.status,
             lifecycle_sequence = excluded.lifecycle_sequence, available_minor = excluded.available_minor,
             balance_sequence = excluded.balance_sequence"
    )
    .execute(connection)
    .await?;
    Ok(removed.rows_affected() + written.rows_affected())
}
