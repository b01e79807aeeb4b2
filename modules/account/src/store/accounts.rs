use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::account::AccountStatus;
use vostro_kernel::{Page, PageDirection};

use super::{Viewer, text};
use crate::domain::{Account, Balance};

/// An account joined with its balance, as every query here selects it.
struct Row {
    id: Uuid,
    number: String,
    name: String,
    kind: String,
    product: String,
    product_version: i32,
    owner_id: Option<Uuid>,
    currency: String,
    status: String,
    posted: i64,
    pending_in: i64,
    pending_out: i64,
    locked: i64,
    overdraft_limit: i64,
    sequence: i64,
    changed_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    version: i64,
    terms_changed_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Account {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.id,
            number: row.number,
            name: row.name,
            kind: text::kind(&row.kind)?,
            product: text::parse("product", &row.product)?,
            product_version: row.product_version,
            owner_id: row.owner_id,
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
            balance_at: row.changed_at,
            created_at: row.created_at,
            version: row.version,
            changed_at: row.terms_changed_at.unwrap_or(row.created_at),
        })
    }
}

/// Selects accounts with their balances; the texts continue the statement behind its `from`.
macro_rules! select_accounts {
    ($($tail:literal)+ $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            "select a.id, a.number, a.name, a.kind, a.product, a.product_version, a.owner_id, a.currency, b.status,
                    b.posted, b.pending_in, b.pending_out, b.locked, b.overdraft_limit, b.sequence, b.changed_at,
                    a.created_at, a.version, a.changed_at as terms_changed_at
             from account.account a join account.balance b on b.account_id = a.id " $(+ $tail)+
            $(, $argument)*
        )
    };
}

fn accounts(rows: Vec<Row>) -> sqlx::Result<Vec<Account>> {
    rows.into_iter().map(Account::try_from).collect()
}

/// Takes the next account numbers. They are used up even when the transaction is rolled back.
pub(crate) async fn next_numbers_in_tx(connection: &mut PgConnection, count: usize) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"select nextval('account.account_number') as "number!" from generate_series(1, $1::bigint)"#,
        i64::try_from(count).unwrap_or(i64::MAX)
    )
    .fetch_all(connection)
    .await
}

/// Inserts accounts with empty balances and returns the ids of those that did not exist yet.
pub(crate) async fn insert_in_tx(connection: &mut PgConnection, new: &[Account]) -> sqlx::Result<Vec<Uuid>> {
    let column = |value: fn(&Account) -> String| new.iter().map(value).collect::<Vec<_>>();
    sqlx::query_scalar!(
        r#"with created as (
             insert into account.account
               (id, number, kind, product, product_version, owner_id, currency, name, created_at)
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::uuid[],
                                  $7::text[], $8::text[], $9::timestamptz[])
             on conflict (id) do nothing
             returning id, owner_id, kind, currency, created_at
           )
           insert into account.balance (account_id, owner_id, kind, currency, status, changed_at)
           select id, owner_id, kind, currency, 'ACTIVE', created_at from created
           returning account_id"#,
        &new.iter().map(|account| account.id).collect::<Vec<_>>(),
        &column(|account| account.number.clone()),
        &column(|account| text::kind_word(account.kind).to_owned()),
        &column(|account| account.product.as_str().to_owned()),
        &new.iter().map(|account| account.product_version).collect::<Vec<_>>(),
        &new.iter().map(|account| account.owner_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &column(|account| account.currency.to_string()),
        &column(|account| account.name.clone()),
        &new.iter().map(|account| account.created_at).collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await
}

/// The accounts with these ids that the viewer may see, in no particular order.
pub(crate) async fn find(pool: &PgPool, viewer: Viewer, ids: &[Uuid]) -> sqlx::Result<Vec<Account>> {
    let rows = select_accounts!("where a.id = any($1) and ($2::uuid is null or a.owner_id = $2)", ids, viewer.owner())
        .fetch_all(pool)
        .await?;
    accounts(rows)
}

/// Those of the accounts whose version is beyond the one that is known, in no particular order.
pub(crate) async fn changed_since(pool: &PgPool, ids: &[Uuid], known: &[i64]) -> sqlx::Result<Vec<Account>> {
    let rows = select_accounts!(
        "join unnest($1::uuid[], $2::bigint[]) as asked (id, known) on a.id = asked.id and a.version > asked.known",
        ids,
        known
    )
    .fetch_all(pool)
    .await?;
    accounts(rows)
}

