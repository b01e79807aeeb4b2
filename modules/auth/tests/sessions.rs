//! Sessions: how they are refreshed, how they end, and what ends with them.

mod common;

use chrono::TimeDelta;
use common::{Bank, anonymous, code, config, secret};
use futures::future::join_all;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use vostro_auth::{AuthErrorCode, Config, TokenFault, Tokens};
use vostro_kernel::{Actor, RequestContext, SystemIds};
use vostro_messaging::Module as _;

const ADA: &str = "ada@example.org";

async fn refresh(bank: &Bank, tokens: &Tokens) -> Result<Tokens, vostro_auth::AuthError> {
    bank.auth.refresh(&anonymous(), &tokens.refresh_token).await
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_the_next_pair_of_the_same_session() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let next = refresh(&bank, &login.tokens).await.expect("exchanged");
    assert_ne!(next.refresh_token.expose_secret(), login.tokens.refresh_token.expose_secret());
    assert_ne!(next.access_token.expose_secret(), login.tokens.access_token.expose_secret());
    assert_eq!(bank.verify(&next), bank.verify(&login.tokens), "both speak for the same session");
    let told = bank.told_about(login.user.id).await;
    assert_eq!(told.last(), Some(&("auth.session-refreshed.v1".into(), 3)));
    refresh(&bank, &next).await.expect("and so on");
}

#[tokio::test]
async fn a_refresh_token_that_comes_twice_ends_the_whole_session() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let second = refresh(&bank, &login.tokens).await.expect("exchanged");
    let third = refresh(&bank, &second).await.expect("exchanged");
    assert!(bank.verify(&third).is_ok());

    assert_eq!(code(refresh(&bank, &login.tokens).await), AuthErrorCode::TokenReused);
    for tokens in [&login.tokens, &second, &third] {
        assert_eq!(bank.verify(tokens), Err(TokenFault::Revoked), "every access token of the session");
    }
    assert_eq!(code(refresh(&bank, &third).await), AuthErrorCode::TokenInvalid, "the newest refresh token too");
    let revoked = bank.database.published("auth.session-revoked.v1").await;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0]["reason"], "REUSE_DETECTED");
    let refusals = bank.refusals().await;
    assert_eq!(refusals[0], ("tokenRefresh".into(), "AUTH_TOKEN_REUSED".into(), Some(login.user.id)));
    let sequences = bank.told_about(login.user.id).await.into_iter().map(|(_, sequence)| sequence);
    assert_eq!(sequences.collect::<Vec<_>>(), [1, 2, 3, 4, 5], "without a gap");
}

#[tokio::test]
async fn other_sessions_of_the_person_go_on() {
    let bank = Bank::open().await;
    let stolen = bank.customer(ADA).await.tokens;
    let other = bank.login(ADA).await.tokens;
    refresh(&bank, &stolen).await.expect("exchanged");
    assert_eq!(code(refresh(&bank, &stolen).await), AuthErrorCode::TokenReused);
    assert!(bank.verify(&other).is_ok());
    refresh(&bank, &other).await.expect("exchanged");
}

