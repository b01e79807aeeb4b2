//! What the ledger proof reads. Set-based: the database folds millions of entries, the program sees divergences only.

use sqlx::PgConnection;
use uuid::Uuid;

/// A range of account ids: `(after, through]`, open-ended at `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccountRange {
    pub after: Option<Uuid>,
    pub through: Option<Uuid>,
}

/// An account whose balance row or entries are not what they should be.
#[derive(Debug)]
pub(crate) struct AccountDivergence {
    pub account_id: Uuid,
    /// The balance row; absent when there are entries without one.
    pub posted: Option<i64>,
    pub sequence: Option<i64>,
    /// The fold of the entries; absent when there are none.
    pub entries: Option<i64>,
    pub total: Option<String>,
    /// The first entry that does not continue the one before it.
    pub first_broken: Option<i64>,
    pub below_limit: bool,
}

/// A transaction whose entries are not what its posting says.
#[derive(Debug)]
pub(crate) struct PostingDivergence {
    pub transaction_id: Uuid,
    /// Whether it was decided at all.
    pub known: bool,
    pub rejected: bool,
}

/// An entry, for a report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryPlace {
    pub account_id: Uuid,
    pub sequence: i64,
    pub amount: i64,
}

/// How much there is to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub accounts: i64,
    pub entries: i64,
    pub postings: i64,
    pub rejections: i64,
}

/// Settings for this transaction only. Room to sort and hash in memory, as the proof reads everything; and a plan for
/// each range of accounts, as one plan for all of them would read the whole ledger for each.
pub(crate) async fn prepare_in_tx(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        r#"select set_config('work_mem', '128MB', true) as "memory!",
                  set_config('plan_cache_mode', 'force_custom_plan', true) as "plans!""#
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

pub(crate) async fn size_in_tx(connection: &mut PgConnection) -> sqlx::Result<Size> {
    sqlx::query_as!(
        Size,
        r#"select (select count(*) from account.account) as "accounts!",
                  (select count(*) from account.entry) as "entries!",
                  (select count(*) from account.posting) as "postings!",
                  (select count(*) from account.rejection) as "rejections!""#
    )
    .fetch_one(connection)
    .await
}

/// How many entries each account says it has, in id order; to cut the work into equal pieces.
pub(crate) async fn lengths_in_tx(connection: &mut PgConnection) -> sqlx::Result<Vec<(Uuid, i64)>> {
    let rows = sqlx::query!("select account_id, sequence from account.balance order by account_id")
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.sequence)).collect())
}

/// The first account of the range whose entries do not chain, or whose balance is not their fold.
pub(crate) async fn first_broken_account_in_tx(
    connection: &mut PgConnection,
    range: AccountRange,
) -> sqlx::Result<Option<AccountDivergence>> {
    sqlx::query_as!(
        AccountDivergence,
        r#"with chained as (
             select e.account_id, e.sequence, e.amount, e.currency,
                    e.sequence <> (lag(e.sequence, 1, 0::bigint) over life) + 1
                    or e.balance_after::numeric <> (lag(e.balance_after, 1, 0::bigint) over life)::numeric + e.amount
                    as broken
             from account.entry e
             where ($1::uuid is null or e.account_id > $1) and ($2::uuid is null or e.account_id <= $2)
             window life as (partition by e.account_id order by e.sequence)
           ), folded as (
             select account_id, count(*) as entries, sum(amount) as total, min(currency) as currency,
                    max(currency) as other_currency, min(sequence) filter (where broken) as first_broken
             from chained group by account_id
           ), judged as (
             select coalesce(b.account_id, a.id, f.account_id) as account_id, b.posted, b.sequence, f.entries, f.total,
                    f.first_broken,
                    a.id is null or b.account_id is null
                    or (b.kind, b.currency, b.owner_id) is distinct from (a.kind, a.currency, a.owner_id)
                    or f.currency <> a.currency or f.other_currency <> a.currency as terms_differ,
                    b.kind = 'CUSTOMER'
                    and b.posted::numeric - b.pending_out - b.locked + b.overdraft_limit < 0 as below_limit
             from (select * from account.balance b
                   where ($1::uuid is null or b.account_id > $1) and ($2::uuid is null or b.account_id <= $2)) b
             full join (select * from account.account a
                        where ($1::uuid is null or a.id > $1) and ($2::uuid is null or a.id <= $2)) a
               on a.id = b.account_id
             full join folded f on f.account_id = coalesce(b.account_id, a.id)
           )
           select account_id as "account_id!", posted as "posted?", sequence as "sequence?", entries as "entries?",
                  total::text as "total?", first_broken as "first_broken?",
                  coalesce(below_limit, false) as "below_limit!"
           from judged
           where first_broken is not null or terms_differ or below_limit
              or coalesce(entries, 0) <> coalesce(sequence, 0) or coalesce(total, 0) <> coalesce(posted, 0)
           order by account_id limit 1"#,
        range.after,
        range.through
    )
    .fetch_optional(connection)
    .await
}

/// The first transaction whose entries are not exactly what was decided: two that move its amount from its source to
/// its destination, or none when it was rejected.
pub(crate) async fn first_broken_posting_in_tx(
    connection: &mut PgConnection,
) -> sqlx::Result<Option<PostingDivergence>> {
    sqlx::query_as!(
        PostingDivergence,
        r#"with moved as (
             select coalesce(p.transaction_id, e.transaction_id) as transaction_id, e.sequence,
                    p.transaction_id is not null as known, r.transaction_id is not null as rejected,
                    (e.account_id, e.amount, e.currency) = (p.source_account_id, -p.amount, p.currency) as debit,
                    (e.account_id, e.amount, e.currency) = (p.destination_account_id, p.amount, p.currency) as credit
             from account.posting p
             full join account.entry e on e.transaction_id = p.transaction_id
             left join account.rejection r on r.transaction_id = p.transaction_id
           )
           select transaction_id as "transaction_id!", bool_and(known) as "known!", bool_or(rejected) as "rejected!"
           from moved group by transaction_id
           having not bool_and(known)
               or case when bool_or(rejected) then count(sequence) > 0
                       else count(sequence) <> 2 or count(*) filter (where debit) <> 1
                            or count(*) filter (where credit) <> 1 end
           order by transaction_id limit 1"#
    )
    .fetch_optional(connection)
    .await
}

/// The entries of a transaction. Reads the whole ledger: there is no index for it.
pub(crate) async fn entries_of_in_tx(
    connection: &mut PgConnection,
    transaction: Uuid,
) -> sqlx::Result<Vec<EntryPlace>> {
    sqlx::query_as!(
        EntryPlace,
        "select account_id, sequence, amount from account.entry where transaction_id = $1 order by account_id, sequence",
        transaction
    )
    .fetch_all(connection)
    .await
}

/// What all balances of each currency add up to, as decimal text.
pub(crate) async fn sums_in_tx(connection: &mut PgConnection) -> sqlx::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"select currency, coalesce(sum(posted), 0)::text as "sum!" from account.balance
           group by currency order by currency"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.currency, row.sum)).collect())
}
