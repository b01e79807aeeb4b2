//! Who follows violations hears of each, and of each document that is kept with one, once and in order, wherever it
//! happened.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::stream::{BoxStream, StreamExt as _};
use support::{Bank, completed, noon, officer};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_compliance::{Compliance, Config, EvidenceAttach, Position, ViolationUpdate};
use vostro_messaging::{Foundation, Incoming, Module as _, UpdateKind};

type Updates = BoxStream<'static, ViolationUpdate>;

/// Violation, sequence, and kind.
type Told = (Uuid, i64, UpdateKind);

async fn follow(compliance: &Compliance, after: Option<Position>) -> Updates {
    compliance.follow_work(&officer(), after).await.unwrap().map(Result::unwrap).boxed()
}

async fn next(updates: &mut Updates) -> ViolationUpdate {
    tokio::time::timeout(Duration::from_secs(30), updates.next()).await.expect("in time").expect("it goes on")
}

fn told(update: &ViolationUpdate) -> Told {
    (update.violation.violation_id, update.sequence(), update.kind)
}

/// A large transfer of somebody who makes no other.
fn large() -> Incoming {
    completed(Uuid::now_v7().as_u128(), 1_000_000, noon())
}

/// So many violations in one batch, at a time of their own.
async fn find(bank: &Bank, count: usize) {
    bank.pass(TimeDelta::seconds(1));
    let payments: Vec<_> = (0..count).map(|_| large()).collect();
    bank.store(&payments).await;
}

async fn attach(compliance: &Compliance, violation_id: Uuid, text: &str) {
    let (file_name, content) = ("note.txt".to_owned(), text.as_bytes().to_vec());
    let note = EvidenceAttach { violation_id, file_name, media_type: None, content };
    assert!(!compliance.evidence_attach(&officer(), note).await.unwrap().replayed);
}

/// Violations as they are listed, oldest first.
async fn all(bank: &Bank) -> Vec<Uuid> {
    let page = vostro_kernel::Page::backward(None, 5_000);
    let mut found = bank.compliance.violations(&officer(), page).await.unwrap();
    found.reverse();
    found.into_iter().map(|violation| violation.violation_id).collect()
}

/// Another instance on the same database.
fn another(bank: &Bank) -> (Compliance, Foundation) {
    let foundation = bank.database.foundation_at(bank.clock.clone());
    (Compliance::new(foundation.clone(), Config::default()).unwrap(), foundation)
}

#[tokio::test]
async fn what_happens_to_a_violation_is_told_with_a_sequence_that_grows() {
    let bank = Bank::open().await;
    find(&bank, 1).await;
    let mut updates = follow(&bank.compliance, None).await;
    let id = next(&mut updates).await.violation.violation_id;
    for sequence in 2..=4 {
        attach(&bank.compliance, id, &format!("note {sequence}")).await;
        let update = next(&mut updates).await;
        assert_eq!(told(&update), (id, sequence, UpdateKind::Change));
    }
    let mut late = follow(&bank.compliance, None).await;
    let state = next(&mut late).await;
    assert_eq!(told(&state), (id, 4, UpdateKind::Snapshot));
    assert_eq!(state.occurred_at(), state.evidence.unwrap().attached_at);
}

#[tokio::test]
async fn whoever_was_cut_off_anywhere_goes_on_with_what_came_next() {
    let bank = Bank::open().await;
    find(&bank, 2).await;
    let [first, second] = all(&bank).await[..] else { panic!("two violations") };
    attach(&bank.compliance, first, "before").await;
    attach(&bank.compliance, second, "before").await;
    let mut updates = follow(&bank.compliance, None).await;
    let mut seen = vec![next(&mut updates).await, next(&mut updates).await];
    attach(&bank.compliance, first, "after").await;
    find(&bank, 1).await;
    let third = *all(&bank).await.last().unwrap();
    attach(&bank.compliance, third, "after").await;
    for _ in 0..3 {
        seen.push(next(&mut updates).await);
    }
    for cut in 0..seen.len() {
        let mut again = follow(&bank.compliance, Some(seen[cut].position.clone())).await;
        let mut rest: Vec<_> = Vec::new();
        while rest.len() < seen.len() - cut - 1 {
            let update = next(&mut again).await;
            rest.push((update.violation.violation_id, update.sequence()));
        }
        // Of different violations a new one comes before documents.
        let mut expected: Vec<_> =
            seen[cut + 1..].iter().map(|each| (each.violation.violation_id, each.sequence())).collect();
        expected.sort_unstable();
        rest.sort_unstable();
        assert_eq!(rest, expected, "after update {cut}");
    }
}

