//! Nothing that was stored can be changed, removed or added without the proof naming the place.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Bank, balance, cause};
use uuid::Uuid;
use vostro_compliance::{Break, BreakReason};
use vostro_events::Cause;
use vostro_kernel::ActorKind;
use vostro_messaging::Incoming;

/// Ten events; the fifth has a value in every column but `code` and `subject_id`.
fn history() -> Vec<Incoming> {
    (1..=10)
        .map(|sequence| {
            let mut event = balance(1, sequence);
            if sequence == 5 {
                event.envelope.partition_key = Uuid::from_u128(77);
                let command = Some("transferCreate".into());
                event.envelope.cause =
                    Cause { command, actor_kind: ActorKind::User, actor_id: Some(Uuid::from_u128(9)), ..cause() };
            }
            event
        })
        .collect()
}

async fn bank_with_history() -> Bank {
    let bank = Bank::open().await;
    bank.store(&history()).await;
    bank
}

async fn assert_broken(bank: &Bank, position: i64, reason: BreakReason) {
    let proof = bank.verify().await;
    assert_eq!(proof.broken, Some(Break { position, reason }), "{proof}");
    assert!(!proof.ok());
}

/// What somebody could write into a column instead.
fn another_value(column: &str) -> &'static str {
    match column {
        "occurred_at" | "recorded_at" => "COLUMN + interval '1 microsecond'",
        "sequence" => "sequence + 100",
        "type" => "(select code from compliance.event_type where name = 'card.card-issued.v1')",
        "stream" => "(select code from compliance.stream where module = 'card')",
        "actor_kind" => "1",
        "outcome" => "0",
        "command" | "code" => "coalesce(COLUMN, '') || 'x'",
        "hash" => "sha256(hash)",
        "data" => "data || ' '",
        id if id.ends_with("_id") || id == "partition_key" => "'00000000-0000-0000-0000-0000000000ff'",
        other => panic!("no other value for the new column {other}"),
    }
}

#[tokio::test]
async fn a_change_of_any_column_is_found_at_its_position() {
    let bank = bank_with_history().await;
    bank.store(&[support::event("card.card-issued.v1", "card", 2, 1)]).await;
    // Which trace an event belonged to says nothing about what happened, and is kept for as long as it helps: not sealed.
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns
         where table_schema = 'compliance' and table_name = 'event' and column_name not in ('position', 'traceparent')",
    )
    .fetch_all(bank.database.pool())
    .await
    .unwrap();
    assert!(columns.len() >= 18);
    bank.database.tamper("create table original as select * from compliance.event where position = 5").await;
    for column in columns {
        let value = another_value(&column).replace("COLUMN", &column);
        bank.tamper(&format!("update compliance.event set {column} = {value} where position = 5")).await;
        assert_broken(&bank, 5, BreakReason::ContentChanged).await;
        bank.tamper(&format!(
            "update compliance.event set {column} = original.{column} from original where event.position = 5"
        ))
        .await;
        let proof = bank.verify().await;
        assert!(proof.ok(), "{column} was put back: {proof}");
    }
}

#[tokio::test]
async fn a_value_put_where_there_was_none_is_found() {
    let bank = bank_with_history().await;
    bank.tamper("update compliance.event set partition_key = aggregate_id where position = 3").await;
    assert_broken(&bank, 3, BreakReason::ContentChanged).await;
}

#[tokio::test]
async fn a_row_that_was_resealed_breaks_the_one_after_it() {
    let bank = bank_with_history().await;
    // Events 4 and 5 change places with their hashes: both are genuine, the order is not.
    bank.tamper(
        "update compliance.event set position = -position where position in (4, 5);
         update compliance.event set position = 9 + position where position < 0",
    )
    .await;
    assert_broken(&bank, 4, BreakReason::ContentChanged).await;
}

#[tokio::test]
async fn a_removed_row_is_named() {
    let bank = bank_with_history().await;
    bank.tamper("delete from compliance.event where position = 6").await;
    assert_broken(&bank, 6, BreakReason::PositionMissing).await;
}

#[tokio::test]
async fn a_removed_beginning_is_named() {
    let bank = bank_with_history().await;
    bank.tamper("delete from compliance.event where position <= 3").await;
    assert_broken(&bank, 1, BreakReason::PositionMissing).await;
}

#[tokio::test]
async fn a_removed_end_is_named() {
    let bank = bank_with_history().await;
    bank.tamper("delete from compliance.event where position >= 9").await;
    assert_broken(&bank, 9, BreakReason::TailTruncated).await;
    bank.tamper("delete from compliance.event").await;
    assert_broken(&bank, 1, BreakReason::TailTruncated).await;
}

const COPY_OF_TEN: &str =
    "insert into compliance.event select POSITION, occurred_at, recorded_at, sequence + 100, event_id,
    aggregate_id, correlation_id, causation_id, actor_id, partition_key, subject_id, type, stream, actor_kind, outcome,
    command, code, hash, data from compliance.event where position = 10";

#[tokio::test]
async fn a_row_added_behind_the_head_is_named() {
    let bank = bank_with_history().await;
    bank.tamper(&COPY_OF_TEN.replace("POSITION", "11")).await;
    assert_broken(&bank, 11, BreakReason::ExtraRow).await;
}

#[tokio::test]
async fn a_row_added_before_the_beginning_is_named() {
    let bank = bank_with_history().await;
    for position in [0, -7] {
        bank.tamper(&COPY_OF_TEN.replace("POSITION", &position.to_string())).await;
        assert_broken(&bank, position, BreakReason::ExtraRow).await;
        bank.tamper("delete from compliance.event where position < 1").await;
    }
    let empty = Bank::open().await;
    empty.store(&[balance(1, 1)]).await;
    empty
        .tamper(
            "update compliance.event set position = -3;
             update compliance.chain_head set position = 0, hash = decode(repeat('00', 32), 'hex')",
        )
        .await;
    assert_broken(&empty, -3, BreakReason::ExtraRow).await;
}

