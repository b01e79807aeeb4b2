//! Statements: what they say, who may have them, and that neither a crash, nor a repetition, nor a term that ends at the
//! wrong moment makes another document of them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_account::domain::{Account, InternalRole, Statement, StatementFailure, StatementStatus};
use vostro_account::{Config, GenerateStatement, StatementPage, StatementUpdate};
use vostro_events::account::{
    StatementEndedV1, StatementPartWrittenV1, StatementReadyV1, StatementRequestedV1, StatementTermEndedV1,
};
use vostro_kernel::{Actor, FixedClock, Page, RequestContext, Role, SystemIds};
use vostro_messaging::{Module as _, Outbox, ScheduleWorker, UpdateKind};
use vostro_testkit::{Consuming, eventually, incoming, reason_for_refusing, walked_both_ways};

use crate::fixture::{Bank, code, customer, internal, operator, person, transfer};

const JANUARY: (&str, &str) = ("2024-01-01", "2024-01-31");

/// A bank in which it is when the test says, and statements have two entries in a part.
struct Scene {
    bank: Bank,
    clock: Arc<FixedClock>,
    account: Account,
    owner: RequestContext,
}

/// What writes statements in the background.
struct Writing {
    stop: CancellationToken,
    running: JoinHandle<Vec<()>>,
}

impl Scene {
    /// On the fifth of January, with an account that has this many entries: 1.00 in each.
    async fn set(entries: i64) -> Self {
        let clock = Arc::new(FixedClock::at(instant("2024-01-05T09:30:00Z")));
        let config = Config { statement_part_entries: 2, ..Config::default() };
        let bank = Bank::open_with(clock.clone(), config).await;
        let account = bank.account_with(0).await;
        let owner = customer(account.owner_id.expect("an owner"));
        let scene = Self { bank, clock, account, owner };
        scene.earn(entries).await;
        scene.bank.forget_events().await;
        scene
    }

    async fn earn(&self, entries: i64) {
        let cash = internal(InternalRole::Cash);
        let transfers: Vec<_> = (0..entries).map(|_| transfer(cash, self.account.id, 100)).collect();
        self.bank.post(&transfers).await.expect("posted");
    }

    fn it_is(&self, text: &str) {
        let now = vostro_kernel::Clock::now(self.clock.as_ref());
        self.clock.advance(instant(text) - now);
    }

    fn asked(&self, key: &str, (from, to): (&str, &str)) -> GenerateStatement {
        GenerateStatement { account_id: self.account.id, from: day(from), to: day(to), idempotency_key: key.to_owned() }
    }

    async fn generate(&self, key: &str, period: (&str, &str)) -> Statement {
        let asked = self.asked(key, period);
        self.bank.accounts.generate_statement(&self.owner, &asked).await.expect("accepted")
    }

    async fn refusal(&self, context: &RequestContext, asked: &GenerateStatement) -> String {
        code(self.bank.accounts.generate_statement(context, asked).await)
    }

    fn write(&self) -> Writing {
        let stop = CancellationToken::new();
        Writing { stop: stop.clone(), running: tokio::spawn(join_all(self.bank.accounts.background(stop))) }
    }

    /// The states of a statement until `is_enough`, or its end.
    async fn until(&self, id: Uuid, is_enough: impl Fn(&Statement) -> bool) -> Vec<Statement> {
        self.until_seen_by(&self.owner, id, is_enough).await
    }

    async fn until_seen_by(
        &self,
        viewer: &RequestContext,
        id: Uuid,
        is_enough: impl Fn(&Statement) -> bool,
    ) -> Vec<Statement> {
        let updates = self.bank.accounts.statement_updates(viewer, id, None).await.expect("readable").expect("there");
        let mut updates = std::pin::pin!(updates);
        let mut seen = Vec::new();
        let watching = async {
            while let Some(update) = updates.next().await {
                seen.push(update.expect("readable").statement);
                if seen.last().is_some_and(&is_enough) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), watching).await.expect("it gets there");
        seen
    }

    async fn until_ended(&self, id: Uuid) -> Statement {
        self.until(id, |_| false).await.pop().expect("it was seen")
    }

