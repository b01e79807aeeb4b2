//! The account view built again from an event store that a test holds in its hand.

mod common;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::{Bank, balance, created, updated};
use tokio::sync::Semaphore;
use uuid::Uuid;
use vostro_events::account::{AccountChange, AccountStatus, AccountUpdatedV1};
use vostro_messaging::{
    EventSource, Incoming, Module as _, Rebuild, RebuildError, RebuildOptions, RebuildReport, SourceError,
};
use vostro_testkit::{Consuming, eventually, incoming, incoming_in_two_versions};

/// Events in the order of their arrival.
#[derive(Default)]
struct Store {
    events: Mutex<Vec<Incoming>>,
    /// These arrive when somebody has asked for the head so often.
    late: Mutex<Option<(usize, Vec<Incoming>)>>,
    asked: AtomicUsize,
    /// How far apart the positions of two events are, for those of other types in between; one when nothing is said.
    apart: Option<i64>,
    /// The most positions that were looked through at once.
    longest: AtomicI64,
    /// With a gate, whoever asks waits for it.
    gate: Option<Semaphore>,
}

impl Store {
    fn of(events: &[Incoming]) -> Self {
        Self { events: Mutex::new(events.to_vec()), ..Self::default() }
    }
}

#[async_trait]
impl EventSource for Store {
    async fn head(&self) -> Result<i64, SourceError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("never closed").forget();
        }
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, arrived)) = late.take_if(|(at, _)| asked >= *at) {
            events.extend(arrived);
        }
        Ok(i64::try_from(events.len()).expect("few") * self.apart.unwrap_or(1))
    }

    async fn events(
        &self,
        types: &[&str],
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Incoming)>, SourceError> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        self.longest.fetch_max(until - after, Ordering::SeqCst);
        let apart = self.apart.unwrap_or(1);
        let wanted = (1..).map(|nth: i64| nth * apart).zip(events.iter()).filter(|(position, event)| {
            *position > after && *position <= until && types.contains(&event.envelope.event_type.as_str())
        });
        let limit = usize::try_from(limit).expect("positive");
        Ok(wanted.take(limit).map(|(position, event)| (position, event.clone())).collect())
    }

    async fn gaps(&self, _: &[&str]) -> Result<i64, SourceError> {
        Ok(0)
    }
}

const PATIENT: RebuildOptions =
    RebuildOptions { compare_only: false, patience: Duration::from_secs(60), trust_event_store: false };

fn rebuild(bank: &Bank, store: &Arc<Store>, options: RebuildOptions) -> Rebuild {
    let projection = bank.transactions.projections().remove(0);
    Rebuild::new("transaction", bank.database.pool().clone(), projection, Arc::clone(store) as _, options)
}

async fn run(bank: &Bank, store: Store, options: RebuildOptions) -> Result<RebuildReport, RebuildError> {
    rebuild(bank, &Arc::new(store), options).run(&|_, _| ()).await
}

/// A bank whose view knows one account by these events and no other, and the events.
async fn one_account() -> (Bank, Uuid, Vec<Incoming>) {
    let bank = Bank::open().await;
    bank.database.tamper("delete from transaction.account_view").await;
    let (account, owner) = (Uuid::now_v7(), Some(Uuid::now_v7()));
    let events = vec![
        incoming(&created(account, owner), 1),
        incoming(&balance(account, 100), 1),
        incoming(&updated(account, owner, AccountStatus::Frozen), 2),
        incoming(&balance(account, 250), 2),
    ];
    bank.hear_of_accounts(&events).await;
    (bank, account, events)
}

async fn available(bank: &Bank, account: Uuid) -> Option<i64> {
    sqlx::query_scalar("select available_minor from transaction.account_view where id = $1")
        .bind(account)
        .fetch_one(bank.database.pool())
        .await
        .expect("a row")
}

