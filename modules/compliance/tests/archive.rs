//! Every event of every module is stored exactly once.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use support::{Bank, balance, cause, event, noon};
use uuid::Uuid;
use vostro_compliance::{AuditEntry, Outcome};
use vostro_events::command::CommandRefusedV1;
use vostro_events::{Cause, EventType, catalog};
use vostro_kernel::ActorKind;
use vostro_messaging::{HandlerError, Incoming};

fn ids(entries: &[AuditEntry]) -> Vec<Uuid> {
    entries.iter().map(|entry| entry.event_id).collect()
}

fn positions(entries: &[AuditEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.position).collect()
}

/// Three aggregates of 1, 2 and 12 events.
fn history() -> Vec<Incoming> {
    let sizes = [(1, 1), (2, 2), (3, 12)];
    sizes.iter().flat_map(|(account, events)| (1..=*events).map(|sequence| balance(*account, sequence))).collect()
}

async fn assert_complete(bank: &Bank, history: &[Incoming]) {
    let entries = bank.stored().await;
    let stored: BTreeSet<Uuid> = entries.iter().map(|entry| entry.event_id).collect();
    assert_eq!(stored, history.iter().map(|event| event.envelope.id).collect());
    assert_eq!(positions(&entries), (1..=15).collect::<Vec<_>>(), "dense positions");
    let proof = bank.verify().await;
    assert!(proof.ok(), "{proof}");
    assert_eq!(proof.checked, 15);
    let counts = bank.compliance.event_counts(&support::officer()).await.unwrap();
    assert_eq!(
        counts.iter().map(|count| (count.event_type.as_str(), count.count)).collect::<Vec<_>>(),
        [("account.balance-changed.v1", 15)]
    );
}

#[tokio::test]
async fn a_batch_that_comes_twice_is_stored_once() {
    let bank = Bank::open().await;
    let history = history();
    for _ in 0..2 {
        bank.store(&history).await;
    }
    assert_eq!(ids(&bank.stored().await), history.iter().map(|event| event.envelope.id).collect::<Vec<_>>());
    assert_complete(&bank, &history).await;
}

