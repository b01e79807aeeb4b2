use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use uuid::Uuid;
use vostro_events::notification::NotificationDeliveredV1;
use vostro_kernel::{Actor, RequestContext, SystemIds};
use vostro_notification::domain::{Notification, Status};
use vostro_notification::{Arrival, NotificationError};

use crate::support::*;

async fn next(stream: &mut (impl Stream<Item = Result<Arrival, NotificationError>> + Unpin)) -> Notification {
    let next = tokio::time::timeout(Duration::from_secs(60), stream.next());
    next.await.expect("in time").expect("an open stream").expect("a notification").notification
}

#[tokio::test]
async fn a_stream_begins_with_what_nobody_has_received_and_goes_on_live() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&[transfer(other, user), transfer(other, user)]).await;
    let stored = bench.list(other).await;
    assert_eq!(stored.len(), 2, "somebody else's");

    let mut stream = pin!(bench.module.received(&as_user(user), None).expect("a stream"));
    let (first, second) = (next(&mut stream).await, next(&mut stream).await);
    assert!(first.sequence < second.sequence);
    assert_eq!((first.status, first.user_id), (Status::Delivered, user));
    assert!(stream.next().now_or_never().is_none(), "nothing more for now");

    let live = transfer(user, other);
    bench.consume(std::slice::from_ref(&live)).await;
    let third = next(&mut stream).await;
    assert_eq!((third.source_event_id, third.title.as_str()), (live.envelope.id, "You sent 1,250.00\u{a0}EUR"));
    assert_eq!(third.status, Status::Delivered);
    let delivered = bench.database.published(NotificationDeliveredV1::TYPE).await;
    let ids = delivered.iter().filter(|data| data["userId"] == user.to_string()).count();
    assert_eq!(ids, 3);
}

#[tokio::test]
async fn a_new_stream_does_not_repeat_what_an_earlier_one_delivered() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[logged_in(user)]).await;
    {
        let mut stream = pin!(bench.module.received(&as_user(user), None).expect("a stream"));
        next(&mut stream).await;
    }
    let mut stream = pin!(bench.module.received(&as_user(user), None).expect("a stream"));
    let login = logged_in(user);
    let waiting = next(&mut stream);
    let (received, ()) = tokio::join!(waiting, bench.consume(std::slice::from_ref(&login)));
    assert_eq!(received.source_event_id, login.envelope.id);
}

#[tokio::test]
async fn resuming_repeats_everything_after_the_last_that_was_seen() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&(0..250).map(|_| transfer(other, user)).collect::<Vec<_>>()).await;
    let mut sequences = Vec::new();
    {
        let mut stream = pin!(bench.module.received(&as_user(user), None).expect("a stream"));
        for _ in 0..250 {
            sequences.push(next(&mut stream).await.sequence);
        }
    }
    assert!(sequences.is_sorted());
    // The connection broke after the hundredth had arrived; the others were sent and never seen.
    bench.consume(&[transfer(other, user)]).await;
    let mut stream = pin!(bench.module.received(&as_user(user), Some(sequences[99])).expect("a stream"));
    let newest = next(&mut stream).await;
    assert!(newest.sequence > sequences[249], "what nobody has received comes first");
    for expected in &sequences[100..] {
        assert_eq!(next(&mut stream).await.sequence, *expected);
    }
    assert!(stream.next().now_or_never().is_none(), "nothing twice");
}

#[tokio::test]
async fn what_was_committed_late_with_an_early_number_is_not_missed_when_resuming() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[logged_in(user), logged_in(user)]).await;
    let last = bench.list(user).await[0].sequence;
    // Undelivered, with a number below what the client has seen.
    bench
        .database
        .tamper(
            "update notification.notification set status = 'SENT', delivered_at = null
         where sequence = (select min(sequence) from notification.notification)",
        )
        .await;
    let mut stream = pin!(bench.module.received(&as_user(user), Some(last)).expect("a stream"));
    assert!(next(&mut stream).await.sequence < last);
}

#[tokio::test]
async fn a_stream_never_shows_what_is_somebody_elses_or_not_for_the_app() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let mut stream = pin!(bench.module.received(&as_user(user), Some(0)).expect("a stream"));
    assert!(stream.next().now_or_never().is_none());
    bench.consume(&[logged_in(other), bench.registered(user)]).await;
    let welcome = next(&mut stream).await;
    assert_eq!((welcome.user_id, welcome.channel.as_str()), (user, "IN_APP"));
    assert!(stream.next().now_or_never().is_none());
}

#[tokio::test]
async fn nobody_in_particular_receives_nothing() {
    let bench = Bench::new().await;
    assert!(bench.module.received(&RequestContext::of(Actor::ANONYMOUS, &SystemIds), None).is_err());
}
