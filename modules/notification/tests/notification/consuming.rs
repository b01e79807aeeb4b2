use serde_json::value::RawValue;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::{
    AccountChange, AccountKind, AccountStatus, AccountTerm, AccountUpdatedV1, AccountUpdatedV2, StatementReadyV1,
};
use vostro_events::auth::UserUpdatedV1;
use vostro_events::notification::NotificationSentV1;
use vostro_events::transaction::{TransactionCompletedV1, TransactionInitiatedV1, TransactionKind};
use vostro_messaging::{Contact, EventSelector, Incoming, Module as _};
use vostro_testkit::{Consuming, incoming, incoming_caused_by, incoming_in_two_versions, reason_for_refusing};

use crate::support::*;

fn row(topic: &str, channel: &str, status: &str, reason: Option<&str>) -> (String, String, String, Option<String>) {
    (topic.into(), channel.into(), status.into(), reason.map(Into::into))
}

#[tokio::test]
async fn a_registration_welcomes_in_the_app_and_queues_a_mail() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    let event = bench.registered(user);
    bench.consume(std::slice::from_ref(&event)).await;
    assert_eq!(
        bench.decisions().await,
        [row("WELCOME", "IN_APP", "SENT", None), row("WELCOME", "EMAIL", "QUEUED", None)]
    );
    let published = bench.database.outbox_events().await;
    let [(envelope, data)] = published.as_slice() else { panic!("one event, not {published:?}") };
    assert_eq!(envelope.event_type.as_str(), NotificationSentV1::TYPE);
    assert_eq!(envelope.sequence, 1);
    assert_eq!(envelope.cause, Cause::event(&event.envelope));
    assert_eq!(data["sourceEventId"], event.envelope.id.to_string());
    assert_eq!((&data["template"], &data["locale"], &data["attempt"]), (&"welcome".into(), &"en".into(), &1.into()));
}

#[tokio::test]
async fn the_account_that_comes_with_a_registration_is_covered_by_the_welcome() {
    let bench = Bench::new().await;
    let (user, first) = (Uuid::now_v7(), Uuid::now_v7());
    let registered = bench.registered(user);
    let cause = Cause::event(&registered.envelope);
    let opened = incoming_caused_by(&account(first, Some(user)), 1, cause);
    bench.consume(&[registered, opened]).await;
    let covered = Some("COVERED_BY_WELCOME");
    assert_eq!(
        bench.decisions().await[2..],
        [row("ACCOUNT", "IN_APP", "SUPPRESSED", covered), row("ACCOUNT", "EMAIL", "SUPPRESSED", covered)]
    );
    assert_eq!(bench.list(user).await.len(), 2, "what was suppressed is not shown");
}

#[tokio::test]
async fn an_account_somebody_asked_for_is_announced_by_the_tail_of_its_number() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[account_opened(Uuid::now_v7(), user)]).await;
    assert_eq!(
        bench.decisions().await,
        [row("ACCOUNT", "IN_APP", "SENT", None), row("ACCOUNT", "EMAIL", "QUEUED", None)]
    );
    let list = bench.list(user).await;
    assert_eq!(list[0].body, "Your new savings account in EUR (••5399) is open.");
}

#[tokio::test]
async fn an_internal_account_concerns_nobody() {
    let bench = Bench::new().await;
    bench.consume(&[incoming(&account(Uuid::now_v7(), None), 1)]).await;
    assert!(bench.decisions().await.is_empty());
}

#[tokio::test]
async fn both_sides_of_a_transfer_are_told_in_the_app_and_nobody_by_mail() {
    let bench = Bench::new().await;
    let (payer, payee) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&[transfer(payer, payee)]).await;
    assert_eq!(
        bench.decisions().await,
        [row("PAYMENT_SENT", "IN_APP", "SENT", None), row("PAYMENT_RECEIVED", "IN_APP", "SENT", None)]
    );
    assert_eq!(bench.list(payer).await[0].title, "You sent 1,250.00\u{a0}EUR");
    assert_eq!(bench.list(payee).await[0].title, "You received 1,250.00\u{a0}EUR");
}

