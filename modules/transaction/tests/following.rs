//! Waiting for an outcome, and watching transactions change.

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::{Bank, applied, handler_of, operator, rejected, somebody};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_kernel::Role;
use vostro_messaging::{Module as _, UpdateKind};
use vostro_testkit::{deliver, eventually};
use vostro_transaction::domain::Status;
use vostro_transaction::{
    Config, Initiated, Position, Since, Subject, TransactionError, TransactionErrorCode as Code, Transactions,
    TransferCreate, Update, WaitFor,
};

/// Long enough for any machine; a test that gets here has failed.
const NEVER: Duration = Duration::from_secs(60);

fn patient() -> Config {
    Config { wait_ms: 60_000, ..Config::default() }
}

fn waiting(bank: &Bank, key: &str) -> tokio::task::JoinHandle<Result<Initiated, TransactionError>> {
    let input = TransferCreate { wait_for: WaitFor::Outcome, ..bank.transfer(key, "1") };
    let (transactions, context) = (bank.transactions.clone(), bank.payer.context());
    tokio::spawn(async move { transactions.transfer_create(&context, input).await })
}

/// The id of the transaction that was initiated last, once there are `count`.
async fn initiated(bank: &Bank, count: usize) -> Uuid {
    let events = eventually("so many are initiated", || async {
        Some(bank.database.published("transaction.initiated.v1").await).filter(|events| events.len() >= count)
    })
    .await;
    let id = events.last().and_then(|event| event["transactionId"].as_str()).expect("an id");
    id.parse().expect("a UUID")
}

#[tokio::test]
async fn a_caller_who_waits_gets_the_outcome() {
    let bank = Bank::open_with(patient()).await;
    for (number, status) in [(1, Status::Completed), (2, Status::Failed)] {
        let waiting = waiting(&bank, &number.to_string());
        let id = initiated(&bank, number).await;
        let event = if status == Status::Completed { applied(id) } else { rejected(id) };
        bank.hear_of_postings(&[event]).await;
        let answer = tokio::time::timeout(NEVER, waiting).await.expect("in time").expect("joined").expect("accepted");
        assert_eq!((answer.transaction.id, answer.transaction.status), (id, status));
        assert!(!answer.replayed);
    }
}

#[tokio::test]
async fn a_caller_who_does_not_wait_gets_the_initiated_transaction() {
    let bank = Bank::open().await;
    assert_eq!(bank.pay("k", "1").await.status, Status::Initiated);
}

#[tokio::test]
async fn after_the_deadline_the_caller_gets_whatever_there_is() {
    let bank = Bank::open_with(Config { wait_ms: 20, ..Config::default() }).await;
    let answer = waiting(&bank, "k").await.expect("joined").expect("accepted");
    assert_eq!(answer.transaction.status, Status::Initiated);
}

#[tokio::test]
async fn an_outcome_that_another_instance_applied_is_found_long_before_the_deadline() {
    let bank = Bank::open_with(patient()).await;
    let waiting = waiting(&bank, "k");
    let id = initiated(&bank, 1).await;
    let other = bank.another_instance();
    deliver(bank.database.pool(), &handler_of(&other, "postings"), &[applied(id)]).await.expect("handled");
    // Half the deadline: whoever only looks at the deadline does not get here.
    let answer = tokio::time::timeout(NEVER / 2, waiting).await.expect("in time").expect("joined").expect("accepted");
    assert_eq!((answer.transaction.id, answer.transaction.status), (id, Status::Completed));
}

#[tokio::test]
async fn several_who_wait_for_another_instance_are_all_answered() {
    let bank = Bank::open_with(patient()).await;
    let callers: Vec<_> = (0..20).map(|number| waiting(&bank, &number.to_string())).collect();
    initiated(&bank, 20).await;
    let other = bank.another_instance();
    let events = bank.database.published("transaction.initiated.v1").await;
    let outcomes: Vec<_> = events
        .iter()
        .map(|event| applied(event["transactionId"].as_str().and_then(|id| id.parse().ok()).expect("an id")))
        .collect();
    deliver(bank.database.pool(), &handler_of(&other, "postings"), &outcomes).await.expect("handled");
    for caller in callers {
        let answer =
            tokio::time::timeout(NEVER / 2, caller).await.expect("in time").expect("joined").expect("accepted");
        assert_eq!(answer.transaction.status, Status::Completed);
    }
}

