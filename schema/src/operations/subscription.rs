use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use async_graphql::{Context, Result, SimpleObject};
use chrono::{DateTime, Utc};
use futures::Stream;
use tokio::sync::watch;

use super::watch::{Look, ModuleLook, OperationsWatch};
use super::{OPERATORS, desks, fault};
use crate::access::{Access, only};
use crate::guards::OnlyRoles;
use crate::live::{self, UpdateKind};
use crate::scalars;

/// How a module's messaging is.
#[derive(Debug, SimpleObject)]
pub struct ModuleState {
    module: &'static str,
    /// Whether an operator has stopped its consumers.
    is_paused: bool,
    /// Events that wait to be published.
    outbox_waiting: i64,
    /// The time of the oldest of them.
    outbox_oldest_at: Option<scalars::DateTime>,
    /// Keys whose parked messages are tried again by themselves.
    keys_waiting: i64,
    /// Keys whose parked messages wait for an operator.
    keys_quarantined: i64,
}

/// How the modules are from now on.
#[derive(Debug, SimpleObject)]
pub struct OperationsUpdate {
    modules: Vec<ModuleState>,
    /// When it was found, in seconds since the beginning of 2026. Grows with every update, also behind a cursor of another
    /// instance.
    sequence: i64,
    occurred_at: scalars::DateTime,
    /// `LAGGED` when states between were passed over, or may have been while the client was away.
    kind: UpdateKind,
    /// Pass it as `after`: the subscription then begins with the next state that is different.
    cursor: String,
}

const CHANGED: &str = "operationsChanged";

/// In seconds since 1970. An `Int` has 32 bits, and would not reach beyond 2038 from there.
const BEGINNING_OF_2026: i64 = 1_767_225_600;

/// What a client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    sequence: i64,
    digest: u32,
}

impl Told {
    /// In the cursor it is one number, as it was before there was a sequence in it, so that the two sorts of cursors do not
    /// keep releases from running side by side.
    const fn number(self) -> u64 {
        (self.sequence.cast_unsigned() << 32) | self.digest as u64
    }

    /// A sequence far from now belongs to a cursor without one.
    fn read(number: u64, now: DateTime<Utc>) -> Self {
        const FAR: i64 = 3_600;
        let (sequence, [_, _, _, _, digest @ ..]) = ((number >> 32).cast_signed(), number.to_be_bytes());
        let sequence = if sequence <= seconds(now) + FAR { sequence } else { 0 };
        Self { sequence, digest: u32::from_be_bytes(digest) }
    }
}

fn seconds(at: DateTime<Utc>) -> i64 {
    at.timestamp() - BEGINNING_OF_2026
}

impl OperationsUpdate {
    /// The update with the next sequence for whoever was told of that one last.
    fn of(look: &Look, kind: UpdateKind, last: i64) -> (Self, Told) {
        let state = |look: &ModuleLook| ModuleState {
            module: look.module,
            is_paused: look.paused,
            outbox_waiting: look.outbox_rows,
            outbox_oldest_at: look.outbox_oldest.map(Into::into),
            keys_waiting: look.parked.waiting,
            keys_quarantined: look.parked.quarantined,
        };
        // Clocks of different instances are not the same.
        let told = Told { sequence: seconds(look.at).max(last + 1), digest: digest(look) };
        let update = Self {
            modules: look.modules.iter().map(state).collect(),
            sequence: told.sequence,
            occurred_at: look.at.into(),
            kind,
            cursor: live::cursor(CHANGED, &told.number()),
        };
        (update, told)
    }
}

/// The same for the same state, in every instance of one release. Another release may say otherwise, and then a client
/// gets a state it did not need.
fn digest(look: &Look) -> u32 {
    let mut hasher = DefaultHasher::new();
    look.modules.hash(&mut hasher);
    let [_, _, _, _, digest @ ..] = hasher.finish().to_be_bytes();
    u32::from_be_bytes(digest)
}

/// One listener.
struct Watching {
    looks: watch::Receiver<Arc<Look>>,
    /// The last look it has seen.
    number: u64,
    told: Told,
    first: Option<OperationsUpdate>,
}

impl Watching {
    async fn next(&mut self) -> Option<OperationsUpdate> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            self.looks.changed().await.ok()?;
            let look = Arc::clone(&self.looks.borrow_and_update());
            let kind = if look.number == self.number + 1 { UpdateKind::Change } else { UpdateKind::Lagged };
            self.number = look.number;
            // It may be again as it was when the client last looked.
            if digest(&look) != self.told.digest {
                let (update, told) = OperationsUpdate::of(&look, kind, self.told.sequence);
                self.told = told;
                return Some(update);
            }
        }
    }
}

/// What operators watch.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// How the modules' outboxes, consumers and parked messages are, now and whenever a look, every two seconds, finds them
    /// changed. Only the latest state is told. With `after`, the cursor of an earlier update, not before they are different
    /// from then; the first update is then `LAGGED` when they are already.
    #[graphql(guard = "OnlyRoles(OPERATORS)", directive = Access::apply(only(OPERATORS).internal().cost(5)))]
    async fn operations_changed(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
    ) -> Result<impl Stream<Item = OperationsUpdate> + use<>> {
        let operations = desks(ctx)?;
        let known = live::position::<u64>(CHANGED, after.as_deref())?;
        let known = known.map(|number| Told::read(number, operations.clock.now()));
        let watch = ctx.data::<OperationsWatch>()?;
        let mut looks = watch.follow(operations).await.map_err(fault)?;
        if known.is_some_and(|known| known.digest != digest(&looks.borrow())) {
            // What was last seen here may be older than what the client knows from another instance.
            watch.look_again(operations).await.map_err(fault)?;
        }
        let look = Arc::clone(&looks.borrow_and_update());
        let (first, told) = match known {
            Some(known) if known.digest == digest(&look) => (None, known),
            known => {
                let kind = if known.is_some() { UpdateKind::Lagged } else { UpdateKind::Snapshot };
                let (update, told) = OperationsUpdate::of(&look, kind, known.map_or(0, |known| known.sequence));
                (Some(update), told)
            }
        };
        let watching = Watching { looks, number: look.number, told, first };
        Ok(futures::stream::unfold(watching, |mut watching| async move {
            let update = watching.next().await?;
            Some((update, watching))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_a_release_without_sequences_is_taken_and_tells_none() {
        let now = DateTime::from_timestamp(BEGINNING_OF_2026 + 1_000, 0).expect("a time");
        let told = Told { sequence: 990, digest: 7 };
        assert_eq!(Told::read(told.number(), now), told);
        let digest_alone = 0xf123_4567_0000_0007;
        assert_eq!(Told::read(digest_alone, now), Told { sequence: 0, digest: 7 });
    }
}