#[tokio::test]
async fn a_violation_that_another_instance_found_before_is_not_lost_behind_one_that_was_found_here() {
    let bank = Bank::open().await;
    let (elsewhere, _) = another(&bank);
    let mut updates = follow(&bank.compliance, None).await;
    bank.pass(TimeDelta::seconds(1));
    // Nobody has told this instance when it finds one itself.
    let archive = elsewhere.handlers().remove(0).handler;
    vostro_testkit::deliver(bank.database.pool(), &archive, &[large()]).await.unwrap();
    find(&bank, 1).await;
    let heard = [next(&mut updates).await, next(&mut updates).await].map(|update| update.violation.violation_id);
    assert_eq!(heard.as_slice(), all(&bank).await);
}

#[tokio::test]
async fn a_document_of_another_instance_is_told_within_a_look() {
    let bank = Bank::open().await;
    find(&bank, 1).await;
    let (elsewhere, foundation) = another(&bank);
    foundation.company.set(1);
    let stop = CancellationToken::new();
    let looking: Vec<_> = elsewhere.background(stop.clone()).into_iter().map(tokio::spawn).collect();
    let mut updates = follow(&elsewhere, None).await;
    let id = next(&mut updates).await.violation.violation_id;
    attach(&bank.compliance, id, "a note").await;
    assert_eq!(told(&next(&mut updates).await), (id, 2, UpdateKind::Change));
    stop.cancel();
    for task in looking {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn who_reads_slowly_gets_each_violation_when_what_waits_has_overflowed() {
    let bank = Bank::open().await;
    let mut slow = follow(&bank.compliance, None).await;
    for _ in 0..3 {
        find(&bank, 200).await;
    }
    let mut heard = Vec::new();
    for _ in 0..600 {
        let update = next(&mut slow).await;
        assert_eq!(update.kind, UpdateKind::Change);
        heard.push(update.violation.violation_id);
    }
    assert_eq!(heard, all(&bank).await);
}

#[tokio::test]
async fn who_reads_too_slowly_gets_the_state_with_one_mark_and_then_goes_on() {
    let bank = Bank::open().await;
    find(&bank, 1).await;
    let mut slow = follow(&bank.compliance, None).await;
    let old = next(&mut slow).await.violation.violation_id;
    for _ in 0..6 {
        find(&bank, 200).await;
    }
    let known = all(&bank).await;
    attach(&bank.compliance, old, "a note nobody waits for").await;
    attach(&bank.compliance, known[1_200], "a note").await;
    let mut state = Vec::new();
    for _ in 0..20 {
        state.push(told(&next(&mut slow).await));
    }
    let kinds: Vec<_> = state.iter().map(|(_, _, kind)| *kind).collect();
    assert_eq!((kinds[0], &kinds[1..]), (UpdateKind::Lagged, &[UpdateKind::Change; 19][..]));
    assert_eq!(state.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), known[1_181..]);
    assert_eq!(state[19].1, 2, "with its document");
    find(&bank, 1).await;
    let last = next(&mut slow).await;
    assert_eq!(told(&last), (*all(&bank).await.last().unwrap(), 1, UpdateKind::Change));
}

#[tokio::test]
async fn documents_of_many_officers_at_once_are_numbered_without_gaps() {
    let bank = Bank::open().await;
    find(&bank, 2).await;
    let ids = all(&bank).await;
    let compliance = Arc::new(bank.compliance.clone());
    let mut updates = follow(&bank.compliance, None).await;
    let texts: Vec<_> = (0..12).map(|number| format!("note {number}")).collect();
    let attaching = texts.iter().enumerate().map(|(number, text)| attach(&compliance, ids[number % 2], text));
    futures::future::join_all(attaching).await;
    let mut heard = Vec::new();
    for _ in 0..14 {
        let update = next(&mut updates).await;
        heard.push((update.violation.violation_id, update.sequence()));
    }
    for id in ids {
        let of_one: Vec<_> = heard.iter().filter(|(each, _)| *each == id).map(|(_, sequence)| *sequence).collect();
        assert_eq!(of_one, [1, 2, 3, 4, 5, 6, 7], "each once, in order");
    }
}