#[tokio::test]
async fn a_row_put_between_others_is_found_where_it_was_put() {
    let bank = bank_with_history().await;
    bank.tamper(
        "update compliance.event set position = -position where position > 6;
         update compliance.event set position = 1 - position where position < 0",
    )
    .await;
    bank.tamper(&COPY_OF_TEN.replace("POSITION", "7").replace("= 10", "= 6")).await;
    bank.tamper("update compliance.chain_head set position = 11").await;
    assert_broken(&bank, 7, BreakReason::ContentChanged).await;
}

#[tokio::test]
async fn a_changed_head_is_found() {
    let bank = bank_with_history().await;
    bank.database.tamper("create table original as select * from compliance.chain_head").await;
    let put_back = "update compliance.chain_head set position = original.position, hash = original.hash from original";
    for (change, position, reason) in [
        ("hash = sha256(hash)", 10, BreakReason::HeadMismatch),
        ("position = 12", 11, BreakReason::TailTruncated),
        ("position = 8", 8, BreakReason::HeadMismatch),
        ("position = 8, hash = (select hash from compliance.event where position = 8)", 9, BreakReason::ExtraRow),
    ] {
        bank.tamper(&format!("update compliance.chain_head set {change}")).await;
        assert_broken(&bank, position, reason).await;
        bank.tamper(put_back).await;
        assert!(bank.verify().await.ok());
    }
    bank.tamper("delete from compliance.chain_head").await;
    assert_broken(&bank, 0, BreakReason::HeadMissing).await;
}

#[tokio::test]
async fn a_changed_name_breaks_the_first_event_that_bears_it() {
    let bank = bank_with_history().await;
    bank.store(&[support::event("card.card-issued.v1", "card", 2, 1)]).await;
    bank.tamper("update compliance.event_type set name = 'card.card-lost.v1' where name like 'card%'").await;
    assert_broken(&bank, 11, BreakReason::ContentChanged).await;
    bank.tamper("update compliance.event_type set name = 'card.card-issued.v1' where name like 'card%'").await;
    bank.tamper("delete from compliance.stream where module = 'account'").await;
    assert_broken(&bank, 1, BreakReason::ContentChanged).await;
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_history() {
    let bank = bank_with_history().await;
    for (table, column) in [
        ("event", "data"),
        ("event_type", "name"),
        ("stream", "module"),
        ("violation", "explanation"),
        ("evidence", "file_name"),
    ] {
        for statement in [
            format!("update compliance.{table} set {column} = 'x'"),
            format!("delete from compliance.{table}"),
            format!("truncate compliance.{table} cascade"),
        ] {
            let refused = sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(bank.database.pool()).await;
            let text = refused.expect_err(&statement).to_string();
            assert!(text.contains("append-only"), "{statement}: {text}");
        }
    }
    for statement in ["delete from compliance.chain_head", "truncate compliance.chain_head"] {
        let refused = sqlx::query(statement).execute(bank.database.pool()).await;
        assert!(refused.expect_err(statement).to_string().contains("append-only"));
    }
    assert!(bank.verify().await.ok());
}

#[tokio::test]
async fn an_empty_chain_holds() {
    let bank = Bank::open().await;
    let proof = bank.verify().await;
    assert!(proof.ok());
    assert_eq!((proof.checked, proof.head_position, proof.head_hash), (0, 0, [0; 32]));
}

#[tokio::test]
async fn a_proof_over_many_pages_tells_how_far_it_is() {
    let bank = Bank::open().await;
    let many: Vec<_> = (1..=12_000).map(|sequence| balance(1, sequence)).collect();
    for batch in many.chunks(1000) {
        bank.store(batch).await;
    }
    let mut steps = Vec::new();
    let proof = bank.compliance.verify_audit(|done, all| steps.push((done, all))).await.unwrap();
    assert!(proof.ok(), "{proof}");
    assert_eq!(steps, [(5000, 12_000), (10_000, 12_000), (12_000, 12_000)]);
    let last = bank.stored().await.pop().unwrap();
    assert_eq!((last.position, last.hash), (12_000, proof.head_hash));
    assert_eq!(proof.to_json()["headHash"], last.hash_hex());
    bank.tamper("delete from compliance.event where position between 5001 and 5100").await;
    assert_broken(&bank, 5001, BreakReason::PositionMissing).await;
}

#[test]
fn the_chain_does_not_depend_on_how_events_were_batched() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bank = runtime.block_on(Bank::open());
    let history: Vec<_> =
        (1..=30).map(|sequence| balance(u128::from(sequence % 4 == 0), i64::from(sequence))).collect();
    let head_after = |cuts: Vec<usize>| {
        runtime.block_on(async {
            let mut transaction = vostro_messaging::begin(bank.database.pool()).await.unwrap();
            let mut from = 0;
            for cut in cuts.into_iter().chain([history.len()]) {
                let to = cut.clamp(from, history.len());
                bank.archive.handle_in_tx(&mut transaction, &history[from..to]).await.unwrap();
                from = to;
            }
            let head: (i64, Vec<u8>) = sqlx::query_as("select position, hash from compliance.chain_head")
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            transaction.rollback().await.unwrap();
            head
        })
    };
    let whole = head_after(Vec::new());
    assert_eq!(whole.0, 30);
    let mut runner = TestRunner::new(Config { cases: 32, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(0_usize..=30, 0..12), |mut cuts| {
            cuts.sort_unstable();
            prop_assert_eq!(head_after(cuts), whole.clone());
            Ok(())
        })
        .unwrap();
}
