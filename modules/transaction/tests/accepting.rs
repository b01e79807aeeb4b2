//! Commands on their way in: groups, idempotency, refusals.

mod common;

use std::collections::HashSet;

use common::{Bank, code, operator, somebody};
use futures::future::join_all;
use uuid::Uuid;
use vostro_events::account::AccountStatus;
use vostro_kernel::{Actor, RequestContext, Role, SystemIds};
use vostro_testkit::{eventually, incoming};
use vostro_transaction::domain::{Channel, Instruction, Status};
use vostro_transaction::{CashMovement, Config, TransactionErrorCode as Code, TransferCreate};

#[tokio::test]
async fn an_accepted_transfer_is_stored_with_its_event() {
    let bank = Bank::open().await;
    let context = bank.payer.context();
    let input = TransferCreate { reference: Some(" rent ".into()), ..bank.transfer("k", "12.5") };
    let initiated = bank.transactions.transfer_create(&context, input).await.expect("accepted");

    assert!(!initiated.replayed);
    let transaction = &*initiated.transaction;
    assert_eq!((transaction.status, transaction.sequence()), (Status::Initiated, 1));
    assert_eq!(transaction.amount.to_string(), "12.50 EUR");
    assert_eq!(transaction.reference.as_deref(), Some("rent"));
    assert_eq!(bank.read(transaction.id).await, *transaction);

    let events = bank.database.outbox_events().await;
    let [(envelope, data)] = events.as_slice() else { panic!("one event, not {events:?}") };
    assert_eq!(envelope.event_type.as_str(), "transaction.initiated.v1");
    assert_eq!((envelope.aggregate_id, envelope.sequence), (transaction.id, 1));
    assert_eq!(envelope.cause.command.as_deref(), Some("transferCreate"));
    assert_eq!(envelope.cause.causation_id, context.command_id);
    assert_eq!(envelope.cause.correlation_id, context.correlation_id);
    assert_eq!(envelope.cause.actor_id, Some(bank.payer.id));
    let expected = serde_json::json!({
        "transactionId": transaction.id,
        "kind": "TRANSFER",
        "route": {
            "sourceAccountId": bank.payer.account, "destinationAccountId": bank.payee.account,
            "sourceOwnerId": bank.payer.id, "destinationOwnerId": bank.payee.id,
        },
        "amount": {"minor": 1250, "currency": "EUR"},
        "reference": "rent",
    });
    assert_eq!(*data, expected);
}

#[tokio::test]
async fn cash_is_recorded_by_an_operator_and_withdrawn_by_the_owner() {
    let bank = Bank::open().await;
    let cash = Instruction::cash_account("EUR");
    let input = CashMovement { channel: Some(Channel::Branch), ..bank.cash("in", "100") };
    let deposit = bank.transactions.deposit_record(&operator(), input).await.expect("accepted").transaction;
    assert_eq!((deposit.source_account_id, deposit.destination_account_id), (cash, bank.payer.account));
    assert_eq!((deposit.source_owner_id, deposit.destination_owner_id), (None, Some(bank.payer.id)));
    assert_eq!(bank.read(deposit.id).await, *deposit);

    let input = bank.cash("out", "40");
    let context = bank.payer.context();
    let withdrawal = bank.transactions.withdrawal_initiate(&context, input).await.expect("accepted").transaction;
    assert_eq!((withdrawal.source_account_id, withdrawal.destination_account_id), (bank.payer.account, cash));

    let refused = bank.transactions.deposit_record(&context, bank.cash("mine", "1")).await;
    assert_eq!(code(refused), Code::Forbidden);
    let refused = bank.transactions.withdrawal_initiate(&bank.payee.context(), bank.cash("theirs", "1")).await;
    assert_eq!(code(refused), Code::AccountNotFound);
    let recorded = bank.refusals().await;
    let expected = [("depositRecord", "TXN_FORBIDDEN"), ("withdrawalInitiate", "TXN_ACCOUNT_NOT_FOUND")];
    assert_eq!(recorded, expected.map(|(command, code)| (command.to_owned(), code.to_owned())));
}

