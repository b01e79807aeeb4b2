//! Audit queries find what they should, for whom they should.
#![allow(clippy::unwrap_used)]

mod support;

use chrono::TimeDelta;
use support::{Bank, balance, cause, event, noon, officer, with_roles};
use uuid::Uuid;
use vostro_compliance::{AuditEntry, AuditFilter, ComplianceErrorCode, Outcome};
use vostro_events::Cause;
use vostro_events::command::CommandRefusedV1;
use vostro_kernel::{Actor, ActorKind, Page, RequestContext, Role, SystemIds};
use vostro_messaging::Incoming;
use vostro_testkit::walked_both_ways;

const CUSTOMER: Uuid = Uuid::from_u128(0xC);
const TELLER: Uuid = Uuid::from_u128(0xD);

fn commanded(mut event: Incoming, command: &'static str, actor: Uuid, correlation: u128) -> Incoming {
    event.envelope.cause = Cause {
        command: Some(command.into()),
        actor_kind: ActorKind::User,
        actor_id: Some(actor),
        correlation_id: Uuid::from_u128(correlation),
        ..cause()
    };
    event
}

fn consequence(mut event: Incoming, of: &Incoming) -> Incoming {
    event.envelope.cause = Cause::event(&of.envelope);
    event
}

fn refused(account: u128, actor: Uuid, correlation: u128) -> Incoming {
    let refusal = CommandRefusedV1 {
        module: "transaction".into(),
        command_id: Uuid::now_v7(),
        command: "transferCreate".into(),
        code: "TXN_ACCOUNT_FROZEN".into(),
        subject_id: Some(Uuid::from_u128(account)),
    };
    commanded(vostro_testkit::incoming(&refusal, 1), "transferCreate", actor, correlation)
}

/// One event a minute: 1 opened, 2 transfer, 3 and 4 balances, 5 refused, 6 frozen by a teller, 7 of another account.
async fn day() -> Bank {
    let bank = Bank::open().await;
    let transfer = commanded(event("transaction.initiated.v1", "transaction", 0x7, 1), "transferCreate", CUSTOMER, 2);
    let day = [
        commanded(event("account.account-created.v1", "account", 0xA, 1), "accountOpen", CUSTOMER, 1),
        transfer.clone(),
        consequence(balance(0xA, 1), &transfer),
        consequence(balance(0xB, 1), &transfer),
        refused(0xA, CUSTOMER, 3),
        commanded(event("account.account-updated.v1", "account", 0xA, 2), "accountFreeze", TELLER, 4),
        balance(0xB, 2),
    ];
    for event in day {
        bank.store(&[event]).await;
        bank.pass(TimeDelta::minutes(1));
    }
    bank
}

fn positions(entries: &[AuditEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.position).collect()
}

async fn found(bank: &Bank, filter: AuditFilter) -> Vec<i64> {
    positions(&bank.find(&filter).await)
}

