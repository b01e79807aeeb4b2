use uuid::Uuid;
use vostro_events::notification::{Channel, PreferenceChangedV1};
use vostro_kernel::{Actor, RefusalCode as _, RequestContext, SystemIds};
use vostro_notification::domain::Topic;
use vostro_notification::{NotificationError, NotificationErrorCode, Preference};

use crate::support::*;

fn of(preferences: &[Preference], topic: Topic, channel: Channel) -> bool {
    preferences.iter().find(|one| one.topic == topic && one.channel == channel).expect("listed").enabled
}

#[tokio::test]
async fn somebody_who_never_chose_has_the_defaults() {
    let bench = Bench::new().await;
    let preferences = bench.module.preferences(&as_user(Uuid::now_v7())).await.expect("preferences");
    assert_eq!(preferences.len(), Topic::ALL.len() * Channel::ALL.len());
    assert!(of(&preferences, Topic::Welcome, Channel::Email));
    assert!(!of(&preferences, Topic::PaymentReceived, Channel::Email));
    let mandatory = preferences.iter().filter(|one| one.mandatory).map(|one| (one.topic, one.channel));
    assert_eq!(mandatory.collect::<Vec<_>>(), [(Topic::Security, Channel::InApp)]);
}

#[tokio::test]
async fn a_choice_is_published_in_order_and_followed_from_then_on() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let context = as_user(user);
    let choose = |topic, channel, enabled| bench.module.preferences_update(&context, topic, channel, enabled);
    choose(Topic::PaymentSent, Channel::InApp, false).await.expect("chosen");
    let preferences = choose(Topic::PaymentSent, Channel::Email, true).await.expect("chosen");
    assert!(!of(&preferences, Topic::PaymentSent, Channel::InApp));
    assert!(of(&preferences, Topic::PaymentSent, Channel::Email));
    assert_eq!(bench.module.preferences(&context).await.expect("preferences"), preferences);

    let published = bench.database.outbox_events().await;
    let numbers = published.iter().map(|(envelope, _)| (envelope.sequence, envelope.aggregate_id));
    assert_eq!(numbers.collect::<Vec<_>>(), [(1, user), (2, user)]);
    assert_eq!(published[0].0.cause.command.as_deref(), Some("preferencesUpdate"));
    assert_eq!(published[0].1["channel"], "IN_APP");

    bench.consume(&[transfer(user, other)]).await;
    let statuses = bench.decisions().await.into_iter().map(|(topic, channel, status, reason)| {
        format!("{topic} {channel} {status} {}", reason.unwrap_or_default()).trim_end().to_owned()
    });
    assert_eq!(
        statuses.collect::<Vec<_>>(),
        ["PAYMENT_SENT IN_APP SUPPRESSED PREFERENCE", "PAYMENT_SENT EMAIL QUEUED", "PAYMENT_RECEIVED IN_APP SENT"]
    );
    assert_eq!(bench.module.unread_count(&context).await.expect("a count"), 0);
}

#[tokio::test]
async fn choosing_what_is_so_already_changes_nothing() {
    let bench = Bench::new().await;
    let context = as_user(Uuid::now_v7());
    for enabled in [true, false, false, true] {
        bench.module.preferences_update(&context, Topic::Account, Channel::Email, enabled).await.expect("chosen");
    }
    assert_eq!(bench.database.published(PreferenceChangedV1::TYPE).await.len(), 2);
}

#[tokio::test]
async fn a_mandatory_notice_cannot_be_switched_off_and_the_attempt_is_recorded() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    let context = as_user(user);
    let error =
        bench.module.preferences_update(&context, Topic::Security, Channel::InApp, false).await.expect_err("mandatory");
    let NotificationError::Refused(refusal) = error else { panic!("a refusal, not {error:?}") };
    assert_eq!(refusal.code.code(), "NTF_TOPIC_MANDATORY");
    let published = bench.database.outbox_events().await;
    let [(envelope, data)] = published.as_slice() else { panic!("one event, not {published:?}") };
    assert_eq!(envelope.event_type.as_str(), "notification.command-refused.v1");
    assert_eq!(envelope.aggregate_id, context.command_id);
    assert_eq!((&data["command"], &data["code"]), (&"preferencesUpdate".into(), &"NTF_TOPIC_MANDATORY".into()));

    bench.module.preferences_update(&context, Topic::Security, Channel::InApp, true).await.expect("it is on");
    bench.consume(&[logged_in(user)]).await;
    assert_eq!(bench.decisions().await[0].2, "SENT");
}

#[tokio::test]
async fn choices_before_the_registration_is_known_survive_it() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    let context = as_user(user);
    bench.module.preferences_update(&context, Topic::Welcome, Channel::Email, false).await.expect("chosen");
    bench.consume(&[bench.registered(user)]).await;
    let decisions = bench.decisions().await;
    assert_eq!((decisions[0].2.as_str(), decisions[1].2.as_str()), ("SENT", "SUPPRESSED"));
}

#[tokio::test]
async fn two_choices_at_once_are_numbered_one_after_the_other() {
    let bench = Bench::new().await;
    let context = as_user(Uuid::now_v7());
    let choices = Topic::ALL.map(|topic| {
        let (module, context) = (bench.module.clone(), context.clone());
        let enabled = !topic.on_by_default(Channel::Email);
        tokio::spawn(async move { module.preferences_update(&context, topic, Channel::Email, enabled).await })
    });
    for choice in choices {
        choice.await.expect("joined").expect("chosen");
    }
    let mut numbers =
        bench.database.outbox_events().await.iter().map(|(envelope, _)| envelope.sequence).collect::<Vec<_>>();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=6).collect::<Vec<_>>());
}

#[tokio::test]
async fn nobody_in_particular_has_no_preferences() {
    let bench = Bench::new().await;
    let anonymous = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    let error = bench.module.preferences(&anonymous).await.expect_err("nobody");
    assert!(matches!(error, NotificationError::Refused(refusal) if refusal.code == NotificationErrorCode::NotFound));
}
