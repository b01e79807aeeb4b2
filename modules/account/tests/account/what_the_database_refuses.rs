//! The rules that hold even for somebody who writes SQL by hand.

use uuid::Uuid;
use vostro_account::domain::InternalRole;

use crate::fixture::{Bank, internal, transfer};

/// A bank in which two customers have traded, and the statement's error.
struct Vault {
    bank: Bank,
    one: Uuid,
    two: Uuid,
}

impl Vault {
    async fn open() -> Self {
        let bank = Bank::open().await;
        let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
        bank.post(&[transfer(one, two, 40)]).await.expect("posted");
        Self { bank, one, two }
    }

    /// Runs the statements in one transaction (`:one` and `:two` are the accounts) and says why they were refused.
    async fn refusal(&self, statements: &str) -> String {
        let sql = statements.replace(":one", &format!("'{}'", self.one)).replace(":two", &format!("'{}'", self.two));
        let mut transaction = vostro_messaging::begin(self.bank.database.pool()).await.expect("begun");
        let outcome = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *transaction).await;
        transaction.rollback().await.expect("rolled back");
        match outcome {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.into_database_error().expect("refused by the database").message().to_owned(),
        }
    }
}

#[tokio::test]
async fn what_is_written_is_written() {
    let vault = Vault::open().await;
    for table in ["entry", "posting", "rejection"] {
        for statement in
            ["delete from account.T", "truncate account.T cascade", "update account.T set transaction_id = default"]
        {
            let refusal = vault.refusal(&statement.replace('T', table)).await;
            assert!(refusal.ends_with("is not allowed: what is written is written"), "{statement} {table}: {refusal}");
        }
    }
    for statement in [
        "delete from account.account",
        "truncate account.account cascade",
        "delete from account.balance",
        "truncate account.balance",
        "update account.account set currency = 'CZK'",
        "update account.account set owner_id = id",
        "update account.account set number = 'x'",
        "update account.balance set currency = 'CZK'",
        "update account.balance set kind = 'INTERNAL'",
    ] {
        let refusal = vault.refusal(statement).await;
        assert!(refusal.ends_with("is not allowed: what is written is written"), "{statement}: {refusal}");
    }
    vault.bank.prove().await;
}