#[tokio::test]
async fn each_criterion_finds_its_events_newest_first() {
    let bank = day().await;
    let any = AuditFilter::default;
    let subject = |id: u128| AuditFilter { subject_id: Some(Uuid::from_u128(id)), ..any() };
    assert_eq!(found(&bank, any()).await, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(found(&bank, subject(0xA)).await, [6, 5, 3, 1], "refused commands about the account are about it");
    assert_eq!(found(&bank, subject(0x7)).await, [2]);
    assert_eq!(found(&bank, AuditFilter { actor_id: Some(CUSTOMER), ..any() }).await, [5, 2, 1]);
    assert_eq!(found(&bank, AuditFilter { actor_id: Some(TELLER), ..any() }).await, [6]);
    assert_eq!(found(&bank, AuditFilter { correlation_id: Some(Uuid::from_u128(2)), ..any() }).await, [4, 3, 2]);
    let event_type = |name: &str| AuditFilter { event_type: Some(name.into()), ..any() };
    assert_eq!(found(&bank, event_type("account.balance-changed.v1")).await, [7, 4, 3]);
    assert_eq!(found(&bank, event_type("card.card-issued.v1")).await, Vec::<i64>::new());
    let outcome = |outcome| AuditFilter { outcome: Some(outcome), ..any() };
    assert_eq!(found(&bank, outcome(Outcome::Refused)).await, [5]);
    assert_eq!(found(&bank, outcome(Outcome::Accepted)).await, [6, 2, 1]);
    assert_eq!(found(&bank, outcome(Outcome::Event)).await, [7, 4, 3]);
}

#[tokio::test]
async fn criteria_narrow_each_other() {
    let bank = day().await;
    let filter = AuditFilter {
        subject_id: Some(Uuid::from_u128(0xA)),
        actor_id: Some(CUSTOMER),
        outcome: Some(Outcome::Refused),
        ..AuditFilter::default()
    };
    assert_eq!(found(&bank, filter.clone()).await, [5]);
    assert_eq!(found(&bank, AuditFilter { actor_id: Some(TELLER), ..filter }).await, Vec::<i64>::new());
}

#[tokio::test]
async fn a_time_range_takes_its_beginning_and_not_its_end() {
    let bank = day().await;
    let at = |minute| Some(noon() + TimeDelta::minutes(minute));
    let between = |from, to| AuditFilter { from, to, ..AuditFilter::default() };
    assert_eq!(found(&bank, between(at(2), at(5))).await, [5, 4, 3]);
    assert_eq!(found(&bank, between(at(5), None)).await, [7, 6]);
    assert_eq!(found(&bank, between(None, at(1))).await, [1]);
    assert_eq!(found(&bank, between(at(-100), at(100))).await.len(), 7);
    for (from, to) in [(at(7), None), (None, at(0)), (at(5), at(2)), (at(100), at(200))] {
        assert_eq!(found(&bank, between(from, to)).await, Vec::<i64>::new());
    }
    let half = Some(noon() + TimeDelta::seconds(90));
    assert_eq!(found(&bank, between(half, at(3))).await, [3]);
    let empty = Bank::open().await;
    assert_eq!(found(&empty, between(at(0), at(1))).await, Vec::<i64>::new());
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended_while_events_arrive() {
    let bank = day().await;
    let filter = AuditFilter { outcome: Some(Outcome::Accepted), ..AuditFilter::default() };
    let officer = officer();
    let page = |after| bank.compliance.audit_events(&officer, &filter, Page::forward(after, 2));
    assert_eq!(positions(&page(None).await.unwrap()), [6, 2]);
    bank.store(&[commanded(balance(0xE, 1), "accountOpen", TELLER, 9)]).await;
    assert_eq!(positions(&page(Some(2)).await.unwrap()), [1]);
    assert_eq!(positions(&page(Some(1)).await.unwrap()), Vec::<i64>::new());
}

#[tokio::test]
async fn the_log_is_paged_alike_in_both_directions_whatever_it_is_narrowed_to() {
    let bank = day().await;
    let at = |minute| Some(noon() + TimeDelta::minutes(minute));
    for (filter, count) in [
        (AuditFilter::default(), 7),
        (AuditFilter { outcome: Some(Outcome::Accepted), ..AuditFilter::default() }, 3),
        (AuditFilter { subject_id: Some(Uuid::from_u128(0xA)), ..AuditFilter::default() }, 4),
        (AuditFilter { from: at(2), to: at(5), ..AuditFilter::default() }, 3),
    ] {
        let officer = officer();
        let read = async |page| bank.compliance.audit_events(&officer, &filter, page).await.unwrap();
        let all = walked_both_ways(|entry| entry.position, read).await;
        assert_eq!(all.len(), count, "{filter:?}");
        assert!(all.is_sorted_by(|newer, older| newer.position > older.position));
    }
}

#[tokio::test]
async fn a_trail_tells_an_aggregates_story_from_the_beginning() {
    let bank = day().await;
    let trail = bank.compliance.audit_trail(&officer(), Uuid::from_u128(0xA)).await.unwrap();
    let story: Vec<_> =
        trail.iter().map(|entry| (entry.position, entry.command.as_deref(), entry.code.as_deref())).collect();
    assert_eq!(
        story,
        [
            (1, Some("accountOpen"), None),
            (3, None, None),
            (5, Some("transferCreate"), Some("TXN_ACCOUNT_FROZEN")),
            (6, Some("accountFreeze"), None)
        ]
    );
    let none = bank.compliance.audit_trail(&officer(), Uuid::from_u128(0xFFFF)).await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test]
async fn officers_and_administrators_may_ask_and_nobody_else() {
    let bank = day().await;
    let ask = async |context: &RequestContext| {
        let compliance = &bank.compliance;
        [
            compliance.audit_events(context, &AuditFilter::default(), Page::forward(None, 1)).await.map(drop),
            compliance.audit_trail(context, CUSTOMER).await.map(drop),
            compliance.event_counts(context).await.map(drop),
            compliance.event_gaps(context).await.map(drop),
            compliance.violations(context, Page::forward(None, 1)).await.map(drop),
            compliance.audit_verification(context).await.map(drop),
        ]
    };
    for context in [officer(), with_roles(&[Role::Admin]), RequestContext::system(&SystemIds)] {
        assert!(ask(&context).await.iter().all(Result::is_ok));
    }
    let anonymous = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    for context in [with_roles(&[Role::Customer]), with_roles(&[Role::Operator]), with_roles(&[]), anonymous] {
        for answer in ask(&context).await {
            let refusal = answer.unwrap_err().refusal().cloned().unwrap();
            assert_eq!(refusal.code, ComplianceErrorCode::Forbidden);
        }
    }
}

#[tokio::test]
async fn an_attempt_to_read_without_the_role_is_itself_audited() {
    let bank = Bank::open().await;
    let curious = with_roles(&[Role::Customer]);
    let refused = bank.compliance.audit_trail(&curious, CUSTOMER).await;
    assert!(refused.is_err());
    let told = bank.database.outbox_events().await;
    assert_eq!(told.len(), 1);
    let (envelope, data) = &told[0];
    assert_eq!(envelope.event_type.as_str(), "compliance.command-refused.v1");
    assert_eq!((envelope.aggregate_id, envelope.cause.actor_id), (curious.command_id, curious.actor.id));
    assert_eq!((&data["command"], &data["code"]), (&"auditTrail".into(), &"CMP_FORBIDDEN".into()));
}

#[tokio::test]
async fn counts_follow_what_is_stored() {
    let bank = day().await;
    let counts = bank.compliance.event_counts(&officer()).await.unwrap();
    let counts: Vec<_> = counts.iter().map(|count| (count.event_type.as_str(), count.count)).collect();
    assert_eq!(
        counts,
        [
            ("account.account-created.v1", 1),
            ("account.account-updated.v1", 1),
            ("account.balance-changed.v1", 3),
            ("transaction.command-refused.v1", 1),
            ("transaction.initiated.v1", 1)
        ]
    );
}
