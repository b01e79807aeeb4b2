use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_messaging::Module as _;
use vostro_testkit::eventually;

use crate::smtp_sink::{Reaction, SmtpSink};
use crate::support::*;

#[tokio::test]
async fn the_background_sender_sends_what_is_queued_while_it_runs_and_ends_when_told() {
    let sink = SmtpSink::start(&[]).await;
    let bench = Bench::with_smtp(sink.port).await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(join_all(bench.module.background(stop.clone())));
    sink.until_accepted(1).await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    sink.until_accepted(2).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("it ends soon").expect("joined");
}

#[tokio::test]
async fn a_server_that_hangs_does_not_keep_the_bank_from_stopping() {
    let sink = SmtpSink::start(&[Reaction::Silent]).await;
    let bench = Bench::with_smtp(sink.port).await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(join_all(bench.module.background(stop.clone())));
    eventually("the server is asked", || async { (sink.reactions_left() == 0).then_some(()) }).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), running).await.expect("it ends soon").expect("joined");
    assert_eq!(bench.email().await.0, "QUEUED", "its claim runs out, and it is sent at the next start");
}
