use uuid::Uuid;
use vostro_events::notification::{Channel, NotificationDeliveredV1, NotificationSentV1};
use vostro_messaging::Contact;
use vostro_notification::domain::Topic;

use crate::smtp_sink::{Reaction, SmtpSink};
use crate::support::*;

#[tokio::test]
async fn a_mail_reaches_the_server_once_and_is_delivered_with_its_reply() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let user = Uuid::now_v7();
    let registered = bench.registered(user);
    bench.consume(std::slice::from_ref(&registered)).await;
    assert_eq!(bench.send().await, 1);
    assert_eq!(bench.send().await, 0);

    let accepted = sink.accepted();
    let [mail] = accepted.as_slice() else { panic!("one mail, not {accepted:?}") };
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("no-reply@vostro.example", [EMAIL.to_owned()].as_slice()));
    assert_eq!(mail.header("Subject"), "Welcome to Vostro");
    assert!(mail.header("To").contains(EMAIL));
    assert!(mail.text.contains("Hello Ada Lovelace,"), "{}", mail.text);

    assert_eq!(bench.email().await, ("DELIVERED".into(), None));
    let events = bench.database.outbox_events().await;
    let of_mail = events.iter().filter(|(_, data)| data["channel"] == "EMAIL").collect::<Vec<_>>();
    let [(sent, sent_data), (delivered, delivered_data)] = of_mail.as_slice() else { panic!("two, not {of_mail:?}") };
    assert_eq!((sent.event_type.as_str(), sent.sequence), (NotificationSentV1::TYPE, 1));
    assert_eq!((delivered.event_type.as_str(), delivered.sequence), (NotificationDeliveredV1::TYPE, 2));
    assert_eq!(delivered_data["receipt"], "250");
    assert_eq!(sent.cause.causation_id, registered.envelope.id);
    assert_eq!(sent.cause.correlation_id, registered.envelope.cause.correlation_id);
    let id = sent_data["notificationId"].as_str().expect("an id");
    assert_eq!(mail.header("Message-ID"), format!("<{id}@vostro.example>"));
    let hashed: bool =
        sqlx::query_scalar("select content_hash is not null from notification.notification where channel = 'EMAIL'")
            .fetch_one(bench.database.pool())
            .await
            .expect("the mail");
    assert!(hashed);
}

#[tokio::test]
async fn a_mail_the_server_does_not_take_now_is_sent_later_as_the_same_mail() {
    let sink = SmtpSink::start(&[Reaction::AfterText(451), Reaction::AtRecipient(450)]).await;
    let bench = Bench::with_smtp(sink.port).await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    assert_eq!(bench.send().await, 1);
    assert_eq!(bench.email().await, ("RETRYING".into(), None));
    assert_eq!(bench.send().await, 0, "not before its pause is over");
    bench.advance(10);
    assert_eq!(bench.send().await, 1);
    assert_eq!(bench.email().await.0, "RETRYING");
    bench.advance(20);
    assert_eq!(bench.send().await, 1);
    assert_eq!(bench.email().await, ("DELIVERED".into(), None));
    assert_eq!(sink.accepted().len(), 1);
    let sent = bench.database.published(NotificationSentV1::TYPE).await;
    let attempts = sent.iter().filter(|data| data["channel"] == "EMAIL").map(|data| &data["attempt"]);
    assert_eq!(attempts.collect::<Vec<_>>(), [&serde_json::json!(3)]);
}

#[tokio::test]
async fn connections_are_kept_and_a_broken_one_is_replaced() {
    let sink = SmtpSink::start(&[Reaction::Accept, Reaction::Accept, Reaction::HangUp]).await;
    let bench = Bench::with(|email| {
        email.concurrency = 1;
        email.smtp = Some(
            serde_json::from_value(serde_json::json!({
                "host": "127.0.0.1", "port": sink.port, "tls": "none"
            }))
            .expect("a mail server"),
        );
    })
    .await;
    for _ in 0..3 {
        bench.consume(&[bench.registered(Uuid::now_v7())]).await;
        bench.send().await;
    }
    assert_eq!((sink.connections(), sink.accepted().len()), (1, 2));
    bench.advance(10);
    bench.send().await;
    assert_eq!((sink.connections(), sink.accepted().len()), (2, 3));
}

