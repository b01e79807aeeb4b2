//! Logging in, and what happens to those who guess.

mod common;

use chrono::TimeDelta;
use common::{Bank, OTHER_PASSWORD, PASSWORD, anonymous, code, config, secret};
use futures::future::join_all;
use vostro_auth::{AuthErrorCode, Config};
use vostro_kernel::{ActorKind, RefusalCode as _};

const ADA: &str = "ada@example.org";
const NOBODY: &str = "nobody@example.org";

async fn guess(bank: &Bank, email: &str) -> AuthErrorCode {
    code(bank.auth.login(&anonymous(), email, &OTHER_PASSWORD.into()).await)
}

#[tokio::test]
async fn the_right_password_opens_a_session() {
    let bank = Bank::open().await;
    let user = bank.register(ADA).await;
    let logged_in = bank.auth.login(&anonymous(), "  ADA@example.org", &PASSWORD.into()).await.expect("logs in");
    assert_eq!(logged_in.user, user);
    let actor = bank.verify(&logged_in.tokens).expect("a valid token");
    assert_eq!((actor.kind, actor.id), (ActorKind::User, Some(user.id)));
    let told = bank.told_about(user.id).await;
    assert_eq!(told, [("auth.user-registered.v1".into(), 1), ("auth.user-logged-in.v1".into(), 2)]);
    let event = bank.database.published("auth.user-logged-in.v1").await.remove(0);
    assert_eq!(event["sessionId"], actor.session.expect("a session").to_string());
    assert_eq!(event["method"], "PASSWORD");
}

#[tokio::test]
async fn every_login_is_a_session_of_its_own() {
    let bank = Bank::open().await;
    let first = bank.customer(ADA).await;
    let second = bank.login(ADA).await;
    let session = |tokens| bank.verify(tokens).expect("a valid token").session;
    assert_ne!(session(&first.tokens), session(&second.tokens));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let bank = Bank::open().await;
    let user = bank.register(ADA).await;
    let mut answers = Vec::new();
    for email in [ADA, NOBODY, "no address at all", ""] {
        let error = bank.auth.login(&anonymous(), email, &OTHER_PASSWORD.into()).await.expect_err("refused");
        answers.push(error.refusal().expect("a refusal").clone());
    }
    assert_eq!(answers[0].code, AuthErrorCode::InvalidCredentials);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let subjects = bank.refusals().await.into_iter().map(|(command, code, subject)| {
        assert_eq!((command.as_str(), code.as_str()), ("login", "AUTH_INVALID_CREDENTIALS"));
        subject
    });
    assert_eq!(
        subjects.collect::<Vec<_>>(),
        [Some(user.id), None, None, None],
        "the audit log knows more than the client"
    );
    assert_eq!(bank.told_about(user.id).await.len(), 1, "a failed login is no event of the person");
}

#[tokio::test]
async fn a_password_longer_than_any_is_simply_wrong() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    let long = secret(&"a".repeat(1_000_000));
    assert_eq!(code(bank.auth.login(&anonymous(), ADA, &long).await), AuthErrorCode::InvalidCredentials);
}

#[tokio::test]
async fn five_failures_block_an_address_for_a_minute_even_for_the_right_password() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    for _ in 0..5 {
        assert_eq!(guess(&bank, ADA).await, AuthErrorCode::InvalidCredentials);
    }
    assert_eq!(code(bank.auth.login(&anonymous(), ADA, &PASSWORD.into()).await), AuthErrorCode::Locked);
    bank.advance(TimeDelta::seconds(59));
    assert_eq!(guess(&bank, " ADA@EXAMPLE.ORG ").await, AuthErrorCode::Locked, "in every spelling");
    bank.advance(TimeDelta::seconds(1));
    bank.login(ADA).await;
}

#[tokio::test]
async fn unknown_addresses_are_blocked_just_the_same() {
    let bank = Bank::open().await;
    for identifier in [NOBODY, "no address at all"] {
        for _ in 0..5 {
            assert_eq!(guess(&bank, identifier).await, AuthErrorCode::InvalidCredentials);
        }
        assert_eq!(guess(&bank, identifier).await, AuthErrorCode::Locked);
    }
}

