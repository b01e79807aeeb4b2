//! What the module does by itself.

mod common;

use chrono::TimeDelta;
use common::{Bank, OTHER_PASSWORD, anonymous, config};
use tokio_util::sync::CancellationToken;
use vostro_auth::Config;
use vostro_messaging::Module as _;
use vostro_testkit::eventually;

const ADA: &str = "ada@example.org";
const LEFTOVERS: &str = "select (select count(*) from auth.session) + (select count(*) from auth.refresh_token)
     + (select count(*) from auth.login_throttle) + (select count(*) from auth.idempotency)";

/// Runs the background until `rows` finds `wanted`.
async fn until(bank: &Bank, rows: &'static str, wanted: i64) {
    let stop = CancellationToken::new();
    let background = bank.auth.background(stop.clone()).into_iter().map(tokio::spawn).collect::<Vec<_>>();
    eventually("the rows are as wanted", || async { (bank.count(rows).await == wanted).then_some(()) }).await;
    stop.cancel();
    for task in background {
        task.await.expect("ends when it is told to");
    }
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_deleted() {
    let bank = Bank::open_with(Config { refresh_token_days: 1, session_days: 2, ..config() }).await;
    let login = bank.customer(ADA).await;
    bank.auth.refresh(&anonymous(), &login.tokens.refresh_token).await.expect("exchanged");
    let _ = bank.auth.login(&anonymous(), ADA, &OTHER_PASSWORD.into()).await;
    assert_eq!(bank.count(LEFTOVERS).await, 1 + 2 + 1 + 1);
    bank.advance(TimeDelta::days(9) + TimeDelta::seconds(1));
    until(&bank, LEFTOVERS, 0).await;
    assert_eq!(bank.count("select count(*) from auth.user_account").await, 1, "people stay");
}

#[tokio::test]
async fn what_is_still_needed_is_kept() {
    let bank = Bank::open().await;
    bank.customer(ADA).await;
    let _ = bank.auth.login(&anonymous(), ADA, &OTHER_PASSWORD.into()).await;
    // An old claim that the sweep takes shows that it has run.
    let old = "insert into auth.idempotency
         select command, 'old', fingerprint, user_id, created_at - interval '8 days' from auth.idempotency";
    bank.database.tamper(old).await;
    until(&bank, "select count(*) from auth.idempotency", 1).await;
    assert_eq!(bank.count(LEFTOVERS).await, 1 + 1 + 1 + 1);
}

#[tokio::test]
async fn old_signing_keys_are_replaced() {
    let bank = Bank::open().await;
    bank.advance(TimeDelta::days(30));
    until(&bank, "select count(*) from auth.signing_key where state = 'RETIRED'", 1).await;
}