    async fn see(&self, id: Uuid) -> Statement {
        self.bank.accounts.statement(&self.owner, id).await.expect("readable").expect("the statement exists")
    }

    /// The whole document, or nothing.
    async fn document(&self, statement: &Statement) -> Option<String> {
        let mut document = String::new();
        for part in 1..=statement.parts {
            let part = self.bank.accounts.statement_part(&self.owner, statement.id, part).await.expect("readable");
            document.push_str(&part?);
        }
        Some(document)
    }

    /// Publishes what is due and hands over what the module has told itself, as the bank does. Says how many that were.
    async fn let_terms_end(&self) -> usize {
        // However late it is for the module: what is due is due by the database's clock.
        assert_eq!(self.publish_due().await, 0, "an instance whose clock is wrong ends no term early");
        self.bank.database.tamper("update account.scheduled_event set due_at = now()").await;
        self.publish_due().await;
        let ended = self.bank.database.take_published(StatementTermEndedV1::TYPE).await;
        let consuming = Consuming::start(&self.bank.database, &self.bank.subscription("statement-terms"));
        for event in &ended {
            let event: StatementTermEndedV1 = serde_json::from_value(event.clone()).expect("the event");
            // Twice, as everything may come.
            consuming.take(&[incoming(&event, 1), incoming(&event, 1)]).await;
        }
        consuming.leaves_parked(0, 0).await;
        ended.len()
    }

    async fn publish_due(&self) -> u64 {
        let pool = self.bank.database.pool().clone();
        ScheduleWorker::new("account", pool, Outbox::default()).publish_due().await.expect("published")
    }

    async fn waiting_terms(&self) -> i64 {
        sqlx::query_scalar("select count(*) from account.scheduled_event where purpose = 'statement-term'")
            .fetch_one(self.bank.database.pool())
            .await
            .expect("countable")
    }

    async fn told(&self, event_type: &str) -> Vec<Value> {
        self.bank.database.published(event_type).await
    }
}

impl Writing {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), self.running).await.expect("it ends").expect("joined");
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a day")
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

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

#[tokio::test]
async fn repeating_the_command_gives_the_same_statement_and_another_input_is_refused() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let first = scene.generate("k", JANUARY).await;
    assert_eq!(scene.generate("k", JANUARY).await, first);
    assert_eq!(scene.told(StatementRequestedV1::TYPE).await.len(), 1);
    let shorter = scene.asked("k", ("2024-01-01", "2024-01-30"));
    assert_eq!(scene.refusal(&scene.owner, &shorter).await, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(scene.generate("l", JANUARY).await, first, "another key for what there is already");
    let other = scene.asked("m", ("2024-01-01", "2024-01-30"));
    assert_eq!(scene.refusal(&scene.owner, &other).await, "ACC_STATEMENT_IN_PREPARATION");

    let writing = scene.write();
    let ready = scene.until_ended(first.id).await;
    writing.stop().await;
    assert_eq!(scene.generate("k", JANUARY).await, ready, "also when it is ready");
    assert_eq!(scene.generate("n", JANUARY).await, ready, "nothing is written twice");
    let other = scene.generate("m", ("2024-01-01", "2024-01-30")).await;
    assert_ne!(other.id, ready.id, "one after the other is fine");
    assert_eq!(scene.told(StatementRequestedV1::TYPE).await.len(), 2);
}