#[tokio::test]
async fn deposits_and_withdrawals_tell_the_one_customer_they_have() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench
        .consume(&[
            completed(TransactionKind::Deposit, None, Some(user)),
            completed(TransactionKind::Withdrawal, Some(user), None),
            completed(TransactionKind::Transfer, None, None),
        ])
        .await;
    let titles = bench.list(user).await.into_iter().map(|notification| notification.title).collect::<Vec<_>>();
    assert_eq!(titles, ["You withdrew 1,250.00\u{a0}EUR", "1,250.00\u{a0}EUR paid in"]);
}

#[tokio::test]
async fn a_failed_payment_tells_the_payer_only_and_no_more_than_is_theirs_to_know() {
    let bench = Bench::new().await;
    let (payer, payee) = (Uuid::now_v7(), Uuid::now_v7());
    bench
        .consume(&[
            failed(Some(payer), Some(payee), "ACC_INSUFFICIENT_FUNDS"),
            failed(Some(payer), Some(payee), "CMP_SCREENING_HIT"),
            failed(None, Some(payee), "ACC_FROZEN"),
        ])
        .await;
    let list = bench.list(payer).await;
    assert_eq!(list.len(), 2);
    assert!(list[1].body.contains("not enough money"), "{}", list[1].body);
    assert!(!list[0].body.contains("not enough money") && !list[0].body.contains("CMP"), "{}", list[0].body);
    assert!(bench.list(payee).await.is_empty());
}

#[tokio::test]
async fn a_frozen_account_is_announced_without_the_reason() {
    let bench = Bench::new().await;
    let (user, id) = (Uuid::now_v7(), Uuid::now_v7());
    let updated = |changed, status, limit| AccountUpdatedV2 {
        reason: Some("suspected laundering".into()),
        ..account_updated(id, user, &[changed], status, limit)
    };
    bench
        .consume(&[
            account_opened(id, user),
            incoming(&updated(AccountTerm::Status, AccountStatus::Frozen, 0), 2),
            incoming(&updated(AccountTerm::OverdraftLimit, AccountStatus::Active, 50_000), 3),
        ])
        .await;
    let list = bench.list(user).await;
    let bodies = list.iter().filter(|one| one.channel.as_str() == "IN_APP").map(|one| one.body.as_str());
    assert_eq!(
        bodies.collect::<Vec<_>>()[..2],
        [
            "The overdraft limit of your account ••5399 is now 500.00\u{a0}EUR.",
            "Your account ••5399 is frozen: no money can leave it or come in."
        ]
    );
    let stored: Vec<String> = sqlx::query_scalar("select message::text from notification.notification")
        .fetch_all(bench.database.pool())
        .await
        .expect("messages");
    assert!(stored.iter().all(|message| !message.contains("laundering")));
}

fn account_updated(
    account_id: Uuid,
    owner: Uuid,
    changed: &[AccountTerm],
    status: AccountStatus,
    overdraft_limit_minor: i64,
) -> AccountUpdatedV2 {
    AccountUpdatedV2 {
        account_id,
        changed: changed.to_vec(),
        owner_id: Some(owner),
        currency: "EUR".parse().expect("a currency"),
        status,
        overdraft_limit_minor,
        reason: None,
    }
}

