//! Transactions whose outcome does not come: found, reported, asked about, and ended by the ledger's word alone.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use common::{Bank, applied, booked_at, rejected};
use uuid::Uuid;
use vostro_events::query::account::{PostingDecisionV1, PostingDecisionsAnswerV1, PostingDecisionsV1};
use vostro_kernel::{Clock as _, FixedClock, RequestContext};
use vostro_messaging::rpc::{Asking, Callee, respond_to};
use vostro_testkit::{Wire, WireMood, eventually};
use vostro_transaction::domain::{Status, Transaction};
use vostro_transaction::{Config, Reach, Transactions};

const OVERDUE: &str = "select count(*) from transaction.overdue";

/// A ledger that has decided what the test says.
#[derive(Clone, Default)]
struct Ledger {
    decided: Arc<Mutex<HashMap<Uuid, Option<&'static str>>>>,
}

impl Ledger {
    fn decides(&self, transaction: &Transaction, refusal: Option<&'static str>) {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).insert(transaction.id, refusal);
    }

    fn answer(&self, question: &PostingDecisionsV1) -> PostingDecisionsAnswerV1 {
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |id: &Uuid| {
            let refusal_code = decided.get(id)?.map(str::to_owned);
            Some(PostingDecisionV1 { transaction_id: *id, decided_at: booked_at(), refusal_code })
        };
        PostingDecisionsAnswerV1 { decided: question.transaction_ids.iter().filter_map(of).collect() }
    }
}

/// The module with a clock that is set by the test and a wire to the ledger.
struct Watched {
    bank: Bank,
    transactions: Transactions,
    clock: Arc<FixedClock>,
    ledger: Ledger,
    wire: Wire,
}

impl Watched {
    async fn open() -> Self {
        let bank = Bank::open().await;
        let ledger = Ledger::default();
        let answering = ledger.clone();
        let responder = respond_to(move |question: PostingDecisionsV1| {
            let answer = answering.answer(&question);
            async move { Ok(answer) }
        });
        let callee = Callee::new("account", vec![responder], &[vostro_transaction::manifest()]);
        let wire = Wire::new("transaction", vec![callee]);
        let clock = Arc::new(FixedClock::at(Utc::now()));
        let transactions = Self::instance(&bank, &clock, &wire);
        Self { bank, transactions, clock, ledger, wire }
    }

    fn instance(bank: &Bank, clock: &Arc<FixedClock>, wire: &Wire) -> Transactions {
        let mut foundation = bank.database.foundation_at(Arc::clone(clock) as _);
        foundation.asking = Asking::new("transaction");
        foundation.asking.connect(Arc::new(wire.clone()));
        Transactions::new(foundation, Config::default()).expect("a valid configuration")
    }

    /// A payment, however long it takes, that is accepted when the watch's clock says so.
    async fn pay(&self, key: &str) -> Transaction {
        let transaction = self.bank.pay(key, "1").await;
        self.accepted_now();
        transaction
    }

    /// Sets the watch's clock, which stands still, to that by which commands are accepted.
    fn accepted_now(&self) {
        self.clock.advance(Utc::now() - self.clock.now());
    }

    /// The watch takes a turn `seconds` later.
    async fn turn_after(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
        self.transactions.decision_watch().turn().await.expect("the database answers");
    }

    async fn overdue(&self) -> i64 {
        self.bank.count(OVERDUE).await
    }

    async fn status(&self, transaction: &Transaction) -> Status {
        self.bank.read(transaction.id).await.status
    }

    /// Types and ids of the events about a transaction, in order.
    async fn events(&self, transaction: &Transaction) -> Vec<(String, Uuid)> {
        let events = self.bank.database.outbox_events().await.into_iter();
        let own = events.filter(|(envelope, _)| envelope.aggregate_id == transaction.id);
        own.map(|(envelope, _)| (envelope.event_type.to_string(), envelope.id)).collect()
    }

    async fn ends(&self, transaction: &Transaction) -> usize {
        let events = self.events(transaction).await;
        events.iter().filter(|(event_type, _)| event_type != "transaction.initiated.v1").count()
    }
}

#[tokio::test]
async fn what_is_decided_in_time_is_never_asked_about() {
    let watched = Watched::open().await;
    let (ended, young) = (watched.bank.pay("1", "1").await, watched.bank.pay("2", "1").await);
    watched.bank.hear_of_postings(&[applied(ended.id)]).await;
    watched.turn_after(30).await;
    assert_eq!((watched.overdue().await, watched.wire.carried()), (0, 0), "a minute is not over");
    watched.bank.hear_of_postings(&[applied(young.id)]).await;
    watched.turn_after(60).await;
    assert_eq!((watched.overdue().await, watched.wire.carried()), (0, 0));
}