#[tokio::test]
async fn what_the_bank_has_prepared_about_an_account_is_hidden_from_its_holder() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let officer = person(Uuid::now_v7(), &[Role::ComplianceOfficer]);
    let accounts = &scene.bank.accounts;
    let looked_into = accounts.generate_statement(&officer, &scene.asked("k", JANUARY)).await.expect("accepted");
    let own = scene.generate("k", JANUARY).await;
    assert_ne!(own.id, looked_into.id, "the one does not stand in the way of the other");

    let writing = scene.write();
    scene.until_ended(own.id).await;
    scene.until_seen_by(&officer, looked_into.id, |state| state.status == StatementStatus::Ready).await;
    writing.stop().await;
    assert_eq!(accounts.statement(&scene.owner, looked_into.id).await.expect("readable"), None);
    assert_eq!(accounts.statement_part(&scene.owner, looked_into.id, 1).await.expect("readable"), None);
    assert!(accounts.statement_updates(&scene.owner, looked_into.id, None).await.expect("readable").is_none());
    assert_eq!(code(accounts.cancel_statement(&scene.owner, looked_into.id).await), "ACC_STATEMENT_NOT_FOUND");
    let page = StatementPage { account_id: scene.account.id, page: Page::forward(None, 1) };
    for (viewer, expected) in [(&scene.owner, own.id), (&officer, own.id.max(looked_into.id))] {
        let found = accounts.statements(viewer, &[page]).await.expect("readable");
        assert_eq!(found[0].iter().map(|found| found.id).collect::<Vec<_>>(), [expected]);
    }
}

#[tokio::test]
async fn the_same_command_many_times_at_once_makes_one_statement() {
    let scene = Scene::set(1).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let asked = scene.asked("k", JANUARY);
    let outcomes = join_all((0..8).map(|_| scene.bank.accounts.generate_statement(&scene.owner, &asked))).await;
    let ids: Vec<Uuid> = outcomes.into_iter().map(|outcome| outcome.expect("the same").id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(scene.told(StatementRequestedV1::TYPE).await.len(), 1);
    assert_eq!(scene.waiting_terms().await, 1);
}

#[tokio::test]
async fn periods_that_are_no_periods_are_refused() {
    let scene = Scene::set(1).await;
    scene.it_is("2024-02-01T00:30:00Z");
    for (from, to, expected) in [
        ("2024-01-02", "2024-01-01", "ACC_PERIOD_INVALID"),
        ("2022-01-01", "2023-12-31", "ACC_PERIOD_INVALID"),
        ("2024-01-01", "2024-02-01", "ACC_PERIOD_NOT_OVER"),
        ("2024-01-01", "2024-01-31", "ACC_PERIOD_NOT_OVER"),
    ] {
        assert_eq!(scene.refusal(&scene.owner, &scene.asked("k", (from, to))).await, expected, "{from} {to}");
    }
    assert_eq!(scene.refusal(&scene.owner, &scene.asked("", JANUARY)).await, "IDEMPOTENCY_KEY_REQUIRED");
    assert_eq!(scene.told("account.command-refused.v1").await.len(), 5, "each is on record");
    assert_eq!(scene.waiting_terms().await, 0);
}

#[tokio::test]
async fn somebody_elses_account_has_no_statements() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let stranger = customer(Uuid::now_v7());
    let nobody = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    assert_eq!(scene.refusal(&stranger, &scene.asked("k", JANUARY)).await, "ACC_NOT_FOUND");
    assert_eq!(scene.refusal(&nobody, &scene.asked("k", JANUARY)).await, "ACC_FORBIDDEN");
    let unknown = GenerateStatement { account_id: Uuid::now_v7(), ..scene.asked("k", JANUARY) };
    assert_eq!(scene.refusal(&operator(), &unknown).await, "ACC_NOT_FOUND");

    let writing = scene.write();
    let ready = scene.until_ended(scene.generate("k", JANUARY).await.id).await;
    writing.stop().await;
    let accounts = &scene.bank.accounts;
    let page = StatementPage { account_id: scene.account.id, page: Page::forward(None, 10) };
    for context in [&stranger, &nobody] {
        assert_eq!(accounts.statement(context, ready.id).await.expect("readable"), None);
        assert_eq!(accounts.statement_part(context, ready.id, 1).await.expect("readable"), None);
        assert_eq!(accounts.statements(context, &[page]).await.expect("readable"), [vec![]]);
        assert!(accounts.statement_updates(context, ready.id, None).await.expect("readable").is_none());
        assert_eq!(code(accounts.cancel_statement(context, ready.id).await), "ACC_STATEMENT_NOT_FOUND");
    }
    assert_eq!(accounts.statement(&operator(), ready.id).await.expect("readable"), Some(ready.clone()));
    for part in [0, -1, 3, i32::MAX] {
        assert_eq!(accounts.statement_part(&scene.owner, ready.id, part).await.expect("readable"), None, "{part}");
    }
}