#[tokio::test]
async fn a_closed_account_is_one_piece_of_news_in_whichever_versions_it_is_told() {
    let (status, changed) = (AccountStatus::Closed, [AccountTerm::Status, AccountTerm::OverdraftLimit]);
    let mut told = Vec::new();
    for versions in [&[0][..], &[1], &[0, 1], &[1, 0, 1]] {
        let bench = Bench::new().await;
        let (user, id) = (Uuid::now_v7(), Uuid::now_v7());
        let newer = account_updated(id, user, &changed, status, 0);
        let older = AccountUpdatedV1 {
            account_id: id,
            change: AccountChange::Status,
            owner_id: newer.owner_id,
            currency: newer.currency,
            status,
            overdraft_limit_minor: 0,
            reason: None,
        };
        let copies = incoming_in_two_versions(&older, &newer, 2);
        let consuming = Consuming::start(&bench.database, &bench.module.handlers().remove(0));
        consuming.take(&[account_opened(id, user)]).await;
        for version in versions {
            consuming.take(&[copies[*version].clone()]).await;
        }
        consuming.leaves_parked(0, 0).await;
        let news = bench.list(user).await.into_iter().filter(|one| one.channel.as_str() == "IN_APP");
        told.push(news.map(|one| one.body).collect::<Vec<_>>());
    }
    assert!(told.iter().all(|bodies| bodies.len() == 2 && *bodies == told[0]), "{told:?}");
}

#[tokio::test]
async fn nobody_is_told_of_a_term_that_a_later_release_knows() {
    let bench = Bench::new().await;
    let (user, id) = (Uuid::now_v7(), Uuid::now_v7());
    let later = [AccountTerm::Other("INTEREST_RATE".into())];
    bench.consume(&[incoming(&account_updated(id, user, &later, AccountStatus::Active, 0), 2)]).await;
    assert!(bench.decisions().await.is_empty());
    let both = [later[0].clone(), AccountTerm::OverdraftLimit];
    bench.consume(&[incoming(&account_updated(id, user, &both, AccountStatus::Active, 100), 3)]).await;
    assert!(!bench.decisions().await.is_empty(), "what is known is told");
}

#[tokio::test]
async fn people_read_in_the_language_they_registered_with_or_changed_to() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[bench.registered_in(user, "cs-CZ"), logged_in(user)]).await;
    let contact = Contact { display_name: NAME.into(), email: EMAIL.into() };
    let updated = UserUpdatedV1 {
        user_id: user,
        changed_fields: vec!["locale".into()],
        sealed_contact: bench.key.seal(user, &contact),
        locale: "en".into(),
    };
    bench.consume(&[incoming(&updated, 3), logged_in(user)]).await;
    let logins = bench.list(user).await.into_iter().filter(|one| one.topic.as_str() == "SECURITY");
    assert_eq!(logins.map(|one| one.title).collect::<Vec<_>>(), ["New login", "Nové přihlášení"]);
}

#[tokio::test]
async fn an_older_contact_never_replaces_a_newer_one() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    let updated = |locale: &str| UserUpdatedV1 {
        user_id: user,
        changed_fields: vec!["locale".into()],
        sealed_contact: "sealed".into(),
        locale: locale.into(),
    };
    bench.consume(&[incoming(&updated("cs"), 5), incoming(&updated("en"), 4)]).await;
    bench.consume(&[bench.registered(user), incoming(&updated("en"), 3)]).await;
    let locale: String = sqlx::query_scalar("select locale from notification.recipient")
        .fetch_one(bench.database.pool())
        .await
        .expect("the recipient");
    assert_eq!(locale, "cs");
}

#[tokio::test]
async fn an_event_that_comes_again_leads_to_nothing_new() {
    let bench = Bench::new().await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let batch = [bench.registered(one), logged_in(one), account_opened(Uuid::now_v7(), one), transfer(one, other)];
    bench.consume(&batch).await;
    let (decisions, published) = (bench.decisions().await, bench.published_types().await);
    bench.consume(&batch).await;
    bench.consume(&batch[3..]).await;
    let twice = [batch[0].clone(), batch[0].clone()];
    bench.consume(&twice).await;
    assert_eq!(bench.decisions().await, decisions);
    assert_eq!(bench.published_types().await, published);
}

#[tokio::test]
async fn a_batch_of_payments_is_kept_in_order() {
    let bench = Bench::new().await;
    let (payer, payee) = (Uuid::now_v7(), Uuid::now_v7());
    let batch = (0..500).map(|_| transfer(payer, payee)).collect::<Vec<_>>();
    bench.consume(&batch).await;
    let list = bench.list(payee).await;
    let expected = batch.iter().rev().take(100).map(|event| event.envelope.id);
    assert!(list.iter().map(|one| one.source_event_id).eq(expected));
    assert_eq!(bench.module.unread_count(&as_user(payer)).await.expect("a count"), 500);
}