#[tokio::test]
async fn commands_that_arrive_together_share_a_commit_and_keep_their_own_answers() {
    let bank = Bank::open().await;
    let context = bank.payer.context();
    let inputs = (0..60).map(|number| match number % 3 {
        0 => bank.transfer(&format!("good-{number}"), "1"),
        1 => bank.transfer(&format!("bad-{number}"), "-1"),
        _ => TransferCreate { destination_account_id: Uuid::nil(), ..bank.transfer(&format!("lost-{number}"), "1") },
    });
    let answers = join_all(inputs.map(|input| bank.transactions.transfer_create(&context, input))).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match number % 3 {
            0 => assert!(!answer.expect("accepted").replayed),
            1 => assert_eq!(code(answer), Code::InvalidAmount),
            _ => assert_eq!(code(answer), Code::AccountNotFound),
        }
    }
    assert_eq!(bank.count("select count(*) from transaction.transaction").await, 20);
    assert_eq!(bank.database.published("transaction.initiated.v1").await.len(), 20);
    assert_eq!(bank.refusals().await.len(), 40);
    let commits = bank.count("select count(distinct xmin::text) from transaction.transaction").await;
    assert!(commits < 20, "{commits} commits for 20 transactions");
}

#[tokio::test]
async fn a_refused_command_is_recorded_with_who_tried_what() {
    let bank = Bank::open().await;
    let context = bank.payer.context();
    assert_eq!(code(bank.transactions.transfer_create(&context, bank.transfer("k", "0")).await), Code::InvalidAmount);
    let events = bank.database.outbox_events().await;
    let [(envelope, data)] = events.as_slice() else { panic!("one event, not {events:?}") };
    assert_eq!(envelope.aggregate_id, context.command_id);
    assert_eq!((envelope.aggregate_type.as_ref(), envelope.sequence), ("command", 1));
    assert_eq!(envelope.cause.actor_id, Some(bank.payer.id));
    let expected = serde_json::json!({
        "module": "transaction", "commandId": context.command_id, "command": "transferCreate",
        "code": "TXN_INVALID_AMOUNT", "subjectId": bank.payer.account,
    });
    assert_eq!(*data, expected);
    assert_eq!(bank.count("select count(*) from transaction.transaction").await, 0);
}

#[tokio::test]
async fn nobody_in_particular_can_start_no_payment() {
    let bank = Bank::open().await;
    let context = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    assert_eq!(code(bank.transactions.transfer_create(&context, bank.transfer("k", "1")).await), Code::Forbidden);
    assert_eq!(bank.refusals().await.len(), 1);
}

#[tokio::test]
async fn text_the_database_cannot_hold_is_refused_and_harms_nobody_else_in_the_group() {
    let bank = Bank::open().await;
    let context = bank.payer.context();
    let inputs = [
        bank.transfer("good", "1"),
        TransferCreate { reference: Some("a\0b".into()), ..bank.transfer("bad-reference", "1") },
        TransferCreate { idempotency_key: "a\0b".into(), ..bank.transfer("", "1") },
        TransferCreate { currency: "\0".into(), ..bank.transfer("bad-currency", "1") },
        bank.transfer("also-good", "1"),
    ];
    let answers = join_all(inputs.map(|input| bank.transactions.transfer_create(&context, input))).await;
    let codes = answers.into_iter().map(|answer| answer.err().map(|error| error.refusal().expect("a refusal").code));
    let expected =
        [None, Some(Code::InvalidReference), Some(Code::IdempotencyKeyRequired), Some(Code::CurrencyUnknown), None];
    assert!(codes.eq(expected));
}

#[tokio::test]
async fn a_repeated_command_gets_the_first_result_and_happens_once() {
    let bank = Bank::open().await;
    let context = bank.payer.context();
    let first = bank.pay("k", "12.50").await;
    for amount in ["12.50", "12.5", "0012.50"] {
        let again = bank.transactions.transfer_create(&context, bank.transfer("k", amount)).await.expect("replayed");
        assert!(again.replayed);
        assert_eq!(*again.transaction, first);
    }
    assert_eq!(bank.count("select count(*) from transaction.transaction").await, 1);
    assert_eq!(bank.database.outbox_events().await.len(), 1);
}