#[tokio::test]
async fn every_failure_after_a_block_doubles_the_next_up_to_an_hour() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    for _ in 0..5 {
        guess(&bank, ADA).await;
    }
    for block in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        bank.advance(TimeDelta::seconds(block - 1));
        assert_eq!(guess(&bank, ADA).await, AuthErrorCode::Locked, "after {block} seconds less one");
        bank.advance(TimeDelta::seconds(1));
        assert_eq!(guess(&bank, ADA).await, AuthErrorCode::InvalidCredentials, "after {block} seconds");
    }
}

#[tokio::test]
async fn a_block_is_remembered_for_a_day_and_then_forgotten() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    for _ in 0..5 {
        guess(&bank, ADA).await;
    }
    bank.advance(TimeDelta::hours(23));
    guess(&bank, ADA).await;
    assert_eq!(guess(&bank, ADA).await, AuthErrorCode::Locked, "one more failure was one too many");
    bank.advance(TimeDelta::hours(24));
    for _ in 0..5 {
        assert_eq!(guess(&bank, ADA).await, AuthErrorCode::InvalidCredentials);
    }
}

#[tokio::test]
async fn failures_far_apart_do_not_add_up() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(guess(&bank, ADA).await, AuthErrorCode::InvalidCredentials);
        }
        bank.advance(TimeDelta::minutes(15));
    }
}

#[tokio::test]
async fn a_success_forgets_the_failures_before_it() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(guess(&bank, ADA).await, AuthErrorCode::InvalidCredentials);
        }
        bank.login(ADA).await;
    }
    assert_eq!(bank.count("select count(*) from auth.login_throttle").await, 0);
}

#[tokio::test]
async fn one_address_is_blocked_without_the_others() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    for _ in 0..6 {
        guess(&bank, "eve@example.org").await;
    }
    bank.login(ADA).await;
}

#[tokio::test]
async fn guesses_at_the_same_moment_are_all_counted_in_every_instance() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    let other = bank.another(config()).await;
    let (context, wrong) = (anonymous(), secret(OTHER_PASSWORD));
    let guesses = (0..20).map(|number| {
        let auth = if number % 2 == 0 { &bank.auth } else { &other };
        auth.login(&context, ADA, &wrong)
    });
    let looked_at = join_all(guesses).await.into_iter().map(code).filter(|code| *code != AuthErrorCode::Locked);
    assert_eq!(looked_at.count(), 5);
}

#[tokio::test]
async fn many_right_logins_at_the_same_moment_are_no_failures() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    let (context, right) = (anonymous(), secret(PASSWORD));
    let logins = join_all((0..20).map(|_| bank.auth.login(&context, ADA, &right))).await;
    assert!(logins.iter().all(Result::is_ok));
    let told = bank.database.published("auth.user-logged-in.v1").await;
    assert_eq!(told.len(), 20);
}

#[tokio::test]
async fn a_blocked_login_is_in_the_audit_log() {
    let bank = Bank::open().await;
    let user = bank.register(ADA).await;
    for _ in 0..6 {
        guess(&bank, ADA).await;
    }
    let last = bank.refusals().await.pop();
    assert_eq!(last, Some(("login".into(), AuthErrorCode::Locked.code().into(), Some(user.id))));
}

#[tokio::test]
async fn a_login_renews_a_hash_that_was_made_with_other_parameters() {
    let bank = Bank::open().await;
    bank.register(ADA).await;
    let stored = "select count(*) from auth.password_credential where phc like '$argon2id$v=19$m=128,t=2,p=1$%'";
    assert_eq!(bank.count(stored).await, 0);
    let stronger = bank.another(Config { memory_kib: 128, iterations: 2, ..config() }).await;
    assert_eq!(
        code(stronger.login(&anonymous(), ADA, &OTHER_PASSWORD.into()).await),
        AuthErrorCode::InvalidCredentials
    );
    assert_eq!(bank.count(stored).await, 0, "a wrong password renews nothing");
    stronger.login(&anonymous(), ADA, &PASSWORD.into()).await.expect("logs in");
    assert_eq!(bank.count(stored).await, 1);
    stronger.login(&anonymous(), ADA, &PASSWORD.into()).await.expect("logs in with the renewed hash");
}