#[tokio::test]
async fn a_repetition_waits_for_the_first_commands_outcome() {
    let bank = Bank::open_with(patient()).await;
    let first = bank.pay("k", "1").await;
    let again = waiting(&bank, "k");
    let too = waiting(&bank, "k");
    bank.hear_of_postings(&[applied(first.id)]).await;
    for waiting in [again, too] {
        let answer = tokio::time::timeout(NEVER, waiting).await.expect("in time").expect("joined").expect("accepted");
        assert!(answer.replayed);
        assert_eq!((answer.transaction.id, answer.transaction.status), (first.id, Status::Completed));
    }
    let late = waiting(&bank, "k").await.expect("joined").expect("accepted");
    assert_eq!(late.transaction.status, Status::Completed);
}

type Updates = BoxStream<'static, Result<Update, TransactionError>>;

async fn next(updates: &mut Updates) -> Option<(Uuid, i64)> {
    let update = tokio::time::timeout(NEVER, updates.next()).await.expect("in time")?;
    let update = update.expect("an update");
    Some((update.transaction.id, update.sequence()))
}

#[tokio::test]
async fn the_updates_of_a_transaction_begin_with_its_state_and_end_with_its_outcome() {
    let bank = Bank::open().await;
    let transaction = bank.pay("k", "1").await;
    let subject = Subject::Transaction(transaction.id);
    let context = bank.payee.context();
    let mut updates = bank.transactions.updates(&context, subject, Since::Now(0)).await.expect("a stream");
    assert_eq!(next(&mut updates).await, Some((transaction.id, 1)));
    bank.pay("another", "1").await;
    bank.hear_of_postings(&[applied(transaction.id)]).await;
    assert_eq!(next(&mut updates).await, Some((transaction.id, 2)));
    assert_eq!(next(&mut updates).await, None);

    let mut updates = bank.transactions.updates(&context, subject, Since::Now(0)).await.expect("a stream");
    assert_eq!(next(&mut updates).await, Some((transaction.id, 2)));
    assert_eq!(next(&mut updates).await, None);
}

#[tokio::test]
async fn updates_already_seen_are_not_told_again() {
    let bank = Bank::open().await;
    let transaction = bank.pay("k", "1").await;
    let (context, subject) = (bank.payer.context(), Subject::Transaction(transaction.id));
    let mut updates = bank.transactions.updates(&context, subject, Since::Now(1)).await.expect("a stream");
    bank.hear_of_postings(&[applied(transaction.id)]).await;
    assert_eq!(next(&mut updates).await, Some((transaction.id, 2)));
    assert_eq!(next(&mut updates).await, None);
    let mut updates = bank.transactions.updates(&context, subject, Since::Now(2)).await.expect("a stream");
    assert_eq!(next(&mut updates).await, None);
}

