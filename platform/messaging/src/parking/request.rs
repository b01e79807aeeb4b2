use std::fmt;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::operator::OperatorAction;
use vostro_kernel::{Page, PageDirection};

/// What can be done about parked messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkingAction {
    /// Try the keys again now, each from its first message on.
    Redrive,
    /// Pass over the first message of a key; the next one is tried.
    Skip,
    /// Give messages up, wherever in their keys they are.
    Discard,
}

impl ParkingAction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "REDRIVE",
            Self::Skip => "SKIP",
            Self::Discard => "DISCARD",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "REDRIVE" => Self::Redrive,
            "SKIP" => Self::Skip,
            _ => Self::Discard,
        }
    }

    /// The command's name in the audit log.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Redrive => "parkedRedrive",
            Self::Skip => "parkedSkip",
            Self::Discard => "parkedDiscard",
        }
    }
}

impl From<ParkingAction> for OperatorAction {
    fn from(action: ParkingAction) -> Self {
        match action {
            ParkingAction::Redrive => Self::Redrive,
            ParkingAction::Skip => Self::Skip,
            ParkingAction::Discard => Self::Discard,
        }
    }
}

impl fmt::Display for ParkingAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one operator wants done and a second one has to agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkingRequest {
    pub id: Uuid,
    pub action: ParkingAction,
    pub subscription: String,
    /// The parked messages it is about, as they were when it was asked for.
    pub messages: Vec<Uuid>,
    pub reason: String,
    pub state: RequestState,
    pub requested_by: Uuid,
    pub requested_at: DateTime<Utc>,
    pub decided_by: Option<Uuid>,
    pub decided_at: Option<DateTime<Utc>>,
}

impl ParkingRequest {
    /// In whose schema the messages are.
    pub fn module(&self) -> &str {
        super::desk::module_of(&self.subscription)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    Open,
    Approved,
    Rejected,
}

impl RequestState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "OPEN" => Self::Open,
            "APPROVED" => Self::Approved,
            _ => Self::Rejected,
        }
    }
}

/// A request as its row has it; the check constraints keep its texts to those of the enums.
struct Row {
    id: Uuid,
    action: String,
    subscription: String,
    messages: Vec<Uuid>,
    reason: String,
    state: String,
    requested_by: Uuid,
    requested_at: DateTime<Utc>,
    decided_by: Option<Uuid>,
    decided_at: Option<DateTime<Utc>>,
}

impl From<Row> for ParkingRequest {
    fn from(row: Row) -> Self {
        let Row { id, subscription, messages, reason, requested_by, requested_at, decided_by, decided_at, .. } = row;
        let (action, state) = (ParkingAction::parse(&row.action), RequestState::parse(&row.state));
        Self { id, action, subscription, messages, reason, state, requested_by, requested_at, decided_by, decided_at }
    }
}

/// Stores an open request.
pub(super) async fn insert_in_tx(connection: &mut PgConnection, request: &ParkingRequest) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into parking_request (id, action, subscription, messages, reason, state, requested_by, requested_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        request.id,
        request.action.as_str(),
        request.subscription,
        &request.messages,
        request.reason,
        request.state.as_str(),
        request.requested_by,
        request.requested_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The request, locked: two people cannot decide about it at the same time.
pub(super) async fn lock_in_tx(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<ParkingRequest>> {
    let row = sqlx::query_as!(
        Row,
        "select id, action, subscription, messages, reason, state, requested_by, requested_at, decided_by, decided_at
         from parking_request where id = $1 for update",
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Into::into))
}

/// Says how it was decided. The database refuses it when both are the same person.
pub(super) async fn decide_in_tx(
    connection: &mut PgConnection,
    id: Uuid,
    state: RequestState,
    by: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update parking_request set state = $2, decided_by = $3, decided_at = $4 where id = $1",
        id,
        state.as_str(),
        by,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One request.
pub(super) async fn find(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<ParkingRequest>> {
    let row = sqlx::query_as!(
        Row,
        "select id, action, subscription, messages, reason, state, requested_by, requested_at, decided_by, decided_at
         from parking_request where id = $1",
        id
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Into::into))
}

/// A page of the requests, newest first, the open ones only if asked so.
pub(super) async fn list(
    pool: &PgPool,
    open_only: bool,
    page: Page<(DateTime<Utc>, Uuid)>,
) -> sqlx::Result<Vec<ParkingRequest>> {
    let (requested_at, id) = page.from.unzip();
    macro_rules! outwards {
        ($keyset:literal) => {
            sqlx::query_as!(
                Row,
                "select id, action, subscription, messages, reason, state, requested_by, requested_at, decided_by, decided_at
                 from parking_request
                 where (not $1 or state = 'OPEN') and " + $keyset + " limit $4",
                open_only,
                requested_at,
                id.unwrap_or_default(),
                page.limit
            )
            .fetch_all(pool)
            .await?
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!(
            "(requested_at, id) < (coalesce($2, 'infinity'::timestamptz), $3::uuid) order by requested_at desc, id desc"
        ),
        PageDirection::Backward => outwards!(
            "(requested_at, id) > (coalesce($2, '-infinity'::timestamptz), $3::uuid) order by requested_at, id"
        ),
    };
    Ok(page.in_order(rows).into_iter().map(Into::into).collect())
}