#[tokio::test]
async fn what_makes_no_sense_is_called_invalid_and_the_rest_can_go_on() {
    let bench = Bench::new().await;
    let refuse = |event: Incoming| {
        let (pool, handler) = (bench.database.pool().clone(), bench.handler());
        async move { reason_for_refusing(&pool, &handler, event).await }
    };
    let user = Uuid::now_v7();

    let mut broken = bench.registered(user);
    broken.data = RawValue::from_string(r#"{"userId": 7}"#.into()).expect("JSON");
    assert!(refuse(broken).await.contains("UUID"));

    let mut no_contact = bench.registered(user);
    let text = no_contact.data.get().replace(r#""locale":"en-GB""#, r#""locale":"\n""#);
    no_contact.data = RawValue::from_string(text).expect("JSON");
    assert!(refuse(no_contact).await.contains("locale"));

    let mut unsealed = bench.registered(user);
    let mut data: serde_json::Value = serde_json::from_str(unsealed.data.get()).expect("JSON");
    data["sealedContact"] = "".into();
    unsealed.data = RawValue::from_string(data.to_string()).expect("JSON");
    assert!(refuse(unsealed).await.contains("sealed contact"));

    let mut orphan = account(Uuid::now_v7(), None);
    orphan.kind = AccountKind::Customer;
    assert!(refuse(incoming(&orphan, 1)).await.contains("owner"));

    let mut free: TransactionCompletedV1 = transfer(user, user).decode().expect("readable");
    free.amount = euro(0);
    assert!(refuse(incoming(&free, 2)).await.contains("not positive"));

    let initiated = TransactionInitiatedV1 {
        transaction_id: Uuid::now_v7(),
        kind: TransactionKind::Transfer,
        route: route(None, None),
        amount: euro(1),
        reference: None,
    };
    assert!(refuse(incoming(&initiated, 1)).await.contains("transaction.initiated.v1"));
    assert!(bench.decisions().await.is_empty(), "nothing of a refused batch stays");
}

#[tokio::test]
async fn every_event_the_manifest_names_is_handled() {
    let bench = Bench::new().await;
    let [subscription] = bench.module.manifest().subscribes.try_into().expect("one subscription");
    let EventSelector::Types(types) = subscription.events else { panic!("named types") };
    let handler = bench.handler();
    for event_type in types {
        let mut event = logged_in(Uuid::now_v7());
        event.envelope.event_type = vostro_events::EventType::of(event_type);
        event.data = RawValue::from_string("{}".into()).expect("JSON");
        let reason = reason_for_refusing(bench.database.pool(), &handler, event).await;
        assert!(reason.contains("missing field"), "{event_type}: {reason}");
    }
}

#[tokio::test]
async fn a_statement_is_announced_to_a_holder_who_asked_for_it_and_to_nobody_else() {
    let bench = Bench::new().await;
    let (holder, officer) = (Uuid::now_v7(), Uuid::now_v7());
    let ready = |requested_by| {
        let day = chrono::NaiveDate::default();
        let statement = StatementReadyV1 {
            statement_id: Uuid::now_v7(),
            account_id: Uuid::now_v7(),
            owner_id: Some(holder),
            from: day,
            to: day,
            currency: euro(0).currency,
            opening_balance_minor: 0,
            closing_balance_minor: 0,
            entries: 0,
            parts: 1,
        };
        let mut event = incoming(&statement, 3);
        event.envelope.cause.actor_id = Some(requested_by);
        event
    };
    bench.consume(&[ready(officer)]).await;
    assert!(bench.list(holder).await.is_empty(), "that the bank looks into an account is not told to its holder");
    bench.consume(&[ready(holder)]).await;
    assert!(!bench.list(holder).await.is_empty(), "the answer to one's own question is");
}
