use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use vostro_events::operator::OperatorAction;
use vostro_kernel::{Actor, RequestContext, Role};

use crate::Operation;

/// What is to be done, fixed when it is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Work {
    /// The module's events from one position of the archive to another, both included, are published once more.
    Republish {
        first: i64,
        last: i64,
        /// Only these types; all of the module's when empty.
        types: Vec<String>,
    },
    /// A projection is built again from the event store and swapped.
    Rebuild {
        /// The table's name, without the module.
        projection: String,
        /// How long events may be on their way before they count as lost.
        patience_seconds: u64,
        /// What only the live table knows is given up.
        trust_event_store: bool,
    },
}

impl Work {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Republish { .. } => "REPUBLISH",
            Self::Rebuild { .. } => "REBUILD",
        }
    }

    /// `<module>.outbox`, or `<module>.<projection>`.
    pub(super) fn subject(&self, module: &str) -> String {
        match self {
            Self::Republish { .. } => format!("{module}.outbox"),
            Self::Rebuild { projection, .. } => format!("{module}.{projection}"),
        }
    }

    /// The command's name in the audit log.
    pub(super) const fn command(&self) -> &'static str {
        match self {
            Self::Republish { .. } => "outboxRepublish",
            Self::Rebuild { .. } => "projectionRebuild",
        }
    }

    /// Whether something that is known would be known no more.
    pub(super) const fn gives_up(&self) -> bool {
        matches!(self, Self::Rebuild { trust_event_store: true, .. })
    }

    const fn action(&self) -> OperatorAction {
        match self {
            Self::Republish { .. } => OperatorAction::Republish,
            Self::Rebuild { .. } => OperatorAction::Rebuild,
        }
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// A second person has to agree.
    Open,
    /// Somebody works on it, or will within seconds.
    Running,
    Done,
    /// It cannot be done; see the failure. What it is about is as it was, but for events that were published by then.
    Failed,
    /// A second person did not agree; nothing was done.
    Rejected,
}

impl JobState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Running => "RUNNING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Rejected => "REJECTED",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "OPEN" => Self::Open,
            "RUNNING" => Self::Running,
            "DONE" => Self::Done,
            "REJECTED" => Self::Rejected,
            _ => Self::Failed,
        }
    }

    /// Whether nothing comes after it.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Rejected)
    }
}

/// Long work that an operator ordered.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceJob {
    pub id: Uuid,
    /// `<module>.outbox`, or `<module>.<projection>`.
    pub subject: String,
    pub work: Work,
    /// Whether it only counts, or only compares.
    pub dry_run: bool,
    pub reason: String,
    pub state: JobState,
    pub requested_by: Uuid,
    pub requested_at: DateTime<Utc>,
    pub(super) correlation_id: Uuid,
    pub(super) traceparent: Option<String>,
    /// Never whoever requested it; `None` as well where one person was enough.
    pub decided_by: Option<Uuid>,
    pub decided_at: Option<DateTime<Utc>>,
    /// The position of the event store that is reached.
    pub position: i64,
    /// The position to reach; grows while events arrive.
    pub target: i64,
    /// Events that were published, or applied beside the live table.
    pub events: i64,
    /// How many events are to be published; `None` until they are counted.
    pub expected: Option<i64>,
    /// What came of it: counts by event type, or how the two tables compared.
    pub report: Option<Value>,
    /// Why it failed, a stable code first; while it runs, what the last attempt failed for.
    pub failure: Option<String>,
    pub attempts: i32,
    pub ended_at: Option<DateTime<Utc>>,
}

impl MaintenanceJob {
    /// In whose schema it is.
    pub fn module(&self) -> &str {
        self.subject.split_once('.').map_or(&self.subject, |(module, _)| module)
    }

    /// The request of whoever ordered it: the bank works in their name, in the trace of their order.
    pub(super) fn context(&self) -> RequestContext {
        let operator = [Role::Operator].into_iter().collect();
        RequestContext {
            actor: Actor::person(self.requested_by, operator, None),
            correlation_id: self.correlation_id,
            command_id: self.id,
            traceparent: self.traceparent.clone(),
        }
    }

    /// How it is told to the audit log.
    pub(super) fn operation(&self, module: &'static str) -> Operation {
        let mut operation = Operation::new(self.id, module, self.work.action(), self.work.command());
        match &self.work {
            Work::Republish { first, last, .. } => {
                operation.reason = Some(format!("positions {first} to {last}: {}", self.reason));
            }
            Work::Rebuild { .. } => {
                operation.subscription = Some(self.subject.clone());
                operation.reason = Some(self.reason.clone());
            }
        }
        operation
    }

    /// The number that the next event about it has: a request and a decision have been told if there were any.
    pub(super) const fn next_sequence(&self) -> i64 {
        if self.decided_by.is_some() { 3 } else { 1 }
    }
}