#[tokio::test]
async fn of_exchanges_at_the_same_moment_exactly_one_wins() {
    let bank = Bank::open().await;
    let tokens = bank.customer(ADA).await.tokens;
    let other = bank.another(config()).await;
    let context = anonymous();
    let exchanges = (0..8).map(|number| {
        let auth = if number % 2 == 0 { &bank.auth } else { &other };
        auth.refresh(&context, &tokens.refresh_token)
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(exchanges).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert!(lost.into_iter().all(|result| code(result) == AuthErrorCode::TokenReused));
    assert_eq!(bank.database.published("auth.session-revoked.v1").await.len(), 1, "told once");
    assert_eq!(bank.count("select count(*) from auth.refresh_token").await, 2);
}

#[tokio::test]
async fn a_refresh_token_expires_when_the_session_rests_too_long() {
    let bank = Bank::open().await;
    let tokens = bank.customer(ADA).await.tokens;
    bank.advance(TimeDelta::days(14));
    assert_eq!(code(refresh(&bank, &tokens).await), AuthErrorCode::TokenExpired);
    assert_eq!(bank.database.published("auth.session-revoked.v1").await.len(), 0, "nobody did anything wrong");
}

#[tokio::test]
async fn a_session_ends_however_often_it_is_refreshed() {
    let bank = Bank::open_with(Config { refresh_token_days: 2, session_days: 3, ..config() }).await;
    let mut tokens = bank.customer(ADA).await.tokens;
    for _ in 0..2 {
        bank.advance(TimeDelta::days(1));
        tokens = refresh(&bank, &tokens).await.expect("exchanged");
    }
    bank.advance(TimeDelta::days(1) - TimeDelta::minutes(1));
    tokens = refresh(&bank, &tokens).await.expect("exchanged in the last minute");
    bank.advance(TimeDelta::minutes(1) + TimeDelta::seconds(5));
    assert_eq!(bank.verify(&tokens), Err(TokenFault::Expired), "no access token outlives the session");
    assert_eq!(code(refresh(&bank, &tokens).await), AuthErrorCode::TokenExpired);
}

#[tokio::test]
async fn what_is_no_refresh_token_of_this_bank_is_invalid() {
    let bank = Bank::open().await;
    let tokens = bank.customer(ADA).await.tokens;
    let access = tokens.access_token.expose_secret();
    let unknown = format!("vrt_{}", "A".repeat(43));
    for text in ["", "x", &unknown, access, &tokens.refresh_token.expose_secret()[4..]] {
        let refused = code(bank.auth.refresh(&anonymous(), &secret(text)).await);
        assert_eq!(refused, AuthErrorCode::TokenInvalid);
    }
    refresh(&bank, &tokens).await.expect("the right one still works");
}

#[tokio::test]
async fn a_refresh_token_opens_no_door() {
    let bank = Bank::open().await;
    let tokens = bank.customer(ADA).await.tokens;
    let fault = bank.auth.verifier().verify(tokens.refresh_token.expose_secret());
    assert_eq!(fault, Err(TokenFault::WrongPurpose));
}

#[tokio::test]
async fn logging_out_ends_the_session_at_once() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let request = bank.request(&login.tokens);
    assert!(bank.auth.logout(&request).await.expect("logs out"));
    assert_eq!(bank.verify(&login.tokens), Err(TokenFault::Revoked));
    assert_eq!(code(refresh(&bank, &login.tokens).await), AuthErrorCode::TokenInvalid);
    assert!(!bank.auth.logout(&request).await.expect("again"), "there is nothing left to end");
    let revoked = bank.database.published("auth.session-revoked.v1").await;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0]["reason"], "LOGOUT");
}

#[tokio::test]
async fn somebody_without_a_session_cannot_log_out() {
    let bank = Bank::open().await;
    assert_eq!(code(bank.auth.logout(&anonymous()).await), AuthErrorCode::SessionMissing);
    assert_eq!(bank.refusals().await, [("logout".into(), "AUTH_SESSION_MISSING".into(), None)]);
}

#[tokio::test]
async fn an_access_token_lives_for_ten_minutes() {
    let bank = Bank::open().await;
    let tokens = bank.customer(ADA).await.tokens;
    assert_eq!(tokens.expires_at, vostro_kernel::Clock::now(&*bank.clock) + TimeDelta::minutes(10));
    bank.advance(TimeDelta::minutes(10) + TimeDelta::seconds(5));
    assert_eq!(bank.verify(&tokens), Err(TokenFault::Expired));
    assert!(bank.verify(&refresh(&bank, &tokens).await.expect("exchanged")).is_ok());
}

#[tokio::test]
async fn other_instances_learn_that_a_session_has_ended() {
    let bank = Bank::open().await;
    let other = bank.another(Config { poll_ms: 50, ..config() }).await;
    let tokens = bank.customer(ADA).await.tokens;
    let verifier = other.verifier();
    let token = tokens.access_token.expose_secret();
    assert!(verifier.verify(token).is_ok());
    bank.auth.logout(&bank.request(&tokens)).await.expect("logs out");

    let stop = CancellationToken::new();
    let background = other.background(stop.clone()).into_iter().map(tokio::spawn).collect::<Vec<_>>();
    let learned = async {
        while verifier.verify(token) != Err(TokenFault::Revoked) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), learned).await.expect("within a poll");
    stop.cancel();
    for task in background {
        task.await.expect("ends when it is told to");
    }
}

#[tokio::test]
async fn an_instance_that_starts_knows_which_sessions_have_ended() {
    let bank = Bank::open().await;
    let tokens = bank.customer(ADA).await.tokens;
    bank.auth.logout(&bank.request(&tokens)).await.expect("logs out");
    let other = bank.another(config()).await;
    assert_eq!(other.verifier().verify(tokens.access_token.expose_secret()), Err(TokenFault::Revoked));
}

#[tokio::test]
async fn a_token_of_a_session_that_never_was_ends_nothing() {
    let bank = Bank::open().await;
    let user = bank.register(ADA).await;
    let session = vostro_kernel::Ids::next(&SystemIds);
    let request = RequestContext::of(Actor::person(user.id, user.roles, Some(session)), &SystemIds);
    assert!(!bank.auth.logout(&request).await.expect("an answer"));
    assert_eq!(bank.database.published("auth.session-revoked.v1").await.len(), 0);
}