#[tokio::test]
async fn the_updates_of_an_account_begin_with_its_latest_transactions_oldest_first() {
    let bank = Bank::open().await;
    let mut ids = Vec::new();
    for number in 0..22 {
        ids.push(bank.pay(&number.to_string(), "1").await.id);
    }
    let (context, subject) = (bank.payer.context(), Subject::Account(bank.payer.account));
    let mut updates = bank.transactions.updates(&context, subject, Since::Now(0)).await.expect("a stream");
    for id in &ids[2..] {
        assert_eq!(next(&mut updates).await, Some((*id, 1)));
    }
    let elsewhere = TransferCreate {
        source_account_id: bank.new_account(bank.payee.id).await,
        destination_account_id: bank.payee.account,
        ..bank.transfer("elsewhere", "1")
    };
    bank.transactions.transfer_create(&bank.payee.context(), elsewhere).await.expect("accepted");
    let new = bank.pay("new", "1").await.id;
    bank.hear_of_postings(&[applied(ids[0]), rejected(new)]).await;
    let mut told = vec![next(&mut updates).await, next(&mut updates).await, next(&mut updates).await];
    assert_eq!(told.remove(0), Some((new, 1)));
    told.sort();
    let mut expected = vec![Some((ids[0], 2)), Some((new, 2))];
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_listener_who_was_too_slow_gets_what_has_changed_since() {
    let bank = Bank::open().await;
    let (context, subject) = (bank.payer.context(), Subject::Account(bank.payer.account));
    // One that was accepted long ago and is open still, which the watch over outcomes has found.
    let old = Uuid::from_u128(((bank.pay("old", "1").await.id.as_u128() >> 80) - 7_200_000) << 80);
    let aged = format!("update transaction.transaction set id = '{old}', initiated_at = now() - interval '2 hours'");
    bank.database.tamper(&aged).await;
    bank.transactions.decision_watch().turn().await.expect("the database answers");
    let earlier = bank.pay("earlier", "1").await.id;
    for number in 0..20 {
        bank.pay(&format!("beginning-{number}"), "1").await;
    }
    let mut updates = bank.transactions.updates(&context, subject, Since::Now(0)).await.expect("a stream");
    for _ in 0..20 {
        assert_ne!(next(&mut updates).await, Some((earlier, 1)), "it is no part of the beginning");
    }
    bank.hear_of_postings(&[applied(earlier), applied(old)]).await;
    let payer = &context;
    let mut last = None;
    // More than the feed keeps for anybody.
    for round in 0..42 {
        let pay =
            |number: i32| bank.transactions.transfer_create(payer, bank.transfer(&format!("{round}-{number}"), "1"));
        let paid = futures::future::join_all((0..100).map(pay)).await;
        let ids = paid.into_iter().map(|initiated| initiated.expect("accepted").transaction.id);
        last = last.max(ids.max());
    }
    // As many as one look is about, and the ends of the earlier ones.
    let mut told = Vec::new();
    let kinds: Vec<_> = (&mut updates)
        .take(1_002)
        .map(|update| {
            let update = update.expect("an update");
            told.push((update.transaction.id, update.sequence()));
            update.kind
        })
        .collect()
        .await;
    assert_eq!(kinds.iter().filter(|kind| **kind == UpdateKind::Lagged).count(), 1, "it says that some are left out");
    assert!(told.contains(&(earlier, 2)) && told.contains(&(old, 2)), "they have ended meanwhile");
    assert!(told.contains(&(last.expect("many"), 1)), "the newest is among them");
    // And nothing of what this replaced comes after it.
    for key in ["new", "newer"] {
        let new = bank.pay(key, "1").await.id;
        assert_eq!(next(&mut updates).await, Some((new, 1)));
    }
}

#[tokio::test]
async fn only_those_involved_and_staff_may_follow() {
    let bank = Bank::open().await;
    let id = bank.pay("k", "1").await.id;
    let refusal = |result: Result<Updates, TransactionError>| match result {
        Ok(_) => None,
        Err(error) => Some(error.refusal().expect("a refusal").code),
    };
    let transaction = Subject::Transaction(id);
    let account = Subject::Account(bank.payer.account);
    // Who, what they are told about the transaction, and about the payer's account.
    let matrix = [
        ("the payer", bank.payer.context(), None, None),
        ("the payee", bank.payee.context(), None, Some(Code::AccountNotFound)),
        ("an operator", operator(), None, None),
        ("an auditor", somebody(&[Role::ComplianceOfficer]), None, None),
        ("a stranger", somebody(&[Role::Customer]), Some(Code::NotFound), Some(Code::AccountNotFound)),
    ];
    for (who, context, of_transaction, of_account) in matrix {
        assert_eq!(
            refusal(bank.transactions.updates(&context, transaction, Since::Now(0)).await),
            of_transaction,
            "{who}"
        );
        assert_eq!(refusal(bank.transactions.updates(&context, account, Since::Now(0)).await), of_account, "{who}");
    }
    let nothing = Subject::Transaction(Uuid::now_v7());
    assert_eq!(refusal(bank.transactions.updates(&operator(), nothing, Since::Now(0)).await), Some(Code::NotFound));
}

/// The id, the sequence and the kind of everything that is ready just now, and the position behind each.
async fn ready(updates: &mut Updates) -> Vec<((Uuid, i64, UpdateKind), Position)> {
    let mut all = Vec::new();
    while let Some(Some(update)) = updates.next().now_or_never() {
        let update = update.expect("an update");
        all.push(((update.transaction.id, update.sequence(), update.kind), update.position));
    }
    all
}

#[tokio::test]
async fn whoever_comes_back_gets_what_it_has_not_seen_once_wherever_it_was_cut_off() {
    let bank = Bank::open().await;
    let (context, subject) = (bank.payer.context(), Subject::Account(bank.payer.account));
    let follow = async |since| bank.transactions.updates(&context, subject, since).await.expect("a stream");
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(bank.pay(&number.to_string(), "1").await.id);
    }
    let other = handler_of(&bank.another_instance(), "postings");
    deliver(bank.database.pool(), &other, &[applied(ids[0])]).await.expect("handled");
    let seen = ready(&mut follow(Since::Now(0)).await).await;
    assert_eq!(seen.len(), 6, "the beginning");
    // Told to nobody here, told here, and told twice.
    deliver(bank.database.pool(), &other, &[applied(ids[1]), applied(ids[4])]).await.expect("handled");
    bank.hear_of_postings(&[rejected(ids[2])]).await;
    bank.hear_of_postings(&[rejected(ids[2])]).await;
    ids.push(bank.pay("new", "1").await.id);

    let ended = [ids[0], ids[1], ids[2], ids[4]];
    let state = |id: &Uuid| (*id, if ended.contains(id) { 2 } else { 1 });
    for (cut, (_, position)) in seen.iter().enumerate() {
        let known: HashSet<_> = seen[..=cut].iter().map(|((id, sequence, _), _)| (*id, *sequence)).collect();
        let position: Position = position.to_string().parse().expect("a position");
        let mut again = follow(Since::Position(position)).await;
        let told = ready(&mut again).await;
        let mut missing: Vec<_> = ids.iter().map(state).filter(|state| !known.contains(state)).collect();
        let mut new: Vec<_> = told.iter().map(|((id, sequence, _), _)| (*id, *sequence)).collect();
        missing.sort_unstable();
        new.sort_unstable();
        assert_eq!(new, missing, "cut off after {cut}");
        assert!(told.iter().all(|((.., kind), _)| *kind == UpdateKind::Change));
        // And where that ended, nothing is left.
        let (_, last) = told.last().expect("something was new");
        assert!(ready(&mut follow(Since::Position(last.clone())).await).await.is_empty());
    }
}

