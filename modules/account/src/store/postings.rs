//! The hot path: what one batch of transfers reads and writes. Four statements, however many transfers there are.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_kernel::Currency;

use super::text;
use crate::domain::{Balance, LedgerAccount, LedgerState, PostingRequest};

/// Claims transactions for this database transaction and returns those the ledger had not decided before. A concurrent
/// claim of the same transaction waits here until the other database transaction has ended.
///
/// The insert finds duplicates through the primary key whatever the planner thinks of the table's size, which a lookup
/// before it would not.
pub(crate) async fn claim_in_tx(
    connection: &mut PgConnection,
    requests: &[PostingRequest],
    decided_at: DateTime<Utc>,
) -> sqlx::Result<HashSet<Uuid>> {
    let count = requests.len();
    // In the order of their ids, so that two batches with the same transactions cannot wait for each other.
    let mut ordered: Vec<&PostingRequest> = requests.iter().collect();
    ordered.sort_unstable_by_key(|request| request.transaction_id);
    let (mut ids, mut sources, mut destinations) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut amounts, mut currencies) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for request in ordered {
        ids.push(request.transaction_id);
        sources.push(request.source);
        destinations.push(request.destination);
        amounts.push(request.amount.minor);
        currencies.push(request.amount.currency.to_string());
    }
    let claimed = sqlx::query_scalar!(
        "insert into account.posting
           (transaction_id, source_account_id, destination_account_id, amount, currency, decided_at)
         select asked.*, $6 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[]) asked
         on conflict (transaction_id) do nothing returning transaction_id",
        &ids,
        &sources,
        &destinations,
        &amounts,
        &currencies,
        decided_at
    )
    .fetch_all(connection)
    .await?;
    Ok(claimed.into_iter().collect())
}

/// The terms on which these transactions were decided.
pub(crate) async fn decided_in_tx(
    connection: &mut PgConnection,
    transactions: &[Uuid],
) -> sqlx::Result<Vec<PostingRequest>> {
    let rows = sqlx::query!(
        "select transaction_id, source_account_id, destination_account_id, amount, currency
         from account.posting where transaction_id = any($1)",
        transactions
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let currency: Currency = text::parse("currency", &row.currency)?;
            Ok(PostingRequest {
                transaction_id: row.transaction_id,
                source: row.source_account_id,
                destination: row.destination_account_id,
                amount: vostro_kernel::Money::new(row.amount, currency),
            })
        })
        .collect()
}

/// Locks the accounts in the order of their ids (so that nobody waits in a circle) and returns how they stand, and when the
/// last of them changed.
pub(crate) async fn lock_in_tx(
    connection: &mut PgConnection,
    accounts: &[Uuid],
) -> sqlx::Result<(LedgerState, Option<DateTime<Utc>>)> {
    let rows = sqlx::query!(
        "select b.account_id, b.owner_id, b.kind, b.currency, b.status, b.posted, b.pending_in, b.pending_out,
                b.locked, b.overdraft_limit, b.sequence, b.changed_at
         from unnest($1::uuid[]) as wanted (id) join account.balance b on b.account_id = wanted.id
         order by b.account_id
         for no key update of b",
        accounts
    )
    .fetch_all(connection)
    .await?;
    let changed_at = rows.iter().map(|row| row.changed_at).max();
    let accounts = rows.into_iter().map(|row| {
        Ok(LedgerAccount {
            id: row.account_id,
            owner_id: row.owner_id,
            kind: text::kind(&row.kind)?,
            currency: text::parse("currency", &row.currency)?,
            status: text::status(&row.status)?,
            balance: Balance {
                posted: row.posted,
                pending_in: row.pending_in,
                pending_out: row.pending_out,
                locked: row.locked,
                overdraft_limit: row.overdraft_limit,
                sequence: row.sequence,
            },
        })
    });
    let state = accounts.collect::<sqlx::Result<Vec<_>>>().map(LedgerState::new)?;
    Ok((state, changed_at))
}

/// The columns of the entries and rejections of a batch.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    accounts: Vec<Uuid>,
    sequences: Vec<i64>,
    transactions: Vec<Uuid>,
    currencies: Vec<String>,
    amounts: Vec<i64>,
    balances: Vec<i64>,
    rejected: Vec<Uuid>,
    codes: Vec<&'static str>,
}

impl Journal {
    /// Adds an entry: `amount` on `account`, after which it stands at `after`.
    pub(crate) fn enter(&mut self, transaction: Uuid, account: Uuid, currency: Currency, amount: i64, after: &Balance) {
        self.accounts.push(account);
        self.sequences.push(after.sequence);
        self.transactions.push(transaction);
        self.currencies.push(currency.to_string());
        self.amounts.push(amount);
        self.balances.push(after.posted);
    }

    /// Adds the fact that a transaction was refused.
    pub(crate) fn reject(&mut self, transaction: Uuid, code: &'static str) {
        self.rejected.push(transaction);
        self.codes.push(code);
    }
}

/// Writes a batch: its entries, its rejections, and the balances that follow from the entries.
pub(crate) async fn write_in_tx(
    connection: &mut PgConnection,
    journal: &Journal,
    state: &LedgerState,
    booked_at: DateTime<Utc>,
    booking_date: NaiveDate,
) -> sqlx::Result<()> {
    let (mut ids, mut posted, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
    for account in state.changed() {
        ids.push(account.id);
        posted.push(account.balance.posted);
        sequences.push(account.balance.sequence);
    }
    sqlx::query!(
        "with booked as (
           insert into account.entry
             (account_id, sequence, transaction_id, currency, amount, balance_after, booked_at, booking_date)
           select row.*, $7, $8
           from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[]) as row
         ), rejected as (
           insert into account.rejection (transaction_id, code) select * from unnest($9::uuid[], $10::text[])
         )
         update account.balance b set posted = now.posted, sequence = now.sequence, changed_at = $7
         from unnest($11::uuid[], $12::bigint[], $13::bigint[]) as now (account_id, posted, sequence)
         where b.account_id = now.account_id",
        &journal.accounts,
        &journal.sequences,
        &journal.transactions,
        &journal.currencies,
        &journal.amounts,
        &journal.balances,
        booked_at,
        booking_date,
        &journal.rejected,
        &journal.codes as &[&str],
        &ids,
        &posted,
        &sequences
    )
    .execute(connection)
    .await?;
    Ok(())
}
