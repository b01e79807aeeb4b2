use chrono::TimeDelta;
use uuid::Uuid;
use vostro_events::notification::{Channel, NotificationDeliveredV1, NotificationReadV1};
use vostro_kernel::{Page, RefusalCode as _};
use vostro_notification::domain::Status;
use vostro_notification::{Filter, NotificationError};
use vostro_testkit::walked_both_ways;

use crate::support::*;

fn code(error: NotificationError) -> &'static str {
    match error {
        NotificationError::Refused(refusal) => refusal.code.code(),
        NotificationError::Database(fault) => panic!("a refusal, not {fault}"),
    }
}

#[tokio::test]
async fn being_listed_delivers_once() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&[transfer(other, user), transfer(other, user)]).await;
    bench.advance(5);
    let context = as_user(user);
    let list = bench.module.notifications(&context, Filter::default(), Page::forward(None, 10)).await.expect("a list");
    assert!(list.iter().all(|one| one.status == Status::Delivered && one.delivered_at.is_some()));
    assert_eq!(list[0].created_at, start());
    assert_eq!(list[0].delivered_at, Some(start() + TimeDelta::seconds(5)));

    bench.advance(5);
    assert_eq!(bench.list(user).await, list, "the first time counts");
    let events = bench.database.outbox_events().await;
    let delivered = events.iter().filter(|(envelope, _)| envelope.event_type.as_str() == NotificationDeliveredV1::TYPE);
    let delivered = delivered.collect::<Vec<_>>();
    assert_eq!(delivered.len(), 2);
    for (envelope, data) in delivered {
        assert_eq!((envelope.sequence, &data["receipt"], &data["channel"]), (2, &"client".into(), &"IN_APP".into()));
        assert_eq!(envelope.cause.correlation_id, context.correlation_id);
        assert_eq!((envelope.cause.command.as_deref(), envelope.cause.actor_id), (None, Some(user)));
    }
    let (_, _, payer_status, _) = &bench.decisions().await[0];
    assert_eq!(payer_status, "SENT", "the payer has fetched nothing");
}

#[tokio::test]
async fn a_list_goes_on_where_the_page_before_ended() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&(0..7).map(|_| transfer(other, user)).collect::<Vec<_>>()).await;
    let context = as_user(user);
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let mut page =
            bench.module.notifications(&context, Filter::default(), Page::forward(before, 3)).await.expect("a page");
        let more = page.len() > 3;
        if more {
            assert_eq!(page.pop().expect("one more").status, Status::Sent, "what is not shown is not delivered");
        }
        before = page.last().map(|last| last.sequence);
        seen.extend(page.iter().map(|one| one.sequence));
        if !more {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|left, right| left > right), "newest first: {seen:?}");
}

#[tokio::test]
async fn what_is_read_from_the_end_is_delivered_and_the_one_before_it_is_not() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&(0..3).map(|_| transfer(other, user)).collect::<Vec<_>>()).await;
    let oldest = bench.module.notifications(&as_user(user), Filter::default(), Page::backward(None, 2)).await;
    let oldest = oldest.expect("a page");
    assert!(oldest.is_sorted_by(|newer, older| newer.sequence > older.sequence), "newest first");
    let statuses: Vec<_> = oldest.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [Status::Sent, Status::Delivered, Status::Delivered]);
}

#[tokio::test]
async fn lists_are_paged_alike_in_both_directions_whatever_they_are_narrowed_to() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&(0..7).map(|_| transfer(other, user)).collect::<Vec<_>>()).await;
    let context = as_user(user);
    for read in bench.list(user).await.iter().step_by(2) {
        bench.module.mark_read(&context, read.id).await.expect("read");
    }
    for (unread, channel, count) in
        [(None, None, 7), (None, Some(Channel::InApp), 7), (Some(true), None, 3), (Some(false), None, 4)]
    {
        let filter = Filter { channel, unread };
        // The facade adds the one beside the page by itself.
        let read = async |page: Page<i64>| {
            let page = Page { limit: page.limit - 1, ..page };
            let list = bench.module.notifications(&context, filter, page).await.expect("a page");
            list.into_iter().map(|one| one.sequence).collect()
        };
        let all: Vec<i64> = walked_both_ways(|sequence| *sequence, read).await;
        assert_eq!(all.len(), count, "{filter:?}");
        assert!(all.is_sorted_by(|newer, older| newer > older));
    }
}

#[tokio::test]
async fn lists_are_filtered_by_channel_and_by_what_was_read() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[bench.registered(user), logged_in(user)]).await;
    let context = as_user(user);
    let list = |channel, unread| {
        let (module, context) = (bench.module.clone(), context.clone());
        async move {
            module.notifications(&context, Filter { channel, unread }, Page::forward(None, 10)).await.expect("a list")
        }
    };
    assert_eq!(list(None, None).await.len(), 3);
    assert_eq!(list(Some(Channel::Email), None).await.len(), 1);
    assert_eq!(list(Some(Channel::InApp), None).await.len(), 2);
    let login = list(None, Some(true)).await.remove(0);
    bench.module.mark_read(&context, login.id).await.expect("read");
    assert_eq!(list(None, Some(true)).await.len(), 1);
    assert_eq!(list(Some(Channel::Email), Some(true)).await.len(), 0, "the app does not know what mailboxes show");
    assert_eq!(list(None, Some(false)).await.into_iter().map(|one| one.id).collect::<Vec<_>>(), [login.id]);
}