#[tokio::test]
async fn a_repetition_shows_the_present_state_and_survives_what_would_now_be_refused() {
    let bank = Bank::open().await;
    let first = bank.pay("k", "1").await;
    bank.hear_of_postings(&[common::applied(first.id)]).await;
    let closed = common::updated(bank.payee.account, Some(bank.payee.id), AccountStatus::Closed);
    bank.hear_of_accounts(&[incoming(&closed, 2)]).await;

    let context = bank.payer.context();
    let again = bank.transactions.transfer_create(&context, bank.transfer("k", "1")).await.expect("replayed");
    assert!(again.replayed);
    assert_eq!((again.transaction.id, again.transaction.status), (first.id, Status::Completed));
    let new = bank.transactions.transfer_create(&context, bank.transfer("k2", "1")).await;
    assert_eq!(code(new), Code::AccountClosed);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let bank = Bank::open().await;
    bank.pay("k", "1").await;
    let context = bank.payer.context();
    let others = [
        bank.transfer("k", "1.01"),
        bank.transfer("k", "-1"),
        TransferCreate { destination_account_id: Uuid::nil(), ..bank.transfer("k", "1") },
        TransferCreate { reference: Some("other".into()), ..bank.transfer("k", "1") },
    ];
    for input in others {
        assert_eq!(code(bank.transactions.transfer_create(&context, input).await), Code::IdempotencyKeyReused);
    }
    let other_command = bank.transactions.withdrawal_initiate(&context, bank.cash("k", "1")).await;
    assert_eq!(code(other_command), Code::IdempotencyKeyReused);
    assert_eq!(bank.refusals().await.len(), 5);
    assert_eq!(bank.count("select count(*) from transaction.transaction").await, 1);
}

#[tokio::test]
async fn keys_of_different_people_have_nothing_to_do_with_each_other() {
    let bank = Bank::open().await;
    let mine = bank.pay("k", "1").await;
    let input = TransferCreate {
        source_account_id: bank.payee.account,
        destination_account_id: bank.payer.account,
        ..bank.transfer("k", "2")
    };
    let theirs = bank.transactions.transfer_create(&bank.payee.context(), input).await.expect("accepted");
    assert!(!theirs.replayed);
    assert_ne!(theirs.transaction.id, mine.id);
}

#[tokio::test]
async fn a_refused_command_leaves_its_key_free() {
    let bank = Bank::open().await;
    let context = bank.payer.context();
    assert_eq!(code(bank.transactions.transfer_create(&context, bank.transfer("k", "0")).await), Code::InvalidAmount);
    let accepted = bank.transactions.transfer_create(&context, bank.transfer("k", "1")).await.expect("accepted");
    assert!(!accepted.replayed);
}

#[tokio::test]
async fn repetitions_inside_one_group_happen_once() {
    let bank = Bank::open().await;
    let context = bank.payer.context();
    let inputs = (0..80).map(|number| bank.transfer(&format!("k{}", number % 4), "1"));
    let answers = join_all(inputs.map(|input| bank.transactions.transfer_create(&context, input))).await;
    let answers = answers.into_iter().map(|answer| answer.expect("accepted")).collect::<Vec<_>>();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 4);
    assert_eq!(answers.iter().map(|answer| answer.transaction.id).collect::<HashSet<_>>().len(), 4);
    assert_eq!(bank.count("select count(*) from transaction.transaction").await, 4);
    assert_eq!(bank.database.outbox_events().await.len(), 4);
}

#[tokio::test]
async fn two_instances_racing_for_the_same_keys_accept_each_once() {
    let bank = Bank::open().await;
    let (one, two, context) = (bank.transactions.clone(), bank.another_instance(), bank.payer.context());
    let inputs = |order: Vec<i32>| order.into_iter().map(|number| bank.transfer(&format!("k{number}"), "1"));
    // In opposite orders, so that the groups cross.
    let first = join_all(inputs((0..150).collect()).map(|input| one.transfer_create(&context, input)));
    let second = join_all(inputs((0..150).rev().collect()).map(|input| two.transfer_create(&context, input)));
    let (first, mut second) = tokio::join!(first, second);
    second.reverse();
    for (first, second) in first.into_iter().zip(second) {
        let (first, second) = (first.expect("accepted"), second.expect("accepted"));
        assert_eq!(first.transaction.id, second.transaction.id);
        assert_ne!(first.replayed, second.replayed);
    }
    assert_eq!(bank.count("select count(*) from transaction.transaction").await, 150);
    assert_eq!(bank.database.outbox_events().await.len(), 150);
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(bank.count(deadlocks).await, 0, "the groups wait for each other in one order");
}