#[tokio::test]
async fn a_transaction_the_ledger_has_not_decided_is_overdue_and_stays_what_it_is() {
    let watched = Watched::open().await;
    let transaction = watched.pay("1").await;
    watched.turn_after(61).await;
    assert_eq!((watched.overdue().await, watched.wire.carried()), (1, 1));
    // However long it takes.
    for _ in 0..20 {
        watched.turn_after(3_600).await;
    }
    assert_eq!((watched.overdue().await, watched.status(&transaction).await), (1, Status::Initiated));
    assert_eq!(watched.ends(&transaction).await, 0);

    watched.bank.hear_of_postings(&[applied(transaction.id)]).await;
    watched.turn_after(1).await;
    assert_eq!((watched.overdue().await, watched.status(&transaction).await), (0, Status::Completed));
    assert_eq!(watched.ends(&transaction).await, 1);
}

#[tokio::test]
async fn what_the_ledger_has_not_seen_is_sent_again_as_the_same_event_after_a_second_look() {
    let watched = Watched::open().await;
    let transaction = watched.pay("1").await;
    let initiated = ("transaction.initiated.v1".to_owned(), transaction.id);
    watched.turn_after(61).await;
    assert_eq!(watched.events(&transaction).await, std::slice::from_ref(&initiated), "it may just be slow");
    watched.turn_after(5).await;
    assert_eq!(watched.wire.carried(), 1, "the second look has its time");
    watched.turn_after(6).await;
    assert_eq!(watched.wire.carried(), 2);
    assert_eq!(watched.events(&transaction).await, [initiated.clone(), initiated]);
    let events = watched.bank.database.outbox_events().await;
    let said = |index: usize| (&events[index].1, events[index].0.sequence, events[index].0.occurred_at);
    assert_eq!(said(0), said(1), "it says the same");
    let (first, again) = (&events[0].0.cause, &events[1].0.cause);
    assert_eq!((again.actor_kind, again.actor_id), (first.actor_kind, first.actor_id), "it is the payer's order still");
    assert_eq!((again.actor_id, again.command.as_deref()), (Some(watched.bank.payer.id), Some("decisionInquiry")));
}

#[tokio::test]
async fn what_is_accepted_after_the_clock_was_set_back_is_looked_for_as_well() {
    let watched = Watched::open().await;
    let before = watched.pay("before").await;
    watched.turn_after(61).await;
    assert_eq!(watched.overdue().await, 1);
    watched.clock.advance(TimeDelta::hours(-1));
    let after = watched.bank.pay("after", "1").await;
    // Its id is of its hour, as that of a bank which began after the jump is.
    let millis = u128::try_from(watched.clock.now().timestamp_millis()).expect("after 1970");
    let id = Uuid::from_u128(millis << 80 | after.id.as_u128() & ((1 << 80) - 1));
    let aged = format!("update transaction.transaction set id = '{id}' where id = '{}'", after.id);
    watched.bank.database.tamper(&aged).await;
    watched.turn_after(30).await;
    assert_eq!(watched.overdue().await, 1, "its minute is not over");
    watched.turn_after(31).await;
    assert_eq!(watched.overdue().await, 2);
    watched.bank.hear_of_postings(&[applied(before.id), applied(id)]).await;
    watched.turn_after(1).await;
    assert_eq!(watched.overdue().await, 0);
    // When the clock is right again nothing is looked for twice.
    watched.turn_after(3_600).await;
    assert_eq!(watched.overdue().await, 0);
}

#[tokio::test]
async fn a_lost_outcome_is_repaired_once_and_the_late_one_changes_nothing() {
    let watched = Watched::open().await;
    let transaction = watched.pay("1").await;
    watched.ledger.decides(&transaction, None);
    watched.turn_after(61).await;
    let repaired = watched.bank.read(transaction.id).await;
    assert_eq!((repaired.status, repaired.completed_at), (Status::Completed, Some(booked_at())));
    assert_eq!(watched.ends(&transaction).await, 1);
    let (envelope, _) = watched.bank.database.outbox_events().await.pop().expect("the end");
    assert_eq!((envelope.sequence, envelope.cause.command.as_deref()), (2, Some("decisionInquiry")));

    watched.bank.hear_of_postings(&[applied(transaction.id)]).await;
    watched.turn_after(3_600).await;
    assert_eq!((watched.ends(&transaction).await, watched.overdue().await), (1, 0));
    assert_eq!(watched.wire.carried(), 1);
}