#[tokio::test]
async fn reading_is_noted_once_and_implies_delivery() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[logged_in(user)]).await;
    let (context, id) = (as_user(user), only(&bench).await);
    assert_eq!(bench.module.unread_count(&context).await.expect("a count"), 1);
    let read = bench.module.mark_read(&context, id).await.expect("read");
    assert_eq!((read.status, read.read_at, read.delivered_at), (Status::Read, Some(start()), Some(start())));
    assert_eq!(bench.module.mark_read(&context, id).await.expect("again"), read);
    assert_eq!(bench.module.unread_count(&context).await.expect("a count"), 0);
    assert_eq!(bench.list(user).await, [read], "listing changes nothing more");

    let events = bench.database.outbox_events().await;
    let told = events.iter().map(|(envelope, _)| (envelope.sequence, envelope.cause.command.as_deref()));
    assert_eq!(told.collect::<Vec<_>>(), [(1, None), (2, None), (3, Some("notificationMarkRead"))]);
    assert_eq!(events[2].0.event_type.as_str(), NotificationReadV1::TYPE);
}

#[tokio::test]
async fn a_delivered_notification_is_not_delivered_again_by_reading_it() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[logged_in(user)]).await;
    let id = bench.list(user).await[0].id;
    bench.module.mark_read(&as_user(user), id).await.expect("read");
    assert_eq!(bench.database.published(NotificationDeliveredV1::TYPE).await.len(), 1);
}

#[tokio::test]
async fn somebody_elses_notification_does_not_exist() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&[logged_in(user)]).await;
    let (id, context) = (only(&bench).await, as_user(other));
    assert!(bench.list(other).await.is_empty());
    assert!(bench.module.notifications_by_id(&context, &[id]).await.expect("an answer").is_empty());
    assert!(bench.module.visible_ids(&context, &[id]).await.expect("an answer").is_empty());
    let error = bench.module.mark_read(&context, id).await.expect_err("not theirs");
    assert_eq!(code(error), "NTF_NOT_FOUND");
    let error = bench.module.mark_read(&context, Uuid::now_v7()).await.expect_err("nobody's");
    assert_eq!(code(error), "NTF_NOT_FOUND");
    let refused = bench.database.published("notification.command-refused.v1").await;
    assert_eq!(refused[0]["subjectId"], id.to_string());
    assert_eq!(bench.decisions().await[0].2, "SENT");

    assert_eq!(bench.module.visible_ids(&as_user(user), &[id]).await.expect("an answer"), [id]);
    assert_eq!(bench.decisions().await[0].2, "SENT", "asking whether it is there does not deliver it");

    let own = bench.module.notifications_by_id(&as_user(user), &[id, Uuid::now_v7()]).await.expect("an answer");
    assert_eq!(own.iter().map(|one| (one.id, one.status)).collect::<Vec<_>>(), [(id, Status::Delivered)]);
}

#[tokio::test]
async fn a_mail_still_with_the_bank_cannot_have_been_read() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[bench.registered(user)]).await;
    let context = as_user(user);
    let mails = Filter { channel: Some(Channel::Email), unread: None };
    let mail = bench.module.notifications(&context, mails, Page::forward(None, 1)).await.expect("a list").remove(0);
    assert_eq!(mail.status, Status::Queued, "listing does not deliver mail");
    assert_eq!(code(bench.module.mark_read(&context, mail.id).await.expect_err("queued")), "NTF_NOT_DELIVERED");
    bench.send().await;
    assert_eq!(bench.module.mark_read(&context, mail.id).await.expect("read").status, Status::Read);
}

#[tokio::test]
async fn a_message_this_release_cannot_read_does_not_hide_the_others() {
    let bench = Bench::new().await;
    let user = Uuid::now_v7();
    bench.consume(&[logged_in(user), logged_in(user)]).await;
    bench
        .database
        .tamper(
            r#"update notification.notification set message = '{"template": "from_the_future"}'
               where sequence = (select min(sequence) from notification.notification)"#,
        )
        .await;
    let list = bench.list(user).await;
    assert_eq!(list[0].title, "New login");
    assert_eq!(list[1].title, "A message from Vostro");
}

#[tokio::test]
async fn many_clients_that_fetch_at_once_deliver_each_notification_once() {
    let bench = Bench::new().await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    bench.consume(&(0..50).map(|_| transfer(other, user)).collect::<Vec<_>>()).await;
    let clients = (0..16).map(|_| {
        let module = bench.module.clone();
        tokio::spawn(
            async move { module.notifications(&as_user(user), Filter::default(), Page::forward(None, 50)).await },
        )
    });
    for client in clients.collect::<Vec<_>>() {
        assert_eq!(client.await.expect("joined").expect("a list").len(), 50);
    }
    assert_eq!(bench.database.published(NotificationDeliveredV1::TYPE).await.len(), 50);
}

async fn only(bench: &Bench) -> Uuid {
    sqlx::query_scalar("select id from notification.notification").fetch_one(bench.database.pool()).await.expect("one")
}
