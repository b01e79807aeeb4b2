use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{decode, row::Row};
use crate::domain::{Outcome, Status, Transaction};

/// Writes the outcomes of transactions that have none yet, and returns these transactions as they were before. The
/// others have ended already, or do not exist. Each transaction may be named once.
///
/// Rows are locked in the order of their ids, as the ledger's events and its answers may name the same ones at the same
/// time: in whatever order they were given, the two would wait for each other.
pub(crate) async fn settle_in_tx<'a>(
    connection: &mut PgConnection,
    outcomes: impl IntoIterator<Item = (Uuid, &'a Outcome)>,
) -> sqlx::Result<Vec<Transaction>> {
    let (mut ids, mut statuses) = (Vec::<Uuid>::new(), Vec::<&str>::new());
    let (mut codes, mut times) = (Vec::<Option<&str>>::new(), Vec::<DateTime<Utc>>::new());
    let mut outcomes: Vec<_> = outcomes.into_iter().collect();
    outcomes.sort_unstable_by_key(|(id, _)| *id);
    for (id, outcome) in outcomes {
        ids.push(id);
        statuses.push(outcome.status().as_str());
        codes.push(outcome.code());
        times.push(outcome.at());
    }
    let rows = sqlx::query_as!(
        Row,
        r#"update transaction.transaction t
           set status = o.status, failure_code = o.code, completed_at = o.at
           from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) as o (id, status, code, at)
           where t.id = o.id and t.status = 'INITIATED'
           returning t.id, t.initiator_id, t.kind, 'INITIATED' as "status!", t.amount_minor, t.currency,
                     t.source_account_id, t.destination_account_id, t.source_owner_id, t.destination_owner_id,
                     t.reference, t.channel, null as "failure_code?", t.initiated_at,
                     null::timestamptz as "completed_at?""#,
        &ids,
        &statuses as &[&str],
        &codes as &[Option<&str>],
        &times
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Row::into_transaction).collect()
}

/// How these transactions ended. What does not exist is left out.
pub(crate) async fn statuses_in_tx(connection: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, Status)>> {
    let rows = sqlx::query!("select id, status from transaction.transaction where id = any($1)", ids)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(|row| Ok((row.id, decode(&row.status)?))).collect()
}
