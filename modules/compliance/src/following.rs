use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{Stream, stream};
use sqlx::PgPool;
use uuid::Uuid;
use vostro_kernel::Page;
use vostro_messaging::{Listener, LiveFeed, Look, Missed, UpdateKind};

use crate::error::ComplianceError;
use crate::store::violations::{self, Violation};

/// What the rules find, right after its commit.
pub(crate) type Findings = LiveFeed<(), Arc<Violation>>;

/// How many of the latest violations a stream begins with.
const SNAPSHOT: i64 = 20;
/// How many a listener catches up with at most. Whoever is further behind begins anew.
const MOST: i64 = 1_000;

/// How far a stream had come. Violations are committed one transaction after the other with times that never go back, so
/// this tells what was told from what was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Everything before this time was told.
    pub at: DateTime<Utc>,
    /// What was told of exactly this time.
    pub ids: Vec<Uuid>,
}

impl Position {
    const BEGINNING: Self = Self { at: DateTime::UNIX_EPOCH, ids: Vec::new() };

    /// Moves behind the violation; `false` when it was told before.
    fn pass(&mut self, violation: &Violation) -> bool {
        let (at, id) = (violation.detected_at, violation.violation_id);
        if at < self.at || (at == self.at && self.ids.contains(&id)) {
            return false;
        }
        if at > self.at {
            *self = Self { at, ids: Vec::new() };
        }
        self.ids.push(id);
        true
    }
}

/// A violation that is told.
#[derive(Debug, Clone)]
pub struct ViolationUpdate {
    pub violation: Arc<Violation>,
    pub kind: UpdateKind,
    /// From where to go on behind it.
    pub position: Position,
}

/// One listener.
struct Following {
    pool: PgPool,
    live: Listener<(), Arc<Violation>>,
    position: Position,
    kind: UpdateKind,
    ready: VecDeque<ViolationUpdate>,
}

/// The latest violations, oldest first, or those behind the position, and then each new one. Whoever is more than
/// [`MOST`] behind gets the latest, the first of them marked as [`UpdateKind::Lagged`].
pub(crate) async fn follow(
    pool: PgPool,
    findings: &Findings,
    after: Option<Position>,
) -> sqlx::Result<impl Stream<Item = Result<ViolationUpdate, ComplianceError>> + Send + use<>> {
    // Listening first: what is committed between the look and the first news is heard twice, never lost.
    let live = findings.listen(());
    let mut following =
        Following { pool, live, position: Position::BEGINNING, kind: UpdateKind::Change, ready: VecDeque::new() };
    match after {
        None => following.begin(UpdateKind::Snapshot).await?,
        Some(position) => {
            following.position = position;
            following.catch_up().await?;
        }
    }
    Ok(stream::try_unfold(following, |mut following| async move {
        let update = following.next().await?;
        Ok(Some((update, following)))
    }))
}

impl Following {
    async fn next(&mut self) -> Result<ViolationUpdate, ComplianceError> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Ok(update);
            }
            match self.live.recv().await {
                Ok(violation) => self.take(violation),
                Err(Missed) => self.catch_up().await?,
            }
        }
    }

    async fn begin(&mut self, kind: UpdateKind) -> sqlx::Result<()> {
        let latest = violations::page(&self.pool, Page::forward(None, SNAPSHOT)).await?;
        self.kind = kind;
        for violation in latest.into_iter().rev() {
            self.take(Arc::new(violation));
            // One gap, one mark; a beginning is one as a whole.
            self.kind = if kind == UpdateKind::Lagged { UpdateKind::Change } else { kind };
        }
        self.kind = UpdateKind::Change;
        Ok(())
    }

    async fn catch_up(&mut self) -> sqlx::Result<()> {
        let missed = violations::since(&self.pool, self.position.at, MOST).await?;
        if i64::try_from(missed.len()).is_ok_and(|missed| missed < MOST) {
            missed.into_iter().for_each(|violation| self.take(Arc::new(violation)));
            return Ok(());
        }
        self.begin(UpdateKind::Lagged).await
    }

    /// Makes ready what was not told.
    fn take(&mut self, violation: Arc<Violation>) {
        if self.position.pass(&violation) {
            let update = ViolationUpdate { violation, kind: self.kind, position: self.position.clone() };
            self.ready.push_back(update);
        }
    }
}

/// What the rules find in other instances.
pub(crate) struct FoundElsewhere {
    pool: PgPool,
    position: Option<Position>,
}

impl FoundElsewhere {
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool, position: None }
    }
}

#[async_trait]
impl Look<(), Arc<Violation>> for FoundElsewhere {
    /// The first look tells the latest: whoever listens knows what was there before.
    async fn look(&mut self, _: Vec<()>) -> sqlx::Result<Vec<((), Arc<Violation>)>> {
        let found = match &self.position {
            Some(position) => violations::since(&self.pool, position.at, MOST).await?,
            None => {
                let mut latest = violations::page(&self.pool, Page::forward(None, SNAPSHOT)).await?;
                latest.reverse();
                latest
            }
        };
        let position = self.position.get_or_insert(Position::BEGINNING);
        let new = found.into_iter().filter(|violation| position.pass(violation));
        Ok(new.map(|violation| ((), Arc::new(violation))).collect())
    }
}