/// Where somebody was cut off, and the sequences of transactions that were seen by then.
type CutOff = (Option<Position>, Vec<(Uuid, i64)>);

#[tokio::test]
async fn a_crowd_that_reconnects_again_and_again_while_money_moves_misses_and_repeats_nothing() {
    let bank = Bank::open().await;
    let (context, subject) = (bank.payee.context(), Subject::Account(bank.payee.account));
    let other = bank.another_instance();
    let mut crowd: Vec<CutOff> = vec![(None, Vec::new()); 12];
    let mut open: Vec<Uuid> = Vec::new();
    let mut told = Vec::new();
    for round in 0..12 {
        // One payment begins here or elsewhere, and the oldest of three ends here or elsewhere.
        let at = if round % 2 == 0 { &bank.transactions } else { &other };
        let input = bank.transfer(&round.to_string(), "1");
        let begun = at.transfer_create(&bank.payer.context(), input).await.expect("accepted").transaction.id;
        open.push(begun);
        told.push((begun, 1));
        if open.len() > 2 {
            let ended = open.remove(0);
            let at = if round % 3 == 0 { &bank.transactions } else { &other };
            deliver(bank.database.pool(), &handler_of(at, "postings"), &[applied(ended)]).await.expect("handled");
            told.push((ended, 2));
        }
        // Everybody is cut off, some in the middle of what is ready.
        for (place, (position, seen)) in crowd.iter_mut().enumerate() {
            let since = position.clone().map_or(Since::Now(0), Since::Position);
            let mut updates = bank.transactions.updates(&context, subject, since).await.expect("a stream");
            let patience = if round == 11 { usize::MAX } else { (place + round) % 3 };
            for ((id, sequence, _), at) in ready(&mut updates).await.into_iter().take(patience) {
                seen.push((id, sequence));
                *position = Some(at);
            }
        }
    }
    for (_, seen) in &crowd {
        let once: HashSet<_> = seen.iter().copied().collect();
        assert_eq!(once.len(), seen.len(), "nothing twice");
        let in_order =
            |id: Uuid| seen.iter().filter(|(seen, _)| *seen == id).map(|(_, sequence)| *sequence).is_sorted();
        assert!(told.iter().all(|(id, _)| in_order(*id)), "each transaction in its order");
        // Of a transaction that has ended meanwhile its end is enough.
        let last = |id: Uuid| told.iter().filter(|(told, _)| *told == id).map(|(_, sequence)| *sequence).max();
        assert!(told.iter().all(|(id, _)| last(*id).is_some_and(|sequence| once.contains(&(*id, sequence)))));
    }
}

