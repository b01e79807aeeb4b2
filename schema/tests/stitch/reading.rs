//! What one operation reads, and how often.

use std::sync::atomic::Ordering;

use crate::harness::Bank;

impl Bank {
    /// How many accounts were read since this was asked last.
    fn read(&self) -> usize {
        self.calls.account_reads.swap(0, Ordering::SeqCst)
    }

    /// Answers a query and tells how many accounts were read for it.
    async fn reads_for(&self, query: &str) -> usize {
        assert!(!self.passes_through(query), "{query} has one step only");
        self.data(query).await;
        self.read()
    }
}

const AT_TWO_STEPS: &str = "{ account(id: \"acc_1\") { number } payments(first: 1) { source { number status } } }";

#[tokio::test]
async fn an_entity_that_a_query_meets_at_two_steps_is_read_once() {
    let bank = Bank::open();
    assert_eq!(bank.reads_for(AT_TWO_STEPS).await, 1);
}

#[tokio::test]
async fn an_entity_of_a_second_step_that_the_first_did_not_meet_is_read() {
    let bank = Bank::open();
    let query = "{ account(id: \"acc_1\") { number } payments(first: 1) { destination { number } } }";
    assert_eq!(bank.reads_for(query).await, 2);
}

#[tokio::test]
async fn what_a_list_showed_is_not_read_for_a_later_step() {
    let bank = Bank::open();
    assert_eq!(bank.reads_for("{ accounts { number } payments(first: 1) { source { status } } }").await, 0);
}

#[tokio::test]
async fn what_is_not_there_is_looked_for_once() {
    let bank = Bank::open();
    let query = "{ account(id: \"acc_hidden\") { number } payments(first: 3) { destination { number } } }";
    assert_eq!(bank.reads_for(query).await, 2, "the hidden one and the one that is shown");
}

#[tokio::test]
async fn requests_share_nothing_of_what_they_read() {
    let bank = Bank::open();
    for _ in 0..2 {
        assert_eq!(bank.reads_for(AT_TWO_STEPS).await, 1);
    }
}

#[tokio::test]
async fn a_mutation_reads_anew_what_was_read_before_it() {
    let bank = Bank::open();
    let pay = "pay(input: {idempotencyKey: \"k\", amount: {amount: \"1.00\", currency: \"EUR\"}})";
    let document =
        format!("mutation {{ a: {pay} {{ account {{ owner {{ name }} }} }} b: {pay} {{ account {{ number }} }} }}");
    assert_eq!(bank.reads_for(&document).await, 2);
}

#[tokio::test]
async fn each_event_of_a_subscription_is_read_anew() {
    let bank = Bank::open();
    let events = bank.events("subscription { paymentUpdated { payment { source { number } } } }").await;
    assert_eq!((events.len(), bank.read()), (2, 2));
}