#[tokio::test]
async fn what_the_live_view_has_taken_and_the_event_store_has_not_yet_is_waited_for() {
    let (bank, account, events) = one_account().await;
    bank.database.tamper("update transaction.account_view set status = 'CLOSED'").await;
    let late = Mutex::new(Some((4, events[3..].to_vec())));
    let report = run(&bank, Store { late, ..Store::of(&events[..3]) }, PATIENT).await.expect("swapped");
    assert_eq!((report.comparison.different, report.comparison.ahead, report.changed), (1, 0, Some(1)));
    assert_eq!(report.events, 4);
    assert_eq!(available(&bank, account).await, Some(250), "the latest balance was not undone");
}

#[tokio::test]
async fn what_never_comes_is_refused_and_the_live_view_stays() {
    let (bank, account, events) = one_account().await;
    let impatient = RebuildOptions { patience: Duration::ZERO, ..PATIENT };
    let refused = run(&bank, Store::of(&events[..3]), impatient).await;
    let Err(RebuildError::EventsMissing { gaps: 0, ahead: 1, examples }) = refused else { panic!("{refused:?}") };
    assert_eq!(examples, [account]);
    assert_eq!(available(&bank, account).await, Some(250));
    let told = RebuildOptions { trust_event_store: true, ..impatient };
    run(&bank, Store::of(&events[..3]), told).await.expect("swapped as ordered");
    assert_eq!(available(&bank, account).await, Some(100));
}

#[tokio::test]
async fn an_event_that_comes_to_the_live_view_after_the_swap_takes_effect() {
    let (bank, account, events) = one_account().await;
    let last = incoming(&balance(account, 999), 3);
    let ahead = [&events[..], std::slice::from_ref(&last)].concat();
    let report = run(&bank, Store::of(&ahead), PATIENT).await.expect("swapped");
    assert_eq!((report.comparison.behind, report.changed), (1, Some(1)));
    assert_eq!(available(&bank, account).await, Some(999));
    bank.hear_of_accounts(std::slice::from_ref(&last)).await;
    bank.hear_of_accounts(&[incoming(&balance(account, 1_000), 4)]).await;
    assert_eq!(available(&bank, account).await, Some(1_000));
}

#[tokio::test]
async fn what_operators_gave_up_stays_without_effect() {
    let (bank, account, events) = one_account().await;
    let given_up = incoming(&balance(account, 666), 3);
    sqlx::query("insert into inbox (subscription, event_id) values ('transaction.accounts', $1)")
        .bind(given_up.envelope.id)
        .execute(bank.database.pool())
        .await
        .expect("stored");
    let report = run(&bank, Store::of(&[&events[..], &[given_up]].concat()), PATIENT).await.expect("swapped");
    assert!(report.comparison.is_equal(), "{:?}", report.comparison);
    assert_eq!(report.changed, Some(0));
}

#[tokio::test]
async fn many_pages_lead_to_the_same_view_and_to_no_event() {
    let (bank, account, mut events) = one_account().await;
    events.extend((3..=2_500).map(|sequence| incoming(&balance(account, sequence), sequence)));
    bank.hear_of_accounts(&events).await;
    let before = bank.database.outbox_events().await.len();
    let compare = RebuildOptions { compare_only: true, ..PATIENT };
    let report = run(&bank, Store::of(&events), compare).await.expect("compared");
    assert!(report.comparison.is_equal(), "{:?}", report.comparison);
    assert_eq!((report.events, report.comparison.same, report.changed), (2_502, 1, None));
    assert_eq!(bank.database.outbox_events().await.len(), before);
    let left: i64 = sqlx::query_scalar("select count(*) from transaction.account_view_rebuild")
        .fetch_one(bank.database.pool())
        .await
        .expect("readable");
    assert_eq!(left, 0, "no copy is left behind");
}