#[tokio::test]
async fn a_position_of_the_wrong_kind_shows_nothing_of_others() {
    let bank = Bank::open().await;
    let own = bank.pay("own", "1").await.id;
    let account = bank.new_account(bank.payee.id).await;
    let (context, subject) = (bank.payee.context(), Subject::Account(account));
    let made_up: Position = format!("1.{}.", own.simple()).parse().expect("a position");
    bank.hear_of_postings(&[applied(own)]).await;
    let mut updates = bank.transactions.updates(&context, subject, Since::Position(made_up)).await.expect("a stream");
    assert!(ready(&mut updates).await.is_empty(), "it is no transaction of this account");
}

#[tokio::test]
async fn what_another_instance_changes_is_told_to_all_followers_by_one_look() {
    let bank = Bank::open().await;
    let foundation = bank.database.foundation();
    let company = foundation.company.clone();
    let here = Transactions::new(foundation, Config::default()).expect("a valid configuration");
    let stop = CancellationToken::new();
    let working: Vec<_> = here.background(stop.clone()).into_iter().map(tokio::spawn).collect();

    let first = bank.pay("first", "1").await.id;
    let (payer, payee) = (bank.payer.context(), bank.payee.context());
    let mut followers = vec![
        here.updates(&payer, Subject::Account(bank.payer.account), Since::Now(0)).await.expect("a stream"),
        here.updates(&payee, Subject::Account(bank.payee.account), Since::Now(0)).await.expect("a stream"),
        here.updates(&payee, Subject::Transaction(first), Since::Now(0)).await.expect("a stream"),
    ];
    for follower in &mut followers {
        assert_eq!(next(follower).await, Some((first, 1)));
    }
    company.set(1);
    bank.hear_of_postings(&[applied(first)]).await;
    for follower in &mut followers {
        assert_eq!(next(follower).await, Some((first, 2)));
    }
    let second = bank.pay("second", "1").await.id;
    for follower in &mut followers[..2] {
        assert_eq!(next(follower).await, Some((second, 1)));
    }
    assert_eq!(next(&mut followers[2]).await, None, "it has ended");
    stop.cancel();
    futures::future::join_all(working).await;
}
