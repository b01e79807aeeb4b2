use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use uuid::Uuid;
use vostro_events::notification::NotificationDeliveredV1;
use vostro_kernel::{Actor, RequestContext, SystemIds};
use vostro_notification::domain::{Notification, Status};
use vostro_notification::{Arrival, NotificationError, Start};
use vostro_testkit::{deliver, eventually};

use crate::support::*;

/// Transactions of this database that wait for another one.
const WAITING: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

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

    let mut stream = pin!(bench.module.received(&as_user(user), Start::Unreceived).expect("a stream"));
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
        let mut stream = pin!(bench.module.received(&as_user(user), Start::Unreceived).expect("a stream"));
        next(&mut stream).await;
    }
    let mut stream = pin!(bench.module.received(&as_user(user), Start::Unreceived).expect("a stream"));
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
        let mut stream = pin!(bench.module.received(&as_user(user), Start::Unreceived).expect("a stream"));
        for _ in 0..250 {
            sequences.push(next(&mut stream).await.sequence);
        }
    }
    assert!(sequences.is_sorted());
    // The connection broke after the hundredth had arrived; the others were sent and never seen.
    bench.consume(&[transfer(other, user)]).await;
    let mut stream = pin!(bench.module.received(&as_user(user), Start::After(sequences[99])).expect("a stream"));
    for expected in &sequences[100..] {
        assert_eq!(next(&mut stream).await.sequence, *expected);
    }
    assert!(next(&mut stream).await.sequence > sequences[249], "what nobody has received comes in its order");
    assert!(stream.next().now_or_never().is_none(), "nothing twice");
}

#[tokio::test]
async fn who_names_a_number_may_first_be_told_what_nobody_has_received_up_to_there() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[0; 4].map(|_| logged_in(user))).await;
    let mut all: Vec<_> = bench.list(user).await.iter().map(|notification| notification.sequence).collect();
    all.reverse();
    bench
        .database
        .tamper(
            "update notification.notification set status = 'SENT', delivered_at = null
             where sequence = (select min(sequence) from notification.notification)",
        )
        .await;
    for (start, expected) in
        [(Start::UnreceivedAndAfter(all[2]), [all[0], all[3]]), (Start::After(all[1]), [all[2], all[3]])]
    {
        let mut stream = pin!(bench.module.received(&as_user(user), start).expect("a stream"));
        assert_eq!([next(&mut stream).await.sequence, next(&mut stream).await.sequence], expected);
    }
}

/// A client that comes back with what it remembers.
#[derive(Default)]
struct Client {
    seen: Vec<Notification>,
}

impl Client {
    fn start(&self) -> Start {
        self.seen.last().map_or(Start::Unreceived, |last| Start::After(last.sequence))
    }

    /// Takes what the stream has next.
    async fn take(&mut self, stream: &mut (impl Stream<Item = Result<Arrival, NotificationError>> + Unpin)) -> Uuid {
        let arrival = tokio::time::timeout(Duration::from_secs(60), stream.next());
        let arrival = arrival.await.expect("in time").expect("an open stream").expect("a notification");
        let source = arrival.notification.source_event_id;
        self.seen.push(arrival.notification);
        source
    }
}

/// The transaction that writes the earlier number commits after the other one has, or would have. The connection breaks
/// while the notification of whichever came last is on its way.
#[tokio::test]
async fn what_was_on_its_way_is_told_again_whichever_of_two_transactions_committed_first() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    let [first, slow, quick, last] = [0; 4].map(|_| logged_in(user));
    let mut client = Client::default();
    bench.consume(std::slice::from_ref(&first)).await;
    {
        let mut stream = pin!(bench.module.received(&as_user(user), Start::Unreceived).expect("a stream"));
        client.take(&mut stream).await;
        let handler = bench.handler();
        let mut slow_transaction = vostro_messaging::begin(bench.database.pool()).await.expect("begun");
        let after_commit = handler.handle_in_tx(&mut slow_transaction, std::slice::from_ref(&slow)).await;
        let after_commit = after_commit.expect("handled").expect("there is news");
        let (pool, other) = (bench.database.pool().clone(), quick.clone());
        let quick = tokio::spawn(async move { deliver(&pool, &handler, &[other]).await });
        eventually("the second transaction has committed, or waits for the first", || async {
            (quick.is_finished() || bench.database.count(WAITING).await > 0).then_some(())
        })
        .await;
        if quick.is_finished() {
            client.take(&mut stream).await;
        }
        slow_transaction.commit().await.expect("committed");
        after_commit();
        quick.await.expect("not panicked").expect("handled");
        // Handed out, and never seen: the connection is gone.
        next(&mut stream).await;
    }

    let mut stream = pin!(bench.module.received(&as_user(user), client.start()).expect("a stream"));
    bench.consume(std::slice::from_ref(&last)).await;
    while client.take(&mut stream).await != last.envelope.id {}
    let mut told: Vec<_> = client.seen.iter().map(|notification| notification.source_event_id).collect();
    told.sort_unstable();
    let mut expected: Vec<_> = [&first, &slow, &quick, &last].map(|login| login.envelope.id).to_vec();
    expected.sort_unstable();
    assert_eq!(told, expected, "each once");
    assert!(client.seen.is_sorted_by(|one, next| one.sequence < next.sequence), "in their order");
}

#[tokio::test]
async fn who_is_cut_off_while_told_how_things_were_is_told_the_rest_when_coming_back() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    let logins = [0; 3].map(|_| logged_in(user));
    bench.consume(&logins).await;
    let mut client = Client::default();
    for login in &logins {
        let mut stream = pin!(bench.module.received(&as_user(user), client.start()).expect("a stream"));
        let told = tokio::time::timeout(Duration::from_secs(5), client.take(&mut stream)).await;
        assert_eq!(told, Ok(login.envelope.id));
    }
}

#[tokio::test]
async fn a_stream_never_shows_what_is_somebody_elses_or_not_for_the_app() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let mut stream = pin!(bench.module.received(&as_user(user), Start::After(0)).expect("a stream"));
    assert!(stream.next().now_or_never().is_none());
    bench.consume(&[logged_in(other), bench.registered(user)]).await;
    let welcome = next(&mut stream).await;
    assert_eq!((welcome.user_id, welcome.channel.as_str()), (user, "IN_APP"));
    assert!(stream.next().now_or_never().is_none());
}

#[tokio::test]
async fn nobody_in_particular_receives_nothing() {
    let bench = Bench::new().await;
    assert!(bench.module.received(&RequestContext::of(Actor::ANONYMOUS, &SystemIds), Start::Unreceived).is_err());
}
