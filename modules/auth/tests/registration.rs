//! How somebody becomes a customer, and how not.

mod common;

use common::{Bank, OTHER_PASSWORD, PASSWORD, anonymous, code, registration};
use futures::future::join_all;
use uuid::Uuid;
use vostro_auth::{AuthErrorCode, Registration};
use vostro_kernel::{Role, Roles};
use vostro_messaging::ContactKey;

#[tokio::test]
async fn a_person_registers_once_and_the_bank_is_told() {
    let bank = Bank::open().await;
    let context = anonymous();
    let registered = bank.auth.register(&context, registration(" Ada@Example.org ")).await.expect("registers");
    assert!(!registered.replayed);
    let user = registered.user;
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("ada@example.org", "Ada Lovelace"));
    assert_eq!(user.locale, "en-GB");
    assert_eq!(user.roles, [Role::Customer].into_iter().collect::<Roles>());

    let events = bank.database.outbox_events().await;
    let [(envelope, data)] = events.as_slice() else { panic!("one event, not {events:?}") };
    assert_eq!(envelope.event_type.as_str(), "auth.user-registered.v1");
    assert_eq!((envelope.aggregate_id, envelope.sequence), (user.id, 1));
    assert_eq!(envelope.cause.causation_id, context.command_id);
    assert_eq!(envelope.cause.correlation_id, context.correlation_id);
    assert_eq!(envelope.cause.command.as_deref(), Some("userRegister"));
    assert_eq!(data["locale"], "en-GB");
    assert_eq!(data["roles"], serde_json::json!(["CUSTOMER"]));
    let key = ContactKey::derive("the contact secret of the tests, long enough too");
    let contact = key.open(user.id, data["sealedContact"].as_str().expect("text")).expect("the contact key opens it");
    assert_eq!((contact.email.as_str(), contact.display_name.as_str()), ("ada@example.org", "Ada Lovelace"));
}

#[tokio::test]
async fn the_language_is_english_unless_somebody_says_so() {
    let bank = Bank::open().await;
    let input = Registration { locale: None, ..registration("ada@example.org") };
    assert_eq!(bank.auth.register(&anonymous(), input).await.expect("registers").user.locale, "en");
}

#[tokio::test]
async fn the_same_key_and_input_give_the_same_user_again() {
    let bank = Bank::open().await;
    let input = registration("ada@example.org");
    let first = bank.auth.register(&anonymous(), input.clone()).await.expect("registers");
    let again = Registration { email: "ADA@example.org".to_owned(), ..input };
    let second = bank.auth.register(&anonymous(), again).await.expect("replays");
    assert!(second.replayed);
    assert_eq!(second.user, first.user);
    assert_eq!(bank.database.outbox_events().await.len(), 1, "nothing happened the second time");
}

#[tokio::test]
async fn the_same_key_with_another_input_is_refused() {
    let bank = Bank::open().await;
    let input = registration("ada@example.org");
    bank.auth.register(&anonymous(), input.clone()).await.expect("registers");
    let others = [
        Registration { email: "eve@example.org".to_owned(), ..input.clone() },
        Registration { display_name: "Eve".to_owned(), ..input.clone() },
        Registration { locale: Some("de".to_owned()), ..input.clone() },
        Registration { password: OTHER_PASSWORD.into(), ..input.clone() },
    ];
    for other in others {
        let refused = code(bank.auth.register(&anonymous(), other).await);
        assert_eq!(refused, AuthErrorCode::IdempotencyKeyReused);
    }
    assert_eq!(bank.count("select count(*) from auth.user_account").await, 1);
    assert_eq!(bank.refusals().await.len(), 4);
}

#[tokio::test]
async fn repeating_a_key_is_no_way_to_guess_a_password() {
    let bank = Bank::open().await;
    let input = registration("ada@example.org");
    bank.auth.register(&anonymous(), input.clone()).await.expect("registers");
    let guess = Registration { password: OTHER_PASSWORD.into(), ..input.clone() };
    for _ in 0..5 {
        let refused = code(bank.auth.register(&anonymous(), guess.clone()).await);
        assert_eq!(refused, AuthErrorCode::IdempotencyKeyReused);
    }
    assert_eq!(code(bank.auth.register(&anonymous(), input).await), AuthErrorCode::Locked);
    assert_eq!(
        code(bank.auth.login(&anonymous(), "ada@example.org", &PASSWORD.into()).await),
        AuthErrorCode::Locked,
        "they are counted together with failed logins"
    );
}

#[tokio::test]
async fn an_address_is_taken_in_every_spelling() {
    let bank = Bank::open().await;
    bank.register("ada@example.org").await;
    let refusal = bank.auth.register(&anonymous(), registration("Ada@EXAMPLE.org")).await.expect_err("taken");
    let refusal = refusal.refusal().expect("a refusal").clone();
    assert_eq!(refusal.code, AuthErrorCode::EmailTaken);
    assert_eq!(refusal.field, ["input", "email"]);
    assert_eq!(bank.refusals().await, [("userRegister".into(), "AUTH_EMAIL_TAKEN".into(), None)]);
}

#[tokio::test]
async fn a_key_whose_command_was_refused_can_be_used_again() {
    let bank = Bank::open().await;
    bank.register("ada@example.org").await;
    let input = registration("ada@example.org");
    assert_eq!(code(bank.auth.register(&anonymous(), input.clone()).await), AuthErrorCode::EmailTaken);
    let corrected = Registration { email: "ada2@example.org".to_owned(), ..input };
    assert!(!bank.auth.register(&anonymous(), corrected).await.expect("registers").replayed);
}