#[tokio::test]
async fn a_mail_names_an_account_by_its_tail_only() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let user = Uuid::now_v7();
    bench.consume(&[bench.registered(user), account_opened(Uuid::now_v7(), user)]).await;
    bench.send().await;
    let mails = sink.accepted();
    let mail = mails.iter().find(|mail| mail.header("Subject").contains("account")).expect("the mail");
    assert!(mail.text.contains("5399") && !mail.text.contains("145399"), "{}", mail.text);
    assert!(!mail.text.contains("Rainy days"), "{}", mail.text);
}

#[tokio::test]
async fn payments_are_mailed_to_who_asked_for_it() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let choice = (Topic::PaymentReceived, Channel::Email);
    bench.module.preferences_update(&as_user(user), choice.0, choice.1, true).await.expect("chosen");
    bench.consume(&[bench.registered(user), transfer(other, user), transfer(user, other)]).await;
    bench.send().await;
    let subjects = sink.accepted().iter().map(|mail| mail.header("Subject").to_owned()).collect::<Vec<_>>();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects.contains(&"A payment to your account".to_owned()), "{subjects:?}");
}

#[tokio::test]
async fn a_mail_waits_for_a_person_who_is_not_known_yet() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let user = Uuid::now_v7();
    bench.consume(&[account_opened(Uuid::now_v7(), user)]).await;
    for _ in 0..5 {
        assert_eq!(bench.send().await, 1);
        assert_eq!(bench.email().await, ("RETRYING".into(), None));
        bench.advance(5);
    }
    bench.consume(&[bench.registered(user)]).await;
    assert_eq!(bench.send().await, 2);
    assert_eq!(sink.accepted().len(), 2, "looking for the person did not use up the attempts");
}

#[tokio::test]
async fn a_person_who_stays_unknown_gets_no_mail_and_the_reason_is_kept() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let user = Uuid::now_v7();
    bench.consume(&[account_opened(Uuid::now_v7(), user)]).await;
    bench.send().await;
    bench.advance(600);
    bench.send().await;
    assert_eq!(bench.email().await, ("SUPPRESSED".into(), Some("NO_CONTACT".into())));
    bench.consume(&[bench.registered(user)]).await;
    bench.send().await;
    let subjects = sink.accepted().iter().map(|mail| mail.header("Subject").to_owned()).collect::<Vec<_>>();
    assert_eq!(subjects, ["Welcome to Vostro"]);
}

#[tokio::test]
async fn a_contact_sealed_with_another_key_or_for_another_person_is_not_used() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let mut registered = bench.registered(user);
    let text = registered.data.get().replace(&user.to_string(), &other.to_string());
    registered.data = serde_json::value::RawValue::from_string(text).expect("JSON");
    bench.consume(&[registered]).await;
    bench.send().await;
    assert_eq!(bench.email().await, ("SUPPRESSED".into(), Some("CONTACT_UNREADABLE".into())));
    assert!(sink.accepted().is_empty());
}

#[tokio::test]
async fn an_address_nobody_can_write_to_is_suppressed() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let user = Uuid::now_v7();
    let contact = Contact { display_name: NAME.into(), email: "nobody at all".into() };
    let event = vostro_events::auth::UserRegisteredV1 {
        user_id: user,
        sealed_contact: bench.key.seal(user, &contact),
        locale: "en".into(),
        roles: vec![],
    };
    bench.consume(&[vostro_testkit::incoming(&event, 1)]).await;
    bench.send().await;
    assert_eq!(bench.email().await, ("SUPPRESSED".into(), Some("ADDRESS_INVALID".into())));
    assert!(sink.accepted().is_empty());
}

#[tokio::test]
async fn the_bank_logs_in_where_the_server_wants_it_and_a_wrong_password_only_delays() {
    // Of "bank" and "s3cret".
    let sink = SmtpSink::with_login("AGJhbmsAczNjcmV0").await;
    for (password, status) in [("s3cret", "DELIVERED"), ("wrong", "RETRYING")] {
        let bench = Bench::with(|email| {
            let smtp = serde_json::json!({
                "host": "127.0.0.1", "port": sink.port, "tls": "none", "username": "bank", "password": password
            });
            email.smtp = Some(serde_json::from_value(smtp).expect("a mail server"));
        })
        .await;
        bench.consume(&[bench.registered(Uuid::now_v7())]).await;
        bench.send().await;
        assert_eq!(bench.email().await, (status.into(), None));
    }
    assert_eq!(sink.accepted().len(), 1);
}