#[tokio::test]
async fn statements_are_listed_newest_first_in_pages() {
    let scene = Scene::set(1).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let writing = scene.write();
    let mut ids = Vec::new();
    for (key, last) in [("a", "2024-01-29"), ("b", "2024-01-30"), ("c", "2024-01-31")] {
        let id = scene.generate(key, ("2024-01-01", last)).await.id;
        scene.until_ended(id).await;
        ids.insert(0, id);
    }
    writing.stop().await;
    let page = |after, limit| StatementPage { account_id: scene.account.id, page: Page::forward(after, limit) };
    let other = StatementPage { account_id: Uuid::now_v7(), page: Page::forward(None, 5) };
    let pages = [page(None, 2), other, page(Some(ids[1]), 2)];
    let found = scene.bank.accounts.statements(&scene.owner, &pages).await.expect("readable");
    let found: Vec<Vec<Uuid>> = found.iter().map(|page| page.iter().map(|found| found.id).collect()).collect();
    assert_eq!(found, [ids[..2].to_vec(), vec![], ids[2..].to_vec()]);

    for context in [&scene.owner, &operator()] {
        let read = async |page| {
            let oldest = StatementPage { account_id: scene.account.id, page: Page::backward(None, 1) };
            let asked = [oldest, StatementPage { account_id: scene.account.id, page }];
            let mut found = scene.bank.accounts.statements(context, &asked).await.expect("readable");
            assert_eq!(found[0].iter().map(|found| found.id).collect::<Vec<_>>(), ids[2..], "whatever is asked beside");
            found.remove(1)
        };
        let all = walked_both_ways(|statement| statement.id, read).await;
        assert_eq!(all.iter().map(|statement| statement.id).collect::<Vec<_>>(), ids);
    }
}

#[tokio::test]
async fn what_is_cancelled_is_not_written_on_and_nothing_is_left_of_it() {
    let scene = Scene::set(40).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let writing = scene.write();
    scene.until(requested.id, |state| state.parts > 0).await;
    let officer = person(Uuid::now_v7(), &[Role::ComplianceOfficer]);
    assert_eq!(code(scene.bank.accounts.cancel_statement(&officer, requested.id).await), "ACC_FORBIDDEN");
    let cancelled = scene.bank.accounts.cancel_statement(&scene.owner, requested.id).await.expect("cancelled");
    assert_eq!(cancelled.status, StatementStatus::Cancelled);
    assert_eq!(scene.until_ended(requested.id).await, cancelled);
    assert_eq!(scene.waiting_terms().await, 0, "nothing is due any more");
    let again = scene.bank.accounts.cancel_statement(&scene.owner, requested.id).await;
    assert_eq!(again.expect("twice is once"), cancelled);

    // The writer goes on with the next one, so it has passed by the cancelled one.
    let next = scene.generate("l", JANUARY).await;
    let ready = scene.until_ended(next.id).await;
    writing.stop().await;
    assert_eq!(scene.see(requested.id).await, cancelled);
    let parts: i64 = sqlx::query_scalar("select count(*) from account.statement_part where statement_id = $1")
        .bind(requested.id)
        .fetch_one(scene.bank.database.pool())
        .await
        .expect("countable");
    assert_eq!(parts, 0);
    let ended = scene.told(StatementEndedV1::TYPE).await;
    let expected = json!({"statementId": requested.id, "accountId": scene.account.id, "outcome": "CANCELLED"});
    assert_eq!(ended, [expected]);
    assert_eq!(code(scene.bank.accounts.cancel_statement(&scene.owner, ready.id).await), "ACC_STATEMENT_ENDED");
}

