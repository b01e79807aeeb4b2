use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::row::Row;
use crate::domain::{KeyScope, Transaction};

/// A transaction to insert, with what idempotency needs.
pub(crate) struct NewTransaction<'a> {
    pub transaction: &'a Transaction,
    pub idempotency_key: &'a str,
    pub fingerprint: [u8; 32],
    /// Of the trace it belongs to, if that is recorded.
    pub traceparent: Option<&'a str>,
}

/// The transaction that holds an idempotency key.
pub(crate) struct Stored {
    pub fingerprint: Vec<u8>,
    pub transaction: Transaction,
}

/// Inserts those whose idempotency key is free, and returns their ids. The unique index decides, so that two instances
/// that accept the same command at the same moment cannot both win: the second waits here for the first.
pub(crate) async fn insert_in_tx(
    connection: &mut PgConnection,
    mut transactions: Vec<NewTransaction<'_>>,
) -> sqlx::Result<HashSet<Uuid>> {
    if transactions.is_empty() {
        return Ok(HashSet::new());
    }
    // Two groups with keys in common wait for each other's rows: in the same order, or they would deadlock.
    transactions.sort_unstable_by_key(|new| (new.transaction.initiator_id, new.idempotency_key));
    let columns = Columns::of(&transactions);
    let inserted = sqlx::query_scalar!(
        "insert into transaction.transaction (
             id, initiator_id, idempotency_key, fingerprint, kind, source_account_id, destination_account_id,
             source_owner_id, destination_owner_id, amount_minor, currency, reference, channel, initiated_at, traceparent)
         select * from unnest(
             $1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[],
             $10::bigint[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::text[])
         on conflict (initiator_id, idempotency_key) do nothing
         returning id",
        &columns.ids,
        &columns.initiators,
        &columns.keys as &[&str],
        &columns.fingerprints as &[&[u8]],
        &columns.kinds as &[&str],
        &columns.sources,
        &columns.destinations,
        &columns.source_owners as &[Option<Uuid>],
        &columns.destination_owners as &[Option<Uuid>],
        &columns.amounts,
        &columns.currencies as &[&str],
        &columns.references as &[Option<&str>],
        &columns.channels as &[Option<&str>],
        &columns.times,
        &columns.traces as &[Option<&str>]
    )
    .fetch_all(connection)
    .await?;
    Ok(inserted.into_iter().collect())
}

/// The transactions that hold these keys. Sees rows of other instances that were committed a moment ago.
pub(crate) async fn by_keys_in_tx<'a>(
    connection: &mut PgConnection,
    scopes: impl IntoIterator<Item = KeyScope<'a>>,
) -> sqlx::Result<HashMap<(Uuid, String), Stored>> {
    let (initiators, keys): (Vec<Uuid>, Vec<&str>) =
        scopes.into_iter().map(|scope| (scope.initiator, scope.key)).unzip();
    if initiators.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select stored.* from unnest($1::uuid[], $2::text[]) as asked (initiator_id, idempotency_key)
           cross join lateral (
               select id, initiator_id, idempotency_key, fingerprint, kind, status, amount_minor, currency,
                      source_account_id, destination_account_id, source_owner_id, destination_owner_id, reference,
                      channel, failure_code, initiated_at, completed_at
               from transaction.transaction
               where initiator_id = asked.initiator_id and idempotency_key = asked.idempotency_key
           ) stored"#,
        &initiators,
        &keys as &[&str]
    )
    .fetch_all(connection)
    .await?;
    let mut stored = HashMap::with_capacity(rows.len());
    for row in rows {
        let scope = (row.initiator_id, row.idempotency_key);
        let transaction = Row {
            id: row.id,
            initiator_id: row.initiator_id,
            kind: row.kind,
            status: row.status,
            amount_minor: row.amount_minor,
            currency: row.currency,
            source_account_id: row.source_account_id,
            destination_account_id: row.destination_account_id,
            source_owner_id: row.source_owner_id,
            destination_owner_id: row.destination_owner_id,
            reference: row.reference,
            channel: row.channel,
            failure_code: row.failure_code,
            initiated_at: row.initiated_at,
            completed_at: row.completed_at,
        };
        stored.insert(scope, Stored { fingerprint: row.fingerprint, transaction: transaction.into_transaction()? });
    }
    Ok(stored)
}

#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    initiators: Vec<Uuid>,
    keys: Vec<&'a str>,
    fingerprints: Vec<&'a [u8]>,
    kinds: Vec<&'static str>,
    sources: Vec<Uuid>,
    destinations: Vec<Uuid>,
    source_owners: Vec<Option<Uuid>>,
    destination_owners: Vec<Option<Uuid>>,
    amounts: Vec<i64>,
    currencies: Vec<&'a str>,
    references: Vec<Option<&'a str>>,
    channels: Vec<Option<&'static str>>,
    times: Vec<chrono::DateTime<chrono::Utc>>,
    traces: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(transactions: &'a [NewTransaction<'a>]) -> Self {
        let mut columns = Self::default();
        for new in transactions {
            let transaction = new.transaction;
            columns.ids.push(transaction.id);
            columns.initiators.push(transaction.initiator_id);
            columns.keys.push(new.idempotency_key);
            columns.fingerprints.push(&new.fingerprint);
            columns.kinds.push(transaction.kind.as_str());
            columns.sources.push(transaction.source_account_id);
            columns.destinations.push(transaction.destination_account_id);
            columns.source_owners.push(transaction.source_owner_id);
            columns.destination_owners.push(transaction.destination_owner_id);
            columns.amounts.push(transaction.amount.minor);
            columns.currencies.push(transaction.amount.currency.code());
            columns.references.push(transaction.reference.as_deref());
            columns.channels.push(transaction.channel.map(crate::domain::Channel::as_str));
            columns.times.push(transaction.initiated_at);
            columns.traces.push(new.traceparent);
        }
        columns
    }
}