/// The same event in its second version, as its producer publishes it beside the first.
fn second_version(of: &Incoming) -> Incoming {
    let mut copy = of.clone();
    copy.envelope.id = Uuid::now_v7();
    copy.envelope.event_type = EventType::parse("account.balance-changed.v2").unwrap();
    copy.data = RawValue::from_string(r#"{"another": "shape"}"#.to_owned()).unwrap();
    copy
}

#[tokio::test]
async fn two_versions_of_an_event_share_its_number_and_both_are_stored_once_in_any_order() {
    let first: Vec<Incoming> = (1..=4).map(|sequence| balance(1, sequence)).collect();
    let second: Vec<Incoming> = first.iter().map(second_version).collect();
    let beside: Vec<Incoming> = first.iter().zip(&second).flat_map(|(one, two)| [one.clone(), two.clone()]).collect();
    for batches in [vec![beside.clone()], vec![first.clone(), second.clone()], vec![second.clone(), first.clone()]] {
        let bank = Bank::open().await;
        for batch in batches.iter().chain(&batches) {
            bank.store(batch).await;
        }
        let stored: BTreeSet<Uuid> = ids(&bank.stored().await).into_iter().collect();
        assert_eq!(stored, beside.iter().map(|event| event.envelope.id).collect());
        assert_eq!(positions(&bank.stored().await), (1..=8).collect::<Vec<_>>());
        assert!(bank.verify().await.ok());
        assert_eq!(bank.compliance.archive_gaps(&["account".to_owned()]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn the_first_version_can_be_retired_without_a_gap() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 1)]).await;
    let both = [balance(1, 2), second_version(&balance(1, 2))];
    bank.store(&both[1..]).await;
    bank.store(&both[..1]).await;
    bank.store(&[second_version(&balance(1, 3))]).await;
    bank.store(&[second_version(&balance(1, 4))]).await;
    assert_eq!(bank.compliance.archive_gaps(&["account".to_owned()]).await.unwrap(), 0);
    bank.store(&[second_version(&balance(1, 6))]).await;
    assert_eq!(bank.compliance.archive_gaps(&["account".to_owned()]).await.unwrap(), 1);
    bank.store(&[second_version(&balance(1, 5))]).await;
    assert_eq!(bank.compliance.archive_gaps(&["account".to_owned()]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_version_that_is_published_under_two_ids_is_refused() {
    let bank = Bank::open().await;
    let event = balance(1, 1);
    bank.store(&[event.clone(), second_version(&event)]).await;
    let refused = bank.deliver(&[second_version(&event)]).await;
    assert!(matches!(refused, Err(HandlerError::Invalid { .. })), "{refused:?}");
    assert_eq!(bank.stored().await.len(), 2);
}

#[tokio::test]
async fn events_that_come_singly_in_reverse_and_again_are_stored_once() {
    let bank = Bank::open().await;
    let history = history();
    for event in history.iter().rev().chain(&history) {
        bank.store(std::slice::from_ref(event)).await;
    }
    assert_complete(&bank, &history).await;
}

#[tokio::test]
async fn a_batch_with_repeated_and_known_events_stores_the_new_ones() {
    let bank = Bank::open().await;
    let history = history();
    bank.store(&history[..7]).await;
    let mixed: Vec<_> = history.iter().chain(&history[5..]).cloned().collect();
    bank.store(&mixed).await;
    assert_complete(&bank, &history).await;
}

#[tokio::test]
async fn instances_that_store_the_same_at_the_same_time_store_it_once() {
    let bank = Bank::open().await;
    let history = history();
    let deliveries = (0..6).map(|number| {
        let (pool, handler) = (bank.database.pool().clone(), bank.another());
        let batch: Vec<_> = history.iter().skip(number).chain(history.iter().take(number)).cloned().collect();
        tokio::spawn(async move { vostro_testkit::deliver(&pool, &handler, &batch).await })
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        delivery.await.unwrap().unwrap();
    }
    assert_complete(&bank, &history).await;
}

#[tokio::test]
async fn what_was_rolled_back_is_stored_when_it_comes_again() {
    let bank = Bank::open().await;
    let history = history();
    let mut transaction = vostro_messaging::begin(bank.database.pool()).await.unwrap();
    bank.archive.handle_in_tx(&mut transaction, &history).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(bank.stored().await, []);
    bank.store(&history).await;
    assert_complete(&bank, &history).await;
}

#[tokio::test]
async fn every_event_of_the_catalogue_is_taken() {
    let bank = Bank::open().await;
    let types: Vec<_> =
        catalog().into_iter().map(|description| (description.event_type, description.aggregate)).collect();
    let batch: Vec<_> = types
        .iter()
        .zip(1..)
        .map(|((event_type, aggregate), number)| event(event_type, aggregate, number, 1))
        .collect();
    bank.store(&batch).await;
    let stored = bank.stored().await;
    let found: Vec<_> = stored.iter().map(|entry| (entry.event_type.as_str(), entry.aggregate_type.as_str())).collect();
    assert_eq!(found, types);
    assert!(bank.verify().await.ok());
}

#[tokio::test]
async fn events_this_release_does_not_know_are_stored() {
    let bank = Bank::open().await;
    let future = [event("card.card-issued.v3", "card", 1, 1), event("transaction.completed.v9", "transaction", 2, 1)];
    bank.store(&future).await;
    bank.store(&[event("card.card-blocked.v1", "card", 1, 2)]).await;
    let stored = bank.stored().await;
    let types: Vec<_> = stored.iter().map(|entry| (entry.module.as_str(), entry.event_type.as_str())).collect();
    assert_eq!(
        types,
        [
            ("card", "card.card-issued.v3"),
            ("transaction", "transaction.completed.v9"),
            ("card", "card.card-blocked.v1")
        ]
    );
}

#[tokio::test]
async fn an_event_is_stored_as_it_came_to_the_byte() {
    let bank = Bank::open().await;
    let mut event = balance(7, 1);
    event.data =
        RawValue::from_string("{ \"b\" : 1.0, \"a\":\"Zoë \\u0000 \\ud83d\\ude00\",\"a\":2 }".to_owned()).unwrap();
    event.envelope.partition_key = Uuid::from_u128(8);
    event.envelope.cause = Cause {
        command: Some("depositRecord".into()),
        actor_kind: ActorKind::Staff,
        actor_id: Some(Uuid::from_u128(9)),
        ..cause()
    };
    bank.store(std::slice::from_ref(&event)).await;
    let stored = bank.stored().await.remove(0);
    let envelope = &event.envelope;
    assert_eq!(stored.data, event.data.get());
    assert_eq!((stored.event_id, stored.aggregate_id, stored.sequence), (envelope.id, envelope.aggregate_id, 1));
    assert_eq!(
        (stored.correlation_id, stored.causation_id),
        (envelope.cause.correlation_id, envelope.cause.causation_id)
    );
    assert_eq!((stored.actor_kind, stored.actor_id), (ActorKind::Staff, Some(Uuid::from_u128(9))));
    assert_eq!((stored.outcome, stored.command.as_deref()), (Outcome::Accepted, Some("depositRecord")));
    assert_eq!((stored.occurred_at, stored.recorded_at), (envelope.occurred_at, noon()));
    assert!(bank.verify().await.ok());
}

#[tokio::test]
async fn a_refused_command_is_stored_with_its_code_and_what_it_was_about() {
    let bank = Bank::open().await;
    let command = Uuid::now_v7();
    let subject = Uuid::from_u128(5);
    let refused = CommandRefusedV1 {
        module: "account".into(),
        command_id: command,
        command: "accountFreeze".into(),
        code: "ACC_INVALID_STATE".into(),
        subject_id: Some(subject),
    };
    bank.store(&[vostro_testkit::incoming(&refused, 1)]).await;
    let stored = bank.stored().await.remove(0);
    assert_eq!((stored.outcome, stored.aggregate_id, stored.subject_id), (Outcome::Refused, command, Some(subject)));
    assert_eq!(stored.command.as_deref(), Some("accountFreeze"));
    assert_eq!(stored.code.as_deref(), Some("ACC_INVALID_STATE"));
}

#[tokio::test]
async fn two_modules_may_number_an_aggregate_of_the_same_name_and_id() {
    let bank = Bank::open().await;
    bank.store(&[
        event("auth.command-refused.v1", "command", 1, 1),
        event("account.command-refused.v1", "command", 1, 1),
    ])
    .await;
    assert_eq!(bank.stored().await.len(), 2);
}

#[tokio::test]
async fn another_event_with_a_number_that_is_taken_is_refused_and_named() {
    let bank = Bank::open().await;
    let (first, second, other) = (balance(1, 1), balance(1, 2), balance(1, 1));
    bank.store(std::slice::from_ref(&first)).await;
    let batch = [second.clone(), other.clone()];
    let Err(HandlerError::Invalid { event, reason }) = bank.deliver(&batch).await else { panic!("it was taken") };
    assert_eq!(event, other.envelope.id);
    assert!(reason.contains(&first.envelope.id.to_string()), "{reason}");
    assert_eq!(ids(&bank.stored().await), [first.envelope.id], "nothing of the batch was stored");
    // What the consumer then does: sets that one aside and goes on with the rest.
    bank.store(std::slice::from_ref(&second)).await;
    assert_eq!(ids(&bank.stored().await), [first.envelope.id, second.envelope.id]);
}

#[tokio::test]
async fn a_conflict_inside_a_batch_is_refused_too() {
    let bank = Bank::open().await;
    let (first, other) = (balance(1, 1), balance(1, 1));
    let reason = vostro_testkit::deliver(bank.database.pool(), &bank.archive, &[first.clone(), other.clone()])
        .await
        .unwrap_err();
    assert!(matches!(reason, HandlerError::Invalid { event, .. } if event == other.envelope.id));
}

#[tokio::test]
async fn an_attribute_the_database_cannot_hold_is_refused_and_named() {
    let bank = Bank::open().await;
    let mut strange = balance(1, 1);
    strange.envelope.aggregate_type = "bal\0ance".into();
    let reason = vostro_testkit::reason_for_refusing(bank.database.pool(), &bank.archive, strange).await;
    assert!(reason.starts_with("aggregatetype"), "{reason}");
}

#[tokio::test]
async fn time_in_the_store_never_runs_backwards() {
    let bank = Bank::open().await;
    bank.store(&[balance(1, 1)]).await;
    bank.pass(chrono::TimeDelta::seconds(-60));
    bank.store(&[balance(1, 2)]).await;
    bank.pass(chrono::TimeDelta::seconds(120));
    bank.store(&[balance(1, 3)]).await;
    let seconds: Vec<_> = bank.stored().await.iter().map(|entry| (entry.recorded_at - noon()).num_seconds()).collect();
    assert_eq!(seconds, [0, 0, 60]);
}

#[tokio::test]
async fn a_restarted_module_goes_on_where_the_chain_ends() {
    let bank = Bank::open().await;
    let history = history();
    bank.store(&history[..8]).await;
    let restarted = bank.another();
    vostro_testkit::deliver(bank.database.pool(), &restarted, &history).await.unwrap();
    assert_complete(&bank, &history).await;
    assert_eq!(Arc::strong_count(&restarted), 1);
}

#[tokio::test]
async fn an_event_comes_out_of_the_archive_in_its_trace_if_that_is_recorded() {
    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let bank = Bank::open().await;
    let mut events: Vec<Incoming> = (1..=3).map(|sequence| balance(1, sequence)).collect();
    events[0].envelope.cause.traceparent = Some(SAMPLED.to_owned());
    events[1].envelope.cause.traceparent = Some(SAMPLED.replace("-01", "-00"));
    bank.store(&events).await;
    let types: Vec<&str> = events.iter().map(|event| event.envelope.event_type.as_str()).collect();
    let archived = bank.compliance.archived_of(&types, 0, 3, 10).await.unwrap();
    let traces: Vec<_> = archived.iter().map(|event| event.envelope.cause.traceparent.as_deref()).collect();
    assert_eq!(traces, [Some(SAMPLED), None, None]);
    assert!(bank.verify().await.ok(), "it is no part of the chain");
}
