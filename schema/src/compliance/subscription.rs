use async_graphql::{Context, Result, SimpleObject};
use chrono::DateTime as Time;
use futures::{Stream, StreamExt as _};
use uuid::Uuid;
use vostro_compliance::Position;

use super::types::{Evidence, Violation};
use super::{OFFICERS, facade, failure};
use crate::access::{Access, only};
use crate::faults::bad_user_input;
use crate::guards::{self, Authenticated};
use crate::live::{self, UpdateKind};
use crate::scalars::DateTime;

/// A violation that is there or was found, or what has happened to it.
#[derive(SimpleObject)]
pub struct ViolationUpdate {
    violation: Violation,
    /// The violation's own: 1 when it was found, and one more with each document. `violationDetected` tells of 1 only.
    sequence: i64,
    occurred_at: DateTime,
    /// The document that has come; in a state the latest. Always `null` in `violationDetected`.
    evidence: Option<Evidence>,
    kind: UpdateKind,
    /// Pass it as `after` to go on behind this update.
    cursor: String,
}

impl ViolationUpdate {
    fn of(stream: &str, update: vostro_compliance::ViolationUpdate) -> Self {
        let Position { at, ids, document } = &update.position;
        let at = at.timestamp_micros();
        Self {
            sequence: update.sequence(),
            occurred_at: update.occurred_at().into(),
            kind: update.kind.into(),
            cursor: match document {
                Some(document) => live::cursor(stream, &(at, ids, document)),
                None => live::cursor(stream, &(at, ids)),
            },
            violation: Violation(vostro_compliance::Violation::clone(&update.violation)),
            evidence: update.evidence.map(Evidence),
        }
    }
}

const DETECTED: &str = "violationDetected";
const UPDATED: &str = "violationUpdated";

fn position(at: i64, ids: Vec<Uuid>, document: Option<i64>) -> Result<Position> {
    let at = Time::from_timestamp_micros(at).filter(|at| *at >= Time::UNIX_EPOCH);
    let at = at.ok_or_else(|| bad_user_input("`after` is not the `cursor` of an update."))?;
    Ok(Position { at, ids, document })
}

/// Watching what the rules find and what becomes of it.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// The latest 20 violations, oldest first, and then each that the rules find. With `after`, the cursor of an earlier
    /// update, all since then and no snapshot. Subscribing is a command of its own: a refused one is recorded.
    #[graphql(guard = "Authenticated", directive = Access::apply(only(OFFICERS).recorded().cost(5)))]
    async fn violation_detected(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<ViolationUpdate>> + use<>> {
        let after = live::position::<(i64, Vec<Uuid>)>(DETECTED, after.as_deref())?;
        let after = after.map(|(at, ids)| position(at, ids, None)).transpose()?;
        let updates = facade(ctx)?.follow_violations(&guards::command(ctx)?, after).await.map_err(failure)?;
        Ok(updates.map(|update| Ok(ViolationUpdate::of(DETECTED, update.map_err(failure)?))))
    }

    /// What officers work on: the latest 20 violations as they are, oldest first, and then each that the rules find and each
    /// document that is kept with one, new or old. With `after`, the cursor of an earlier update, all since then and no
    /// snapshot. Subscribing is a command of its own: a refused one is recorded.
    #[graphql(guard = "Authenticated", directive = Access::apply(only(OFFICERS).recorded().cost(5)))]
    async fn violation_updated(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<ViolationUpdate>> + use<>> {
        let after = live::position::<(i64, Vec<Uuid>, i64)>(UPDATED, after.as_deref())?;
        let after = after.map(|(at, ids, document)| position(at, ids, Some(document))).transpose()?;
        let updates = facade(ctx)?.follow_work(&guards::command(ctx)?, after).await.map_err(failure)?;
        Ok(updates.map(|update| Ok(ViolationUpdate::of(UPDATED, update.map_err(failure)?))))
    }
}