#[tokio::test]
async fn a_statement_that_is_not_ready_in_time_has_failed() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    assert_eq!(scene.let_terms_end().await, 1);
    let failed = scene.see(requested.id).await;
    assert_eq!(failed.status, StatementStatus::Failed);
    let ended = scene.told(StatementEndedV1::TYPE).await;
    let expected = json!({"statementId": requested.id, "accountId": scene.account.id, "outcome": "FAILED",
        "failureCode": "OUT_OF_TIME"});
    assert_eq!(ended, [expected], "nothing went wrong, nobody got to it");
    // Nobody writes it any more, and the account is free for another.
    let writing = scene.write();
    let ready = scene.until_ended(scene.generate("l", JANUARY).await.id).await;
    writing.stop().await;
    assert_eq!(ready.status, StatementStatus::Ready);
    assert_eq!(scene.see(requested.id).await, failed);
}

#[tokio::test]
async fn a_statement_is_kept_for_its_term_and_its_event_says_when_it_is_over() {
    let scene = Scene::set(3).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let writing = scene.write();
    let ready = scene.until_ended(requested.id).await;
    writing.stop().await;
    assert_eq!(scene.waiting_terms().await, 1, "the term for preparing it was replaced");
    assert_ne!(ready.term_id, requested.term_id);
    // A term that was on its way when it was replaced ends nothing.
    let stale = StatementTermEndedV1 { term_id: requested.term_id, statement_id: ready.id };
    let consuming = Consuming::start(&scene.bank.database, &scene.bank.subscription("statement-terms"));
    consuming.take(&[incoming(&stale, 1)]).await;
    consuming.leaves_parked(0, 0).await;
    assert_eq!(scene.see(ready.id).await, ready);

    assert_eq!(scene.let_terms_end().await, 1);
    let expired = scene.see(ready.id).await;
    assert_eq!((expired.status, expired.parts), (StatementStatus::Expired, ready.parts));
    assert_eq!(scene.document(&expired).await, None);
    let ended = scene.told(StatementEndedV1::TYPE).await;
    assert_eq!(ended.iter().filter_map(|event| event["outcome"].as_str()).collect::<Vec<_>>(), ["EXPIRED"]);
}

#[tokio::test]
async fn the_term_of_a_statement_nobody_knows_is_quarantined() {
    let scene = Scene::set(0).await;
    let event = StatementTermEndedV1 { term_id: Uuid::now_v7(), statement_id: Uuid::now_v7() };
    let handler = scene.bank.handler("statement-terms");
    let reason = reason_for_refusing(scene.bank.database.pool(), &handler, incoming(&event, 1)).await;
    assert!(reason.contains("no such statement"), "{reason}");
}

#[tokio::test]
async fn a_ledger_that_is_damaged_is_not_written_down_and_others_go_on() {
    let scene = Scene::set(3).await;
    let sound = scene.bank.account_with(0).await;
    scene.it_is("2024-02-10T12:00:00Z");
    let requested = scene.generate("k", JANUARY).await;
    let pool = scene.bank.database.pool();
    scene
        .bank
        .database
        .tamper(
            "alter table account.entry disable trigger user;
             update account.entry set balance_after = 7 where sequence = 2;
             alter table account.entry enable trigger user",
        )
        .await;
    let writing = scene.write();
    let asked = GenerateStatement { account_id: sound.id, ..scene.asked("k", JANUARY) };
    let other = scene.bank.accounts.generate_statement(&operator(), &asked).await.expect("accepted");
    let states = scene.until_seen_by(&operator(), other.id, |_| false).await;
    assert_eq!(states.last().map(|state| state.status), Some(StatementStatus::Ready));
    let attempts = async || -> i32 {
        let attempts = sqlx::query_scalar("select attempts from account.statement where id = $1").bind(requested.id);
        attempts.fetch_one(pool).await.expect("readable")
    };
    eventually("it was tried", || async { (attempts().await > 0).then_some(()) }).await;
    writing.stop().await;
    let stuck = scene.see(requested.id).await;
    assert_eq!((stuck.status, stuck.parts), (StatementStatus::Preparing, 0));
    assert_eq!(scene.told(StatementPartWrittenV1::TYPE).await.len(), 1, "of the other statement");
    // Both terms end: that of the other statement is the one it is kept for.
    scene.let_terms_end().await;
    let failed = scene.see(requested.id).await;
    assert_eq!((failed.status, failed.failure), (StatementStatus::Failed, Some(StatementFailure::LedgerInconsistent)));
}
