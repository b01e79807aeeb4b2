use async_graphql::{Context, Result, SimpleObject};
use chrono::DateTime as Time;
use futures::{Stream, StreamExt as _};
use uuid::Uuid;
use vostro_compliance::Position;

use super::types::Violation;
use super::{OFFICERS, facade, failure};
use crate::access::{Access, only};
use crate::faults::bad_user_input;
use crate::guards::{self, Authenticated};
use crate::live::{self, UpdateKind};
use crate::scalars::DateTime;

/// A violation that is there or was found.
#[derive(SimpleObject)]
pub struct ViolationUpdate {
    violation: Violation,
    /// The violation's own: 1, as nothing happens to one after it was found.
    sequence: i64,
    occurred_at: DateTime,
    kind: UpdateKind,
    /// Pass it as `after` to go on behind this update.
    cursor: String,
}

const DETECTED: &str = "violationDetected";

/// Watching what the rules find.
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
        let after = after.map(|(at, ids)| {
            let at = Time::from_timestamp_micros(at).filter(|at| *at >= Time::UNIX_EPOCH);
            let at = at.ok_or_else(|| bad_user_input("`after` is not the `cursor` of an update."))?;
            Ok::<_, async_graphql::Error>(Position { at, ids })
        });
        let updates = facade(ctx)?.follow_violations(&guards::command(ctx)?, after.transpose()?).await;
        Ok(updates.map_err(failure)?.map(|update| {
            let update = update.map_err(failure)?;
            let Position { at, ids } = &update.position;
            Ok(ViolationUpdate {
                sequence: 1,
                occurred_at: update.violation.detected_at.into(),
                kind: update.kind.into(),
                cursor: live::cursor(DETECTED, &(at.timestamp_micros(), ids)),
                violation: Violation(vostro_compliance::Violation::clone(&update.violation)),
            })
        }))
    }
}
