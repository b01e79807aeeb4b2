//! What a statement says, and who else is told while it is written.

use chrono::TimeDelta;
use futures::StreamExt as _;
use serde_json::json;
use std::time::Duration;
use vostro_account::StatementUpdate;
use vostro_account::domain::{Statement, StatementStatus};
use vostro_events::account::{StatementPartWrittenV1, StatementReadyV1, StatementRequestedV1};
use vostro_messaging::UpdateKind;

use super::{JANUARY, Scene, day};

#[tokio::test]
async fn a_statement_is_written_in_parts_and_told_with_them() {
    let scene = Scene::set(5).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    assert_eq!((requested.status, requested.entries, requested.done), (StatementStatus::Preparing, 5, 0));
    assert_eq!(scene.document(&Statement { parts: 1, ..requested.clone() }).await, None, "nothing to read yet");
    let writing = scene.write();
    let ready = scene.until_ended(requested.id).await;
    writing.stop().await;
    assert_eq!((ready.status, ready.done, ready.parts), (StatementStatus::Ready, 5, 3));
    assert_eq!((ready.opening_balance, ready.closing_balance), (0, 500));
    assert_eq!(scene.see(ready.id).await, ready);

    let document = scene.document(&ready).await.expect("it can be read");
    let lines: Vec<&str> = document.split("\r\n").collect();
    assert_eq!(lines.len(), 7, "{document}");
    assert_eq!(lines[0], "entry,booking_date,booked_at,transaction,amount,balance");
    assert!(lines[5].starts_with("5,2024-01-05,2024-01-05T09:30:00.000000Z,"), "{document}");
    assert!(lines[5].ends_with(",1.00,5.00") && lines[6].is_empty(), "{document}");

    let events = scene.bank.database.outbox_events().await;
    let told: Vec<_> = events
        .iter()
        .map(|(envelope, _)| (envelope.event_type.as_str(), envelope.sequence, envelope.cause.command.as_deref()))
        .collect();
    let expected = [
        (StatementRequestedV1::TYPE, 1, Some("statementGenerate")),
        (StatementPartWrittenV1::TYPE, 2, None),
        (StatementPartWrittenV1::TYPE, 3, None),
        (StatementPartWrittenV1::TYPE, 4, None),
        (StatementReadyV1::TYPE, 5, None),
    ];
    assert_eq!(told, expected);
    for (envelope, _) in &events {
        assert_eq!((envelope.aggregate_type.as_ref(), envelope.aggregate_id), ("statement", ready.id));
        assert_eq!(envelope.cause.correlation_id, scene.owner.correlation_id, "one correlation from request to end");
        assert_eq!(envelope.cause.actor_id, scene.owner.actor.id);
    }
    let parts: Vec<&str> = events[1..4].iter().filter_map(|(_, data)| data["content"].as_str()).collect();
    assert_eq!(parts.concat(), document, "the events have the document");
    let expected = json!({"statementId": ready.id, "accountId": scene.account.id, "ownerId": scene.account.owner_id,
        "from": "2024-01-01", "to": "2024-01-31", "currency": "EUR", "openingBalanceMinor": 0,
        "closingBalanceMinor": 500, "entries": 5, "parts": 3});
    assert_eq!(events[4].1, expected);
}

#[tokio::test]
async fn neighbouring_periods_share_no_entry_and_leave_none_out() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-01T00:00:01Z");
    scene.earn(1).await;
    // The clock is set back by more than clocks differ, and January goes on for one entry.
    scene.it_is("2024-01-31T23:57:00Z");
    scene.earn(1).await;
    scene.it_is("2024-02-20T00:00:00Z");
    scene.earn(2).await;
    scene.it_is("2024-06-01T12:00:00Z");
    let writing = scene.write();
    let mut ranges = Vec::new();
    let days = ["2023-12-01", "2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"];
    for (number, pair) in days.windows(2).enumerate() {
        let to = (day(pair[1]) - TimeDelta::days(1)).to_string();
        let requested = scene.generate(&number.to_string(), (pair[0], &to)).await;
        let ready = scene.until_ended(requested.id).await;
        ranges.push((ready.first_entry, ready.entries, ready.opening_balance, ready.closing_balance));
    }
    writing.stop().await;
    assert_eq!(ranges[0], (1, 0, 0, 0), "before the account had any entries");
    assert_eq!(ranges[3], (8, 0, 700, 700), "after its last");
    assert_eq!(ranges[1].1 + ranges[2].1, 7, "{ranges:?}");
    assert_eq!(ranges[1].0 + ranges[1].1, ranges[2].0, "{ranges:?}");
    assert_eq!(ranges[1].3, ranges[2].2, "what one ends with the next begins with: {ranges:?}");
}

