//! The projections and those that are built beside them.

pub(crate) mod recipient {
    use sqlx::PgConnection;
    use vostro_messaging::{Comparison, compare_pairs};

    pub(crate) async fn clear_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("delete from notification.recipient_rebuild").execute(connection).await?;
        Ok(())
    }

    pub(crate) async fn lock_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("lock table notification.recipient in share row exclusive mode").execute(connection).await?;
        Ok(())
    }

    /// Compares contacts. Somebody who has preferences and no contact yet is nobody here.
    pub(crate) async fn compare_in_tx(connection: &mut PgConnection) -> sqlx::Result<Comparison> {
        compare_pairs!(
            connection,
            "select coalesce(l.user_id, r.user_id) as id, l::text as live, r::text as rebuilt,
                    l.user_id is not null and (r.user_id is null or l.contact_sequence > r.contact_sequence) as ahead,
                    r.user_id is not null and (l.user_id is null or l.contact_sequence < r.contact_sequence) as behind
             from (select user_id, contact_sequence, sealed_contact, locale
                   from notification.recipient where contact_sequence > 0) l
             full join (select user_id, contact_sequence, sealed_contact, locale
                        from notification.recipient_rebuild) r on r.user_id = l.user_id"
        )
    }

    /// Writes contacts that differ. What people prefer is this module's own and stays, also of those whose contact goes.
    pub(crate) async fn adopt_in_tx(connection: &mut PgConnection) -> sqlx::Result<u64> {
        let removed = sqlx::query!(
            "update notification.recipient l set contact_sequence = 0, sealed_contact = null, locale = null
             where l.contact_sequence > 0
               and not exists (select from notification.recipient_rebuild r where r.user_id = l.user_id)"
        )
        .execute(&mut *connection)
        .await?;
        let written = sqlx::query!(
            "insert into notification.recipient as l (user_id, contact_sequence, sealed_contact, locale)
             select user_id, contact_sequence, sealed_contact, locale from notification.recipient_rebuild
             on conflict (user_id) do update
             set contact_sequence = excluded.contact_sequence, sealed_contact = excluded.sealed_contact,
                 locale = excluded.locale
             where (l.contact_sequence, l.sealed_contact, l.locale)
                 is distinct from (excluded.contact_sequence, excluded.sealed_contact, excluded.locale)"
        )
        .execute(connection)
        .await?;
        Ok(removed.rows_affected() + written.rows_affected())
    }
}

pub(crate) mod account {
    use sqlx::PgConnection;
    use vostro_messaging::{Comparison, compare_pairs};

    pub(crate) async fn clear_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("delete from notification.account_rebuild").execute(connection).await?;
        Ok(())
    }

    pub(crate) async fn lock_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("lock table notification.account in share row exclusive mode").execute(connection).await?;
        Ok(())
    }

    /// Compares names of accounts. They never change, so a row has one version: it is there or it is not.
    pub(crate) async fn compare_in_tx(connection: &mut PgConnection) -> sqlx::Result<Comparison> {
        compare_pairs!(
            connection,
            "select coalesce(l.account_id, r.account_id) as id, l::text as live, r::text as rebuilt,
                    r.account_id is null as ahead, l.account_id is null as behind
             from notification.account l full join notification.account_rebuild r on r.account_id = l.account_id"
        )
    }

    pub(crate) async fn adopt_in_tx(connection: &mut PgConnection) -> sqlx::Result<u64> {
        let removed = sqlx::query!(
            "delete from notification.account l
             where not exists (select from notification.account_rebuild r where r.account_id = l.account_id)"
        )
        .execute(&mut *connection)
        .await?;
        let written = sqlx::query!(
            "insert into notification.account as l (account_id, tail)
             select account_id, tail from notification.account_rebuild
             on conflict (account_id) do update set tail = excluded.tail where l.tail <> excluded.tail"
        )
        .execute(connection)
        .await?;
        Ok(removed.rows_affected() + written.rows_affected())
    }
}