/// A page of the customers' accounts the viewer may see, oldest first.
pub(crate) async fn list(
    pool: &PgPool,
    viewer: Viewer,
    owner: Option<Uuid>,
    status: Option<AccountStatus>,
    page: Page<Uuid>,
) -> sqlx::Result<Vec<Account>> {
    let narrowed = match (viewer.owner(), owner) {
        (Some(viewer), Some(owner)) if viewer != owner => return Ok(Vec::new()),
        (viewer, owner) => viewer.or(owner),
    };
    let (from, status) = (page.from_or(Uuid::nil(), Uuid::max()), status.map(AccountStatus::as_str));
    // One statement for each access path and direction, because one that serves all has a good plan for none.
    macro_rules! outwards {
        ($beyond:literal, $order:literal) => {
            match (narrowed, status) {
                (Some(owner), _) => select_accounts!(
                    "where a.owner_id = $1 and a.id " $beyond " $2 and ($3::text is null or b.status = $3)
                     order by a.id " $order " limit $4",
                    owner,
                    from,
                    status,
                    page.limit
                )
                .fetch_all(pool)
                .await?,
                (None, Some(status)) if status != AccountStatus::Active.as_str() => select_accounts!(
                    "where a.kind = 'CUSTOMER' and b.account_id " $beyond " $1 and b.status = $2 and b.status <> 'ACTIVE'
                     order by b.account_id " $order " limit $3",
                    from,
                    status,
                    page.limit
                )
                .fetch_all(pool)
                .await?,
                (None, status) => select_accounts!(
                    "where a.kind = 'CUSTOMER' and a.id " $beyond " $1 and ($2::text is null or b.status = $2)
                     order by a.id " $order " limit $3",
                    from,
                    status,
                    page.limit
                )
                .fetch_all(pool)
                .await?,
            }
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!(">", "asc"),
        PageDirection::Backward => outwards!("<", "desc"),
    };
    accounts(page.in_order(rows))
}

/// The bank's own accounts, by number.
pub(crate) async fn internal(pool: &PgPool) -> sqlx::Result<Vec<Account>> {
    let rows = select_accounts!("where a.kind = 'INTERNAL' order by a.number").fetch_all(pool).await?;
    accounts(rows)
}

/// The account, locked against postings and other commands until the transaction ends.
pub(crate) async fn lock_in_tx(
    connection: &mut PgConnection,
    viewer: Viewer,
    id: Uuid,
) -> sqlx::Result<Option<Account>> {
    select_accounts!(
        "where a.id = $1 and ($2::uuid is null or a.owner_id = $2)
         for no key update of a, b",
        id,
        viewer.owner()
    )
    .fetch_optional(connection)
    .await?
    .map(Account::try_from)
    .transpose()
}

/// Writes what a command can change: version and its time, status and overdraft limit. Never what was posted.
pub(crate) async fn update_in_tx(connection: &mut PgConnection, account: &Account) -> sqlx::Result<()> {
    sqlx::query!(
        "with versioned as (update account.account set version = $2, changed_at = $5 where id = $1)
         update account.balance set status = $3, overdraft_limit = $4 where account_id = $1",
        account.id,
        account.version,
        account.status.as_str(),
        account.balance.overdraft_limit,
        account.changed_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What the accounts of a currency add up to, debit and credit balances apart.
pub(crate) struct CurrencyTotal {
    pub currency: String,
    /// Decimal text: sums over accounts may be larger than a balance can be.
    pub debit: String,
    pub credit: String,
}

/// The trial balance, by currency.
pub(crate) async fn totals(pool: &PgPool) -> sqlx::Result<Vec<CurrencyTotal>> {
    sqlx::query_as!(
        CurrencyTotal,
        r#"select currency,
                  coalesce(-sum(posted) filter (where posted < 0), 0)::text as "debit!",
                  coalesce(sum(posted) filter (where posted > 0), 0)::text as "credit!"
           from account.balance group by currency order by currency"#
    )
    .fetch_all(pool)
    .await
}
