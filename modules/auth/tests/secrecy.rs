//! Nothing that identifies a person or opens a door is readable where it should not be.

mod common;

use base64::Engine as _;
use common::{Bank, OTHER_PASSWORD, PASSWORD, anonymous, config, registration};
use secrecy::ExposeSecret as _;
use vostro_auth::{Config, NewStaff, ProfileChange};

const EMAIL: &str = "ada.secret@example.org";
const NAME: &str = "Ada Lovelace";
const RENAMED: &str = "Countess of Lovelace";

/// A day in the life of the module; returns every text that must not be readable afterwards.
async fn day(bank: &Bank) -> Vec<String> {
    bank.register(EMAIL).await;
    let _ = bank.auth.register(&anonymous(), registration(EMAIL)).await;
    let _ = bank.auth.login(&anonymous(), EMAIL, &OTHER_PASSWORD.into()).await;
    let first = bank.login(EMAIL).await;
    let next = bank.auth.refresh(&anonymous(), &first.tokens.refresh_token).await.expect("exchanged");
    let rename = ProfileChange { display_name: Some(RENAMED.into()), locale: None };
    bank.auth.profile_update(&bank.request(&next), rename).await.expect("changed");
    let _ = bank.auth.refresh(&anonymous(), &first.tokens.refresh_token).await;
    let mut secrets = [EMAIL, "ada.secret", NAME, RENAMED, PASSWORD, OTHER_PASSWORD].map(str::to_owned).to_vec();
    for tokens in [&first.tokens, &next] {
        secrets.push(tokens.access_token.expose_secret().to_owned());
        secrets.push(tokens.refresh_token.expose_secret().to_owned());
        secrets.push(tokens.refresh_token.expose_secret()[4..].to_owned());
    }
    secrets
}

/// Every way a secret could be written down.
fn spellings(secret: &str) -> Vec<String> {
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    vec![secret.to_lowercase(), hex, base64::engine::general_purpose::STANDARD.encode(secret).to_lowercase()]
}

#[tokio::test]
async fn no_table_and_no_event_shows_a_secret_or_a_person() {
    let bank = Bank::open().await;
    let secrets = day(&bank).await;
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'auth'")
        .fetch_all(bank.database.pool())
        .await
        .expect("the tables");
    assert!(tables.len() >= 11, "{tables:?}");
    let mut written = String::new();
    for table in tables {
        let rows = format!("select coalesce(string_agg(t::text, E'\\n'), '') from auth.{table} t");
        let rows: String =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(bank.database.pool()).await.expect("rows");
        written.push_str(&rows);
    }
    for (envelope, data) in bank.database.outbox_events().await {
        written.push_str(&format!("{envelope:?} {data}"));
    }
    let written = written.to_lowercase();
    for secret in secrets {
        for spelling in spellings(&secret) {
            assert!(!written.contains(&spelling), "{secret} is readable as {spelling}");
        }
    }
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let bank = Bank::open().await;
    bank.register(EMAIL).await;
    let login = bank.login(EMAIL).await;
    let staff = NewStaff::admin(EMAIL, PASSWORD.into(), NAME);
    let rename = ProfileChange { display_name: Some(NAME.into()), locale: None };
    let error = bank.auth.login(&anonymous(), EMAIL, &OTHER_PASSWORD.into()).await.expect_err("wrong");
    let printed = format!(
        "{:?} {:?} {:?} {:?} {rename:?} {staff:?} {error:?} {error} {:?}",
        bank.auth,
        registration(EMAIL),
        login,
        bank.auth.verifier(),
        Config { ..config() },
    );
    let secrets = [
        EMAIL,
        NAME,
        PASSWORD,
        OTHER_PASSWORD,
        login.tokens.access_token.expose_secret(),
        login.tokens.refresh_token.expose_secret(),
        config().secret.expose_secret(),
        config().contact_secret.expose_secret(),
    ]
    .map(str::to_owned);
    for secret in secrets {
        assert!(!printed.contains(&secret), "{secret} in {printed}");
    }
}