/// Lets another instance hold the key in a transaction that is not committed yet, has the command wait for it, and ends
/// the other transaction one way or the other.
async fn race_with(ending: &'static str) -> (Bank, Uuid, vostro_transaction::Initiated) {
    let bank = Bank::open().await;
    let (context, input, other) = (bank.payer.context(), bank.transfer("k", "1"), Uuid::now_v7());
    let instruction = Instruction::transfer(
        "k".into(),
        input.source_account_id,
        input.destination_account_id,
        "1".into(),
        "EUR".into(),
        None,
    );
    let mut connection = bank.database.pool().acquire().await.expect("a connection");
    sqlx::raw_sql("begin").execute(&mut *connection).await.expect("begun");
    sqlx::query(
        "insert into transaction.transaction (id, initiator_id, idempotency_key, fingerprint, kind, source_account_id,
             destination_account_id, amount_minor, currency, initiated_at)
         values ($1, $2, 'k', $3, 'TRANSFER', $4, $5, 100, 'EUR', now())",
    )
    .bind(other)
    .bind(bank.payer.id)
    .bind(instruction.fingerprint().as_slice())
    .bind(input.source_account_id)
    .bind(input.destination_account_id)
    .execute(&mut *connection)
    .await
    .expect("inserted");

    let transactions = bank.transactions.clone();
    let racing = tokio::spawn(async move { transactions.transfer_create(&context, input).await });
    let blocked =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("it waits for a lock", || async { (bank.count(blocked).await > 0).then_some(()) }).await;
    sqlx::raw_sql(ending).execute(&mut *connection).await.expect("ended");
    drop(connection);
    let initiated = racing.await.expect("joined").expect("accepted");
    (bank, other, initiated)
}

#[tokio::test]
async fn a_key_that_another_instance_commits_meanwhile_is_a_repetition() {
    let (bank, other, initiated) = race_with("commit").await;
    assert!(initiated.replayed);
    assert_eq!(initiated.transaction.id, other);
    assert_eq!(bank.database.outbox_events().await.len(), 0);
}

#[tokio::test]
async fn a_key_that_another_instance_gives_up_meanwhile_is_free() {
    let (bank, other, initiated) = race_with("rollback").await;
    assert!(!initiated.replayed);
    assert_ne!(initiated.transaction.id, other);
    assert_eq!(bank.database.outbox_events().await.len(), 1);
}

#[tokio::test]
async fn an_operator_moves_money_between_any_accounts_and_other_staff_do_not() {
    let bank = Bank::open().await;
    let clearing = || TransferCreate {
        source_account_id: Instruction::cash_account("EUR"),
        destination_account_id: bank.payee.account,
        ..bank.transfer("k", "1")
    };
    assert!(bank.transactions.transfer_create(&operator(), clearing()).await.is_ok());
    for role in [Role::Admin, Role::ComplianceOfficer, Role::Customer] {
        let refused = bank.transactions.transfer_create(&somebody(&[role]), clearing()).await;
        assert_eq!(code(refused), Code::AccountNotFound, "{role}");
    }
}

#[tokio::test]
async fn without_a_database_a_command_fails_as_a_fault_that_may_pass() {
    let bank = Bank::open().await;
    bank.database.pool().close().await;
    let error = bank.transactions.transfer_create(&bank.payer.context(), bank.transfer("k", "1")).await;
    let error = error.expect_err("no database");
    assert!(error.refusal().is_none() && error.is_passing(), "{error:?}");
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_keeps_the_module_from_starting() {
    let bank = Bank::open().await;
    let config = Config { group_size: 0, ..Config::default() };
    let refused = vostro_transaction::Transactions::new(bank.database.foundation(), config);
    assert!(refused.err().expect("refused").to_string().contains("group_size"));
}
