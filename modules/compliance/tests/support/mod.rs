//! A compliance module with a database of its own, and events to feed it.
#![allow(dead_code, clippy::unwrap_used, reason = "every test file uses a part of this")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;
use vostro_compliance::{AuditEntry, AuditFilter, AuditProof, Compliance, Config};
use vostro_events::transaction::{RouteV1, TransactionCompletedV1, TransactionKind};
use vostro_events::{Cause, Envelope, EventType, copy_of};
use vostro_kernel::{Actor, ActorKind, FixedClock, Money, Page, RequestContext, Role, SystemIds};
use vostro_messaging::{Handler, HandlerError, Incoming, Module as _};
use vostro_testkit::Database;

pub struct Bank {
    pub database: Database,
    pub clock: Arc<FixedClock>,
    pub compliance: Compliance,
    pub archive: Arc<dyn Handler>,
}

/// Noon of a day.
pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 / 86_400 * 86_400 + 43_200, 0).unwrap()
}

impl Bank {
    pub async fn open() -> Self {
        Self::open_with(Config::default()).await
    }

    pub async fn open_with(config: Config) -> Self {
        let database = Database::create("compliance", &vostro_compliance::MIGRATIONS).await;
        let clock = Arc::new(FixedClock::at(noon()));
        let compliance = Compliance::new(database.foundation_at(clock.clone()), config).unwrap();
        let archive = compliance.handlers().remove(0).handler;
        Self { database, clock, compliance, archive }
    }

    /// A second instance of the module on the same database, as after a restart.
    pub fn another(&self) -> Arc<dyn Handler> {
        let foundation = self.database.foundation_at(self.clock.clone());
        Compliance::new(foundation, Config::default()).unwrap().handlers().remove(0).handler
    }

    pub async fn deliver(&self, batch: &[Incoming]) -> Result<(), HandlerError> {
        vostro_testkit::deliver(self.database.pool(), &self.archive, batch).await
    }

    /// Delivers what is expected to be taken.
    pub async fn store(&self, batch: &[Incoming]) {
        self.deliver(batch).await.unwrap();
    }

    pub async fn verify(&self) -> AuditProof {
        self.compliance.verify_audit(|_, _| {}).await.unwrap()
    }

    /// Everything that is stored, oldest first.
    pub async fn stored(&self) -> Vec<AuditEntry> {
        let mut entries = self.find(&AuditFilter::default()).await;
        entries.reverse();
        entries
    }

    /// What meets the filter, newest first.
    pub async fn find(&self, filter: &AuditFilter) -> Vec<AuditEntry> {
        let page = Page::forward(None, 10_000);
        self.compliance.audit_events(&officer(), filter, page).await.unwrap()
    }

    /// Changes what cannot be changed, as somebody with all rights on the database could.
    pub async fn tamper(&self, statement: &str) {
        let tables = ["event", "event_type", "stream", "chain_head", "violation", "evidence"];
        let switch =
            |state: &str| tables.map(|table| format!("alter table compliance.{table} {state} trigger user;")).concat();
        self.database.tamper(&format!("{} {statement}; {}", switch("disable"), switch("enable"))).await;
    }

    pub fn pass(&self, time: TimeDelta) {
        self.clock.advance(time);
    }
}

pub fn with_roles(roles: &[Role]) -> RequestContext {
    RequestContext::of(Actor::person(Uuid::now_v7(), roles.iter().copied().collect(), None), &SystemIds)
}

pub fn officer() -> RequestContext {
    with_roles(&[Role::ComplianceOfficer])
}

pub fn cause() -> Cause {
    Cause {
        correlation_id: Uuid::now_v7(),
        causation_id: Uuid::now_v7(),
        command: None,
        actor_kind: ActorKind::System,
        actor_id: None,
        traceparent: None,
    }
}

/// An event of any type, number `sequence` of its aggregate.
pub fn event(event_type: &'static str, aggregate_type: &'static str, aggregate: u128, sequence: i64) -> Incoming {
    Incoming {
        envelope: Envelope {
            id: Uuid::now_v7(),
            event_type: EventType::of(event_type),
            occurred_at: noon(),
            aggregate_type: aggregate_type.into(),
            aggregate_id: Uuid::from_u128(aggregate),
            sequence,
            partition_key: Uuid::from_u128(aggregate),
            cause: cause(),
            dataref: None,
        },
        data: RawValue::from_string(format!(r#"{{"aggregate":{aggregate}, "sequence":{sequence}}}"#)).unwrap(),
    }
}

/// The same event in its next version, as its producer publishes it beside this one.
pub fn next_version(of: &Incoming) -> Incoming {
    let mut copy = of.clone();
    let event_type = &of.envelope.event_type;
    copy.envelope.id = copy_of(of.envelope.id);
    copy.envelope.event_type =
        EventType::parse(&format!("{}.v{}", event_type.event(), event_type.major() + 1)).unwrap();
    copy.data = RawValue::from_string(r#"{"another": "shape"}"#.to_owned()).unwrap();
    copy
}

/// A change of balance, the event there are most of.
pub fn balance(account: u128, sequence: i64) -> Incoming {
    event("account.balance-changed.v1", "balance", account, sequence)
}

/// A completed transfer between two customers' accounts, of cents.
pub fn completed(source: u128, cents: i64, at: DateTime<Utc>) -> Incoming {
    completed_between(Some(source), Some(1_000_000), cents, at)
}

/// A completed transfer; `None` stands for an account of the bank.
pub fn completed_between(source: Option<u128>, destination: Option<u128>, cents: i64, at: DateTime<Utc>) -> Incoming {
    let owner = |account: Option<u128>| account.map(|account| Uuid::from_u128(account << 64));
    let id = |account: Option<u128>| Uuid::from_u128(account.unwrap_or(0xB));
    let event = TransactionCompletedV1 {
        transaction_id: Uuid::now_v7(),
        kind: TransactionKind::Transfer,
        route: RouteV1 {
            source_account_id: id(source),
            destination_account_id: id(destination),
            source_owner_id: owner(source),
            destination_owner_id: owner(destination),
        },
        amount: Money::new(cents, "EUR".parse().unwrap()),
        reference: None,
        booked_at: at,
    };
    vostro_testkit::incoming(&event, 1)
}

/// The id of the transaction an event is about.
pub fn transaction_of(event: &Incoming) -> Uuid {
    event.envelope.aggregate_id
}