/// Entries for `:one` (which has two, and stands at 60) and `:two` (which has one, and stands at 40).
fn entries(rows: &[(&str, i64, i64, i64)]) -> String {
    let rows = rows.iter().map(|(account, sequence, amount, after)| {
        format!("({account}, {sequence}, '{}', 'EUR', {amount}, {after}, now(), current_date)", Uuid::nil())
    });
    format!("insert into account.entry values {};", rows.collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn entries_that_do_not_sum_to_zero_are_refused() {
    let vault = Vault::open().await;
    let expected = format!("the EUR entries of transaction {} do not sum to zero", Uuid::nil());
    assert_eq!(vault.refusal(&entries(&[(":one", 3, 5, 65)])).await, expected);
    assert_eq!(vault.refusal(&entries(&[(":one", 3, -5, 55), (":two", 2, 6, 46)])).await, expected);
    assert_eq!(vault.refusal(&entries(&[(":one", 3, -5, 55), (":two", 2, 5, 45)])).await, "accepted");
    // Zero in the sum over two currencies is not zero in each.
    let mixed = entries(&[(":one", 3, -5, 55), (":two", 2, 5, 45)]).replacen("'EUR'", "'CZK'", 1);
    assert!(vault.refusal(&mixed).await.contains("do not sum to zero"));
}

#[tokio::test]
async fn entries_that_do_not_continue_their_account_are_refused() {
    let vault = Vault::open().await;
    let broken = |sequence| format!("entry {sequence} of account {} does not continue the one before it", vault.one);
    // A gap, a wrong balance, a number used before.
    assert_eq!(vault.refusal(&entries(&[(":one", 4, -5, 55), (":two", 2, 5, 45)])).await, broken(4));
    assert_eq!(vault.refusal(&entries(&[(":one", 3, -5, 54), (":two", 2, 5, 45)])).await, broken(3));
    let refusal = vault.refusal(&entries(&[(":one", 2, -5, 55), (":two", 2, 5, 45)])).await;
    assert!(refusal.contains("entry_pkey"), "{refusal}");
}

#[tokio::test]
async fn a_balance_that_its_entries_do_not_explain_is_refused() {
    let vault = Vault::open().await;
    let expected = format!("the balance of account {} is not what its entries say", vault.one);
    for set in ["posted = posted + 1", "sequence = sequence + 1", "posted = 100, sequence = 1"] {
        let statement = format!("update account.balance set {set} where account_id = :one");
        assert_eq!(vault.refusal(&statement).await, expected, "{set}");
    }
    let rich = "insert into account.account
                  (id, number, kind, product, product_version, owner_id, currency, name, created_at)
                values (:two::uuid, 'x', 'CUSTOMER', 'CURRENT', 1, :one, 'EUR', 'x', now());
                insert into account.balance (account_id, owner_id, kind, currency, status, posted, changed_at)
                values (:two::uuid, :one, 'CUSTOMER', 'EUR', 'ACTIVE', 5, now())";
    // A new account begins at zero.
    let refusal = vault.refusal(&rich.replace(":two", &format!("'{}'", Uuid::from_u128(7)))).await;
    assert!(refusal.ends_with("is not what its entries say"), "{refusal}");
}

#[tokio::test]
async fn a_customer_below_the_limit_is_refused_and_an_internal_account_is_not() {
    let vault = Vault::open().await;
    let overdrawn = entries(&[(":one", 3, -61, -1), (":two", 2, 61, 101)])
        + "update account.balance set posted = -1, sequence = 3 where account_id = :one";
    let refusal = vault.refusal(&overdrawn).await;
    assert!(refusal.contains("balance_within_limit"), "{refusal}");
    let reserved =
        vault.refusal("update account.balance set pending_out = 30, locked = 31 where account_id = :one").await;
    assert!(reserved.contains("balance_within_limit"), "{reserved}");
    assert!(vault.bank.posted(internal(InternalRole::Cash)).await < 0);
}

#[tokio::test]
async fn a_closed_account_is_empty() {
    let vault = Vault::open().await;
    let refusal = vault.refusal("update account.balance set status = 'CLOSED' where account_id = :one").await;
    assert!(refusal.contains("balance_closed_is_empty"), "{refusal}");
}

#[tokio::test]
async fn unknown_words_and_impossible_numbers_are_refused() {
    let vault = Vault::open().await;
    for set in [
        "status = 'SLEEPING'",
        "overdraft_limit = -1",
        "overdraft_limit = 1000000000000001",
        "pending_out = -1",
        "locked = -1",
    ] {
        let refusal = vault.refusal(&format!("update account.balance set {set} where account_id = :two")).await;
        assert!(refusal.contains("violates check constraint"), "{set}: {refusal}");
    }
    let nothing = entries(&[(":one", 3, 0, 60)]);
    assert!(vault.refusal(&nothing).await.contains("entry_amount_check"));
}

/// A statement of `:one`, with these values for its days, status, entries, done, parts and end.
fn statement(values: &str) -> String {
    format!(
        "insert into account.statement
           (id, account_id, requested_by, request, first_entry, opening_balance, closing_balance, term_id, correlation_id,
            causation_id, actor_kind, requested_at, first_day, last_day, status, entries, done, parts, ended_at)
         select gen_random_uuid(), :one, :one, gen_random_uuid()::text, 1, 0, 0, :one, :one, :one, 'USER', now(), {values};"
    )
}

#[tokio::test]
async fn statements_that_contradict_themselves_are_refused() {
    let vault = Vault::open().await;
    let sound = "date '2024-01-01', date '2024-01-31', 'PREPARING', 2, 1, 1, null";
    assert_eq!(vault.refusal(&statement(sound)).await, "accepted");
    let twice = vault.refusal(&[statement(sound), statement(sound)].concat()).await;
    assert!(twice.contains("statement_in_preparation"), "{twice}");
    for (values, rule) in [
        ("date '2024-01-02', date '2024-01-01', 'PREPARING', 2, 1, 1, null", "statement_check"),
        ("date '2024-01-01', date '2024-01-31', 'SLEEPING', 2, 1, 1, now()", "statement_status_check"),
        ("date '2024-01-01', date '2024-01-31', 'PREPARING', 2, 3, 1, null", "statement_done_within_entries"),
        ("date '2024-01-01', date '2024-01-31', 'READY', 2, 1, 1, now()", "statement_ready_is_complete"),
        ("date '2024-01-01', date '2024-01-31', 'READY', 0, 0, 0, now()", "statement_ready_is_complete"),
        ("date '2024-01-01', date '2024-01-31', 'READY', 2, 2, 1, null", "statement_ended"),
        ("date '2024-01-01', date '2024-01-31', 'PREPARING', 2, 1, 1, now()", "statement_ended"),
    ] {
        let refusal = vault.refusal(&statement(values)).await;
        assert!(refusal.contains(rule), "{values}: {refusal}");
    }
}
