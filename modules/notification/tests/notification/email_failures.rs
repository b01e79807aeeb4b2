use tokio::net::TcpListener;
use uuid::Uuid;
use vostro_events::notification::NotificationDeliveredV1;
use vostro_notification::domain::Status;
use vostro_notification::{SmtpConfig, TlsMode};

use crate::smtp_sink::{Reaction, SmtpSink};
use crate::support::*;

/// A port nobody listens on.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn plain(port: u16) -> SmtpConfig {
    SmtpConfig { host: "127.0.0.1".into(), port, tls: TlsMode::None, username: None, password: None }
}

#[tokio::test]
async fn a_mail_refused_for_good_fails_at_once() {
    for reaction in [Reaction::AtRecipient(550), Reaction::AfterText(554)] {
        let sink = SmtpSink::start(&[reaction]).await;
        let bench = Bench::with_smtp(sink.port).await;
        bench.consume(&[bench.registered(Uuid::now_v7())]).await;
        assert_eq!(bench.send().await, 1);
        let (status, reason) = bench.email().await;
        assert_eq!(status, "FAILED");
        assert!(matches!(reason.as_deref(), Some("SMTP_550" | "SMTP_554")), "{reason:?}");
        bench.advance(100_000);
        assert_eq!(bench.send().await, 0, "it is over");
        assert!(bench.database.published(NotificationDeliveredV1::TYPE).await.is_empty());
    }
}

#[tokio::test]
async fn a_mail_is_given_up_after_the_last_attempt() {
    let sink = SmtpSink::start(&[Reaction::AfterText(451); 3]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let user = Uuid::now_v7();
    bench.consume(&[bench.registered(user)]).await;
    for expected in ["RETRYING", "RETRYING", "FAILED"] {
        assert_eq!(bench.send().await, 1);
        assert_eq!(bench.email().await.0, expected);
        bench.advance(3600);
    }
    assert_eq!(bench.email().await.1.as_deref(), Some("SMTP_451"));
    assert_eq!(bench.send().await, 0);
    let list = bench.list(user).await;
    assert_eq!(list.iter().map(|one| one.status).collect::<Vec<_>>(), [Status::Failed, Status::Delivered]);
}

#[tokio::test]
async fn a_server_that_is_down_delays_mail_and_nothing_else() {
    let bench = Bench::with_smtp(closed_port().await).await;
    let user = Uuid::now_v7();
    bench.consume(&[bench.registered(user)]).await;
    assert_eq!(bench.send().await, 1);
    assert_eq!(bench.email().await, ("RETRYING".into(), None));
    assert_eq!(bench.list(user).await.len(), 2, "the app has been told all the same");
    bench.advance(10);
    bench.send().await;
    bench.advance(20);
    bench.send().await;
    assert_eq!(bench.email().await, ("FAILED".into(), Some("SMTP_UNREACHABLE".into())));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_after_the_timeout_and_its_late_answer_ignored() {
    let sink = SmtpSink::start(&[Reaction::Silent]).await;
    let bench = Bench::with(|email| {
        email.smtp = Some(plain(sink.port));
        email.timeout_seconds = 3;
    })
    .await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    assert_eq!(bench.send().await, 1);
    assert_eq!(bench.email().await, ("RETRYING".into(), None));
    bench.advance(10);
    assert_eq!(bench.send().await, 1);
    assert_eq!(bench.email().await.0, "DELIVERED");
    assert_eq!((sink.connections(), sink.accepted().len()), (2, 1), "the silent connection is not used again");
}

#[tokio::test]
async fn one_bad_mail_does_not_hold_up_the_others() {
    let sink = SmtpSink::start(&[Reaction::AtRecipient(550), Reaction::AfterText(451)]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let batch = (0..40).map(|_| bench.registered(Uuid::now_v7())).collect::<Vec<_>>();
    bench.consume(&batch).await;
    assert_eq!(bench.send().await + bench.send().await, 40);
    let mut statuses = bench.decisions().await.into_iter().filter(|(_, channel, _, _)| channel == "EMAIL").fold(
        std::collections::BTreeMap::<String, usize>::new(),
        |mut counts, (_, _, status, _)| {
            *counts.entry(status).or_default() += 1;
            counts
        },
    );
    assert_eq!(statuses.remove("DELIVERED"), Some(38));
    assert_eq!(statuses.remove("FAILED"), Some(1));
    assert_eq!(statuses.remove("RETRYING"), Some(1));
}

#[tokio::test]
async fn a_server_without_the_promised_encryption_is_not_used() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with(|email| email.smtp = Some(SmtpConfig { tls: TlsMode::StartTls, ..plain(sink.port) })).await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    bench.send().await;
    assert_eq!(bench.email().await, ("RETRYING".into(), None));
    assert!(sink.accepted().is_empty());
}

#[tokio::test]
async fn two_senders_never_take_the_same_mail() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    let batch = (0..60).map(|_| bench.registered(Uuid::now_v7())).collect::<Vec<_>>();
    bench.consume(&batch).await;
    let passes = (0..4).map(|_| {
        let module = bench.module.clone();
        tokio::spawn(async move { module.send_due_emails().await.expect("a pass") })
    });
    let mut taken = 0;
    for pass in passes.collect::<Vec<_>>() {
        taken += pass.await.expect("joined");
    }
    assert_eq!((taken, sink.accepted().len()), (60, 60));
}

#[tokio::test]
async fn a_mail_whose_sender_died_is_taken_over_and_the_dead_senders_word_no_longer_counts() {
    let sink = SmtpSink::start(&[Reaction::Silent]).await;
    let bench = Bench::with(|email| {
        email.smtp = Some(plain(sink.port));
        email.timeout_seconds = 3;
    })
    .await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    let slow = tokio::spawn({
        let module = bench.module.clone();
        async move { module.send_due_emails().await.expect("a pass") }
    });
    // The first sender has the mail and hears nothing; to the clock its claim runs out meanwhile.
    until(|| sink.reactions_left() == 0).await;
    bench.advance(3600);
    assert_eq!(bench.send().await, 1, "the second sender takes it over");
    assert_eq!(bench.email().await.0, "DELIVERED");
    slow.await.expect("joined");
    assert_eq!(bench.email().await.0, "DELIVERED", "and it stays so");
    let delivered = bench.database.published(NotificationDeliveredV1::TYPE).await;
    assert_eq!(delivered.len(), 1);
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