#[tokio::test]
async fn a_statement_without_entries_names_its_columns_and_nothing_else() {
    let scene = Scene::set(1).await;
    scene.it_is("2024-06-01T12:00:00Z");
    let writing = scene.write();
    let requested = scene.generate("k", ("2024-03-01", "2024-03-31")).await;
    let ready = scene.until_ended(requested.id).await;
    writing.stop().await;
    assert_eq!((ready.entries, ready.parts, ready.opening_balance, ready.closing_balance), (0, 1, 100, 100));
    let document = scene.document(&ready).await;
    assert_eq!(document.as_deref(), Some("entry,booking_date,booked_at,transaction,amount,balance\r\n"));
}

#[tokio::test]
async fn entries_that_come_while_it_is_written_are_not_in_it() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    scene.earn(4).await;
    let writing = scene.write();
    let ready = scene.until_ended(requested.id).await;
    writing.stop().await;
    assert_eq!((ready.entries, ready.done, ready.closing_balance), (3, 3, 300));
}

#[tokio::test]
async fn whoever_is_cut_off_leaves_whole_parts_and_the_next_one_goes_on_behind_them() {
    let scene = Scene::set(40).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let mut ended = false;
    for _ in 0..30 {
        // Cut off at whatever it does at the moment, with its transaction open or not.
        let writing = scene.write();
        let before = scene.see(requested.id).await.parts;
        let seen = scene.until(requested.id, |state| state.parts > before).await;
        writing.running.abort();
        let _ = writing.running.await;
        ended = seen.last().is_some_and(|state| state.status == StatementStatus::Ready);
        if ended {
            break;
        }
    }
    assert!(ended, "each one wrote at least a part");
    let ready = scene.see(requested.id).await;
    assert_eq!((ready.done, ready.parts, ready.closing_balance), (40, 20, 4_000));
    let parts = scene.told(StatementPartWrittenV1::TYPE).await;
    let numbers: Vec<i64> = parts.iter().filter_map(|part| part["part"].as_i64()).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "each part is told once");
    let events = scene.bank.database.outbox_events().await;
    let sequences: Vec<i64> = events.iter().map(|(envelope, _)| envelope.sequence).collect();
    assert_eq!(sequences, (1..=22).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_watcher_that_loses_its_connection_after_every_update_goes_on_behind_it_to_the_end() {
    let scene = Scene::set(30).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let id = scene.generate("k", JANUARY).await.id;
    let writing = scene.write();
    let mut seen: Vec<StatementUpdate> = Vec::new();
    let watching = async {
        loop {
            let after = seen.last().map(|update| update.statement.version);
            let updates = scene.bank.accounts.statement_updates(&scene.owner, id, after).await.expect("readable");
            let mut updates = std::pin::pin!(updates.expect("there"));
            let Some(update) = updates.next().await else { return };
            seen.push(update.expect("readable"));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), watching).await.expect("it gets there");
    writing.stop().await;
    assert_eq!(seen[0].kind, UpdateKind::Snapshot);
    for pair in seen.windows(2) {
        let (before, update) = (&pair[0].statement, &pair[1]);
        let steps = update.statement.parts - before.parts;
        assert!(steps > 0, "each state once: {seen:?}");
        assert_eq!(update.kind, if steps == 1 { UpdateKind::Change } else { UpdateKind::Lagged }, "{seen:?}");
    }
    assert_eq!(seen.last().map(|update| &update.statement), Some(&scene.see(id).await));
}

#[tokio::test]
async fn several_writers_make_one_document() {
    let scene = Scene::set(30).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let writers = [scene.write(), scene.write(), scene.write()];
    let ready = scene.until_ended(requested.id).await;
    for writing in writers {
        writing.stop().await;
    }
    assert_eq!((ready.done, ready.parts, ready.closing_balance), (30, 15, 3_000));
    assert_eq!(scene.told(StatementPartWrittenV1::TYPE).await.len(), 15);
    assert_eq!(scene.told(StatementReadyV1::TYPE).await.len(), 1);
}