#[tokio::test]
async fn what_is_sent_again_or_repaired_stays_in_the_trace_of_its_order() {
    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const IGNORED: &str = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let watched = Watched::open().await;
    let mut paid = Vec::new();
    for traceparent in [SAMPLED, IGNORED] {
        let context = RequestContext { traceparent: Some(traceparent.to_owned()), ..watched.bank.payer.context() };
        let transfer = watched.bank.transfer(&traceparent[3..20], "1");
        let initiated = watched.transactions.transfer_create(&context, transfer).await;
        paid.push(Transaction::clone(&initiated.expect("accepted").transaction));
    }
    watched.accepted_now();
    // The first two looks find nothing; the order is sent again, and then the ledger has decided.
    watched.turn_after(61).await;
    watched.turn_after(11).await;
    for transaction in &paid {
        watched.ledger.decides(transaction, None);
    }
    watched.turn_after(3_600).await;
    let events = watched.bank.database.outbox_events().await;
    let traces = |transaction: &Transaction, event_type: &str| -> Vec<Option<String>> {
        let own = events.iter().filter(|(envelope, _)| envelope.aggregate_id == transaction.id);
        let own = own.filter(|(envelope, _)| envelope.event_type.as_str() == event_type);
        own.map(|(envelope, _)| envelope.cause.traceparent.clone()).collect()
    };
    let sampled = Some(SAMPLED.to_owned());
    assert_eq!(traces(&paid[0], "transaction.initiated.v1"), [sampled.clone(), sampled.clone()]);
    assert_eq!(traces(&paid[0], "transaction.completed.v1"), [sampled]);
    assert_eq!(traces(&paid[1], "transaction.completed.v1"), [None], "nobody records that one");
}

#[tokio::test]
async fn a_refusal_that_was_lost_fails_the_transaction_with_the_ledgers_reason() {
    let watched = Watched::open().await;
    let transaction = watched.pay("1").await;
    watched.ledger.decides(&transaction, Some("ACC_INSUFFICIENT_FUNDS"));
    watched.turn_after(61).await;
    let repaired = watched.bank.read(transaction.id).await;
    assert_eq!((repaired.status, repaired.failure_code.as_deref()), (Status::Failed, Some("ACC_INSUFFICIENT_FUNDS")));
    watched.bank.hear_of_postings(&[rejected(transaction.id)]).await;
    assert_eq!(watched.ends(&transaction).await, 1);
}

#[tokio::test]
async fn without_an_answer_nothing_is_concluded_and_the_ledger_is_asked_again() {
    let watched = Watched::open().await;
    let transaction = watched.pay("1").await;
    watched.ledger.decides(&transaction, None);
    watched.wire.set(WireMood::IsCut);
    watched.turn_after(61).await;
    watched.turn_after(11).await;
    assert_eq!((watched.overdue().await, watched.status(&transaction).await), (1, Status::Initiated));
    assert_eq!(watched.events(&transaction).await.len(), 1, "nor is it sent again");
    watched.wire.set(WireMood::Carries);
    watched.turn_after(21).await;
    assert_eq!(watched.status(&transaction).await, Status::Completed);
}

#[tokio::test]
async fn instances_side_by_side_repair_once() {
    let watched = Watched::open().await;
    let mut transactions = Vec::new();
    for key in ["1", "2", "3", "4", "5"] {
        let transaction = watched.pay(key).await;
        watched.ledger.decides(&transaction, None);
        transactions.push(transaction);
    }
    let other = Watched::instance(&watched.bank, &watched.clock, &watched.wire);
    watched.clock.advance(TimeDelta::seconds(61));
    let (first, second) = (watched.transactions.decision_watch(), other.decision_watch());
    let late = [applied(transactions[0].id), applied(transactions[1].id)];
    let (one, two, ()) = tokio::join!(first.turn(), second.turn(), watched.bank.hear_of_postings(&late));
    one.and(two).expect("the database answers");
    watched.turn_after(3_600).await;
    for transaction in &transactions {
        assert_eq!(watched.status(transaction).await, Status::Completed);
        assert_eq!(watched.ends(transaction).await, 1);
    }
    assert_eq!(watched.overdue().await, 0);
}

