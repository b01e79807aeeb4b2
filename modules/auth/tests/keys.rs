//! Signing keys: how they begin, follow each other, and end.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use common::{Bank, anonymous, code, config, system};
use futures::future::join_all;
use secrecy::ExposeSecret as _;
use vostro_auth::{Auth, AuthErrorCode, Config, TokenFault, Tokens};
use vostro_kernel::Role;
use vostro_messaging::Module as _;
use vostro_testkit::Database;

const ADA: &str = "ada@example.org";
/// Longer than a key is published before it signs.
const PUBLISHED: TimeDelta = TimeDelta::minutes(20);

fn kids(auth: &Auth) -> BTreeSet<String> {
    let set: serde_json::Value = serde_json::from_str(&auth.jwks()).expect("JSON");
    let keys = set["keys"].as_array().expect("a list");
    keys.iter().map(|key| key["kid"].as_str().expect("a key id").to_owned()).collect()
}

/// The id of the key that signed a token.
fn signed_with(tokens: &Tokens) -> String {
    use base64::Engine as _;
    let header = tokens.access_token.expose_secret().split('.').next().expect("a header");
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64");
    let header: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    header["kid"].as_str().expect("a key id").to_owned()
}

#[tokio::test]
async fn a_bank_that_starts_has_a_key_that_signs_and_one_that_will() {
    let bank = Bank::open().await;
    assert_eq!(kids(&bank.auth).len(), 2);
    assert!(kids(&bank.auth).contains(&signed_with(&bank.customer(ADA).await.tokens)));
    let before = bank.auth.jwks();
    bank.auth.start().await.expect("starts again");
    assert_eq!(bank.auth.jwks(), before, "starting again changes nothing");
}

#[tokio::test]
async fn instances_that_start_at_the_same_moment_agree_on_the_keys() {
    let database = Database::create("auth", &vostro_auth::MIGRATIONS).await;
    let instances =
        (0..4).map(|_| Auth::new(database.foundation(), config()).expect("a valid configuration")).collect::<Vec<_>>();
    for started in join_all(instances.iter().map(|auth| auth.start())).await {
        started.expect("starts");
    }
    for auth in &instances {
        assert_eq!(kids(auth), kids(&instances[0]));
        assert_eq!(kids(auth).len(), 2);
    }
}

#[tokio::test]
async fn a_rotation_keeps_what_was_signed_before_and_signs_with_a_key_that_was_known_before() {
    let bank = Bank::open().await;
    bank.advance(PUBLISHED);
    let before = bank.customer(ADA).await.tokens;
    let known = kids(&bank.auth);
    let rotation = bank.auth.rotate_keys(&system()).await.expect("rotates");

    let after = bank.login(ADA).await.tokens;
    assert_ne!(signed_with(&before), signed_with(&after));
    assert_eq!(signed_with(&after), rotation.active);
    assert!(known.contains(&rotation.active), "whoever caches the key set knows it already");
    assert!(!known.contains(&rotation.next));
    assert_eq!(kids(&bank.auth).len(), 3, "the old, the new and the next");
    assert!(bank.verify(&before).is_ok());
    assert!(bank.verify(&after).is_ok());
}

#[tokio::test]
async fn another_instance_accepts_tokens_of_a_rotation_it_has_not_heard_of() {
    let bank = Bank::open().await;
    bank.advance(PUBLISHED);
    let other = bank.another(config()).await;
    bank.auth.rotate_keys(&system()).await.expect("rotates");
    let token = bank.customer(ADA).await.tokens.access_token;
    assert!(other.verifier().verify(token.expose_secret()).is_ok());
}

#[tokio::test]
async fn a_key_must_have_been_published_before_it_signs() {
    let bank = Bank::open().await;
    let rotate = async || code(bank.auth.rotate_keys(&system()).await);
    bank.advance(PUBLISHED - TimeDelta::seconds(1));
    assert_eq!(rotate().await, AuthErrorCode::KeyNotPublishedLongEnough);
    bank.advance(TimeDelta::seconds(1));
    bank.auth.rotate_keys(&system()).await.expect("rotates");
    assert_eq!(rotate().await, AuthErrorCode::KeyNotPublishedLongEnough, "the next one is new again");
}

#[tokio::test]
async fn only_administrators_and_the_bank_itself_rotate_keys() {
    let bank = Bank::open().await;
    bank.advance(PUBLISHED);
    let customer = bank.customer(ADA).await;
    let operator = bank.staff("grace@example.org", &[Role::Operator]).await;
    for context in [anonymous(), bank.request(&customer.tokens), bank.request(&operator.tokens)] {
        assert_eq!(code(bank.auth.rotate_keys(&context).await), AuthErrorCode::ScopeInsufficient);
    }
    let admin = bank.staff("root@example.org", &[Role::Admin]).await;
    bank.auth.rotate_keys(&bank.request(&admin.tokens)).await.expect("rotates");
}

#[tokio::test]
async fn an_old_key_is_replaced_without_being_asked() {
    let bank = Bank::open().await;
    let before = signed_with(&bank.customer(ADA).await.tokens);
    bank.advance(TimeDelta::days(30));
    bank.auth.start().await.expect("tends the keys");
    let after = bank.login(ADA).await.tokens;
    assert_ne!(signed_with(&after), before);
}

#[tokio::test]
async fn a_retired_key_loses_its_private_half_at_once_and_its_public_half_when_nothing_needs_it() {
    let bank = Bank::open().await;
    bank.advance(PUBLISHED);
    let tokens = bank.customer(ADA).await.tokens;
    bank.auth.rotate_keys(&system()).await.expect("rotates");
    let private = "select count(*) from auth.signing_key where state = 'RETIRED' and sealed_private_key is not null";
    assert_eq!(bank.count(private).await, 0);

    bank.advance(TimeDelta::minutes(16));
    bank.auth.start().await.expect("tends the keys");
    assert!(kids(&bank.auth).contains(&signed_with(&tokens)));
    bank.advance(TimeDelta::minutes(15));
    bank.auth.start().await.expect("tends the keys");
    assert!(!kids(&bank.auth).contains(&signed_with(&tokens)));
    assert!(bank.verify(&tokens).is_err());
}

#[tokio::test]
async fn keys_sealed_with_another_secret_keep_the_bank_from_starting() {
    let bank = Bank::open().await;
    let other = Config { secret: "another secret than the one the keys are sealed with".into(), ..config() };
    let auth = Auth::new(bank.database.foundation_at(bank.clock.clone()), other).expect("a valid configuration");
    let error = auth.start().await.expect_err("cannot open the keys");
    assert!(error.to_string().contains("cannot be opened with the configured secret"), "{error}");
}

#[tokio::test]
async fn a_configuration_without_sense_keeps_the_module_from_being_made() {
    let database = Database::create("auth", &vostro_auth::MIGRATIONS).await;
    let weak = Config { allow_weak_hashing: false, ..config() };
    let error = Auth::new(database.foundation(), weak).expect_err("weak hashing");
    assert!(error.to_string().contains("OWASP"), "{error}");
}

#[tokio::test]
async fn before_the_start_no_token_is_accepted() {
    let bank = Bank::open().await;
    let tokens = bank.customer(ADA).await.tokens;
    let clock = Arc::clone(&bank.clock);
    let early = Auth::new(bank.database.foundation_at(clock), config()).expect("a valid configuration");
    assert_eq!(early.verifier().verify(tokens.access_token.expose_secret()), Err(TokenFault::Unavailable));
}