#[tokio::test]
async fn an_archive_of_several_releases_leads_to_the_view_that_the_events_led_to() {
    let bank = Bank::open().await;
    bank.database.tamper("delete from transaction.account_view").await;
    let (account, owner) = (Uuid::now_v7(), Some(Uuid::now_v7()));
    let in_the_first = |status| {
        let newer = updated(account, owner, status);
        AccountUpdatedV1 {
            account_id: account,
            change: AccountChange::Status,
            owner_id: owner,
            currency: newer.currency,
            status,
            overdraft_limit_minor: newer.overdraft_limit_minor,
            reason: None,
        }
    };
    let both =
        |status, sequence| incoming_in_two_versions(&in_the_first(status), &updated(account, owner, status), sequence);
    let [third, third_copy] = both(AccountStatus::Active, 3);
    let [fourth, fourth_copy] = both(AccountStatus::Closed, 4);
    // The release that knew one version, the one that published both, and the one that retired the first.
    let archive = [
        incoming(&created(account, owner), 1),
        incoming(&in_the_first(AccountStatus::Frozen), 2),
        third,
        third_copy,
        fourth_copy,
        fourth,
        incoming(&updated(account, owner, AccountStatus::Frozen), 5),
    ];
    let handlers = bank.transactions.handlers();
    let accounts = handlers.iter().find(|bound| bound.subscription.name == "accounts").expect("the subscription");
    for count in [2, 4, 5, 7] {
        let consuming = Consuming::start(&bank.database, accounts);
        consuming.take(&archive[..count]).await;
        consuming.leaves_parked(0, 0).await;
        let compare = RebuildOptions { compare_only: true, ..PATIENT };
        let report = run(&bank, Store::of(&archive[..count]), compare).await.expect("compared");
        assert!(report.comparison.is_equal(), "after {count}: {:?}", report.comparison);
        assert_eq!((report.events, report.comparison.same), (u64::try_from(count).expect("few"), 1));
    }
    bank.database.tamper("update transaction.account_view set status = 'ACTIVE'").await;
    let report = run(&bank, Store::of(&archive), PATIENT).await.expect("swapped");
    assert_eq!((report.comparison.different, report.changed), (1, Some(1)));
    let status: String = sqlx::query_scalar("select status::text from transaction.account_view where id = $1")
        .bind(account)
        .fetch_one(bank.database.pool())
        .await
        .expect("a row");
    assert_eq!(status, "FROZEN");
}

#[tokio::test]
async fn where_its_events_are_rare_the_event_store_is_not_looked_through_at_once() {
    let (bank, _, events) = one_account().await;
    let store = Arc::new(Store { apart: Some(1_700_000), ..Store::of(&events) });
    let report = rebuild(&bank, &store, PATIENT).run(&|_, _| ()).await.expect("swapped");
    assert!(report.comparison.is_equal(), "{:?}", report.comparison);
    assert_eq!(report.events, 4);
    let longest = store.longest.load(Ordering::SeqCst);
    assert!((1..=500_000).contains(&longest), "{longest} positions in one question");
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_is_named_by_its_position() {
    let (bank, account, mut events) = one_account().await;
    let mut broken = incoming(&balance(account, 1), 3);
    broken.data = serde_json::value::RawValue::from_string("{}".to_owned()).expect("JSON");
    events.push(broken);
    let refused = run(&bank, Store::of(&events), PATIENT).await;
    assert!(matches!(refused, Err(RebuildError::Unusable { position: 1, .. })), "{refused:?}");
    assert_eq!(available(&bank, account).await, Some(250));
}

#[tokio::test]
async fn one_projection_is_rebuilt_by_one_at_a_time() {
    let (bank, _, events) = one_account().await;
    let store = Arc::new(Store { gate: Some(Semaphore::new(0)), ..Store::of(&events) });
    let first = rebuild(&bank, &store, PATIENT);
    let first = tokio::spawn(async move { first.run(&|_, _| ()).await });
    let claimed = "select count(*) from pg_locks where locktype = 'advisory' and database = (
        select oid from pg_database where datname = current_database())";
    eventually("somebody has claimed the projection", || async { (bank.count(claimed).await > 0).then_some(()) }).await;
    let second = rebuild(&bank, &store, PATIENT).run(&|_, _| ()).await;
    assert!(matches!(second, Err(RebuildError::Running(name)) if name == "transaction.account_view"));
    store.gate.as_ref().expect("there is one").add_permits(1_000);
    assert!(first.await.expect("joined").expect("swapped").comparison.is_equal());
    rebuild(&bank, &store, PATIENT).run(&|_, _| ()).await.expect("the claim is gone with the first");
}