#[tokio::test]
async fn input_that_breaks_a_rule_is_refused_and_nothing_is_stored() {
    let bank = Bank::open().await;
    let good = || registration("ada@example.org");
    let long = "a".repeat(129);
    let long_key = "k".repeat(129);
    let cases = [
        (Registration { idempotency_key: String::new(), ..good() }, AuthErrorCode::IdempotencyKeyRequired),
        (Registration { idempotency_key: "a b".into(), ..good() }, AuthErrorCode::IdempotencyKeyRequired),
        (Registration { idempotency_key: long_key, ..good() }, AuthErrorCode::IdempotencyKeyRequired),
        (Registration { email: "ada".into(), ..good() }, AuthErrorCode::EmailInvalid),
        (Registration { display_name: "\n".into(), ..good() }, AuthErrorCode::DisplayNameInvalid),
        (Registration { locale: Some("klingon!".into()), ..good() }, AuthErrorCode::LocaleInvalid),
        (Registration { password: "short".into(), ..good() }, AuthErrorCode::PasswordWeak),
        (Registration { password: long.as_str().into(), ..good() }, AuthErrorCode::PasswordWeak),
        (Registration { password: "Password1234".into(), ..good() }, AuthErrorCode::PasswordBreached),
        (Registration { password: "adalovelace ada".into(), ..good() }, AuthErrorCode::PasswordWeak),
        (Registration { password: "ada@example.org".into(), ..good() }, AuthErrorCode::PasswordWeak),
    ];
    let expected = cases.iter().map(|(_, code)| *code).collect::<Vec<_>>();
    for (input, expected) in cases {
        assert_eq!(code(bank.auth.register(&anonymous(), input).await), expected);
    }
    assert_eq!(bank.count("select count(*) from auth.user_account").await, 0);
    assert_eq!(bank.count("select count(*) from auth.idempotency").await, 0);
    assert_eq!(bank.refusals().await.len(), expected.len(), "every refusal reaches the audit log");
}

#[tokio::test]
async fn of_registrations_with_one_key_at_the_same_moment_one_registers_and_the_others_get_its_answer() {
    let bank = Bank::open().await;
    let input = registration("ada@example.org");
    let context = anonymous();
    let results = join_all((0..8).map(|_| bank.auth.register(&context, input.clone()))).await;
    let registered = results.into_iter().map(|result| result.expect("an answer")).collect::<Vec<_>>();
    assert_eq!(registered.iter().filter(|one| !one.replayed).count(), 1);
    assert!(registered.iter().all(|one| one.user == registered[0].user));
    assert_eq!(bank.database.outbox_events().await.len(), 1);
}

#[tokio::test]
async fn of_registrations_of_one_address_at_the_same_moment_one_wins() {
    let bank = Bank::open().await;
    let context = anonymous();
    let registrations = (0..8).map(|_| bank.auth.register(&context, registration("ada@example.org")));
    let results = join_all(registrations).await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert!(lost.into_iter().all(|result| code(result) == AuthErrorCode::EmailTaken));
    assert_eq!(bank.count("select count(*) from auth.user_account").await, 1);
    assert_eq!(bank.database.published("auth.user-registered.v1").await.len(), 1);
}

#[tokio::test]
async fn two_ways_to_type_a_password_are_one_password() {
    let bank = Bank::open().await;
    let input = Registration { password: "caf\u{e9} gantry folio tern".into(), ..registration("ada@example.org") };
    bank.auth.register(&anonymous(), input).await.expect("registers");
    let typed = "cafe\u{301} gantry folio tern".into();
    assert!(bank.auth.login(&anonymous(), "ada@example.org", &typed).await.is_ok());
}

#[tokio::test]
async fn the_database_itself_refuses_what_breaks_an_invariant() {
    let bank = Bank::open().await;
    let user = bank.customer("ada@example.org").await.user;
    let broken = [
        "update auth.user_account set status = 'UNHEARD_OF'".to_owned(),
        "update auth.user_account set sequence = 0".to_owned(),
        "update auth.user_account set email_index = 'short'".to_owned(),
        "update auth.user_account set locale = '../etc'".to_owned(),
        "update auth.password_credential set phc = 'plain text'".to_owned(),
        "update auth.session set revoked_at = now()".to_owned(),
        "update auth.session set expires_at = created_at".to_owned(),
        "update auth.signing_key set state = 'ACTIVE', activated_at = now() where state = 'NEXT'".to_owned(),
        "update auth.signing_key set state = 'RETIRED', retired_at = now() where state = 'ACTIVE'".to_owned(),
        format!("insert into auth.role_assignment values ('{}', 'SUPERUSER', now())", user.id),
        format!("insert into auth.role_assignment values ('{}', 'CUSTOMER', now())", user.id),
        format!(
            "insert into auth.idempotency values ('c', 'k', decode(repeat('00', 32), 'hex'), '{}', now())",
            Uuid::nil()
        ),
        "insert into auth.refresh_token select decode(repeat('00', 32), 'hex'), session_id, issued_at, expires_at
         from auth.refresh_token"
            .to_owned(),
    ];
    for statement in broken {
        let result = sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(bank.database.pool()).await;
        let error = result.expect_err(&statement);
        assert!(error.as_database_error().is_some_and(|error| error.constraint().is_some()), "{statement}: {error}");
    }
    assert!(bank.auth.login(&anonymous(), "ada@example.org", &PASSWORD.into()).await.is_ok());
}