#[tokio::test]
async fn a_transaction_that_was_committed_late_is_found_although_newer_ones_were_looked_at() {
    let watched = Watched::open().await;
    watched.bank.pay("1", "1").await;
    let newer = newest_of(watched.clock.now() + TimeDelta::seconds(30));
    watched.bank.database.tamper(&format!("update transaction.decision_watch set seen_through = '{newer}'")).await;
    watched.turn_after(91).await;
    assert_eq!(watched.overdue().await, 1);
}

/// The id of a transaction that is initiated then.
fn newest_of(instant: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(instant.timestamp_millis()).expect("after 1970");
    Uuid::from_u128((millis << 80) | 0x7fff_bfff_ffff_ffff_ffff)
}

#[tokio::test]
async fn a_transaction_is_looked_at_for_another_minute_and_not_for_ever() {
    let watched = Watched::open().await;
    let transaction = watched.pay("1").await;
    let (applied, undone) = (
        [applied(transaction.id)],
        "update transaction.transaction set status = 'INITIATED', completed_at = null, failure_code = null",
    );
    watched.bank.hear_of_postings(&applied).await;
    watched.turn_after(61).await;
    assert_eq!(watched.overdue().await, 0);
    watched.bank.database.tamper(undone).await;
    watched.turn_after(30).await;
    assert_eq!(watched.overdue().await, 1, "its commit might have been late");

    watched.bank.hear_of_postings(&applied).await;
    watched.turn_after(3_600).await;
    watched.bank.database.tamper(undone).await;
    watched.turn_after(1).await;
    assert_eq!(watched.overdue().await, 0, "nobody reads the whole history at each turn");
}

#[tokio::test]
async fn more_transactions_in_a_minute_than_a_turn_reads_do_not_hold_the_watch() {
    let watched = Watched::open().await;
    for key in 0..7 {
        watched.bank.pay(&key.to_string(), "1").await;
    }
    watched.clock.advance(TimeDelta::hours(1));
    for found in [2, 4, 6, 7] {
        let watch = watched.transactions.decision_watch().with_reach(Reach { page: 2, pages: 1 });
        watch.turn().await.expect("the database answers");
        assert_eq!(watched.overdue().await, found);
    }
}

#[tokio::test]
async fn what_is_stuck_for_long_does_not_hide_what_is_new() {
    let watched = Watched::open().await;
    // As many as are listed before it is a general outage.
    for round in 0..10 {
        let pay = |number| {
            let (bank, key) = (&watched.bank, format!("{round}-{number}"));
            async move { bank.pay(&key, "1").await }
        };
        futures::future::join_all((0..100).map(pay)).await;
    }
    let turn = async || {
        watched.clock.advance(TimeDelta::hours(1));
        let watch = watched.transactions.decision_watch().with_reach(Reach { page: 100, pages: 40 });
        watch.turn().await.expect("the database answers");
        watched.overdue().await
    };
    assert_eq!(turn().await, 1_000);
    watched.bank.pay("new", "1").await;
    for _ in 0..3 {
        assert_eq!(turn().await, 1_000, "something is wrong in general");
    }
    assert_eq!(turn().await, 1_001);
}

#[tokio::test]
async fn the_ledgers_events_and_its_answers_do_not_lock_each_other_out() {
    let watched = Watched::open().await;
    // In any other order than the same one the two would be stuck in most of the rounds.
    for round in 0..6 {
        let from_the_start =
            "update transaction.decision_watch set seen_through = '00000000-0000-0000-0000-000000000000'";
        watched.bank.database.tamper(from_the_start).await;
        let mut transactions = Vec::new();
        for number in 0..20 {
            let transaction = watched.bank.pay(&format!("{round}-{number}"), "1").await;
            watched.ledger.decides(&transaction, None);
            transactions.push(transaction);
        }
        let pool = watched.bank.database.pool();
        let mut held = vostro_messaging::begin(pool).await.expect("a transaction");
        let one = "select 1 from transaction.transaction where id = $1 for update";
        sqlx::query(one).bind(transactions[10].id).execute(&mut *held).await.expect("a lock");
        let outcomes: Vec<_> = transactions.iter().rev().map(|transaction| applied(transaction.id)).collect();
        let release = async {
            let waiting = "select count(distinct pid) from pg_locks
                           where not granted and pid in (select pid from pg_stat_activity where datname = current_database())";
            eventually("both wait", || async { (watched.bank.count(waiting).await >= 2).then_some(()) }).await;
            held.rollback().await.expect("released");
        };
        tokio::join!(watched.turn_after(3_600), watched.bank.hear_of_postings(&outcomes), release);
        for transaction in &transactions {
            assert_eq!((watched.status(transaction).await, watched.ends(transaction).await), (Status::Completed, 1));
        }
    }
}
