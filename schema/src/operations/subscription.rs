use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use async_graphql::{Context, Result, SimpleObject};
use futures::Stream;

use super::watch::{Look, ModuleLook, OperationsWatch};
use super::{OPERATORS, desks, fault};
use crate::access::{Access, only};
use crate::guards::OnlyRoles;
use crate::live::{self, UpdateKind};
use crate::scalars::DateTime;

/// How a module's messaging is.
#[derive(Debug, SimpleObject)]
pub struct ModuleState {
    module: &'static str,
    /// Whether an operator has stopped its consumers.
    is_paused: bool,
    /// Events that wait to be published.
    outbox_waiting: i64,
    /// The time of the oldest of them.
    outbox_oldest_at: Option<DateTime>,
    /// Keys whose parked messages are tried again by themselves.
    keys_waiting: i64,
    /// Keys whose parked messages wait for an operator.
    keys_quarantined: i64,
}

/// How the modules are from now on.
#[derive(Debug, SimpleObject)]
pub struct OperationsUpdate {
    modules: Vec<ModuleState>,
    /// When it was found, in seconds since the beginning of 2026; grows.
    sequence: i64,
    occurred_at: DateTime,
    /// `LAGGED` when states between were passed over.
    kind: UpdateKind,
    /// Pass it as `after`: the subscription then begins with the next state that is different.
    cursor: String,
}

const CHANGED: &str = "operationsChanged";

/// In seconds since 1970. An `Int` has 32 bits, and would not reach beyond 2038 from there.
const BEGINNING_OF_2026: i64 = 1_767_225_600;

impl OperationsUpdate {
    fn of(look: &Look, kind: UpdateKind) -> Self {
        let state = |look: &ModuleLook| ModuleState {
            module: look.module,
            is_paused: look.paused,
            outbox_waiting: look.outbox_rows,
            outbox_oldest_at: look.outbox_oldest.map(Into::into),
            keys_waiting: look.parked.waiting,
            keys_quarantined: look.parked.quarantined,
        };
        Self {
            modules: look.modules.iter().map(state).collect(),
            sequence: look.at.timestamp() - BEGINNING_OF_2026,
            occurred_at: look.at.into(),
            kind,
            cursor: live::cursor(CHANGED, &digest(look)),
        }
    }
}

/// The same for the same state, in every instance of one release. Another release may say otherwise, and then a client
/// gets a snapshot it did not need.
fn digest(look: &Look) -> u64 {
    let mut hasher = DefaultHasher::new();
    look.modules.hash(&mut hasher);
    hasher.finish()
}

/// What operators watch.
pub struct Subscription;

#[async_graphql::Subscription(name = "Subscription")]
impl Subscription {
    /// How the modules' outboxes, consumers and parked messages are, now and whenever a look, every two seconds, finds them
    /// changed. With `after`, the cursor of an earlier update, not before they are different from then.
    #[graphql(guard = "OnlyRoles(OPERATORS)", directive = Access::apply(only(OPERATORS).internal().cost(5)))]
    async fn operations_changed(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
    ) -> Result<impl Stream<Item = OperationsUpdate> + use<>> {
        let after = live::position::<u64>(CHANGED, after.as_deref())?;
        let mut looks = ctx.data::<OperationsWatch>()?.follow(desks(ctx)?).await.map_err(fault)?;
        let now = Arc::clone(&looks.borrow_and_update());
        let number = now.number;
        let first = (after != Some(digest(&now))).then(|| OperationsUpdate::of(&now, UpdateKind::Snapshot));
        let changes = futures::stream::unfold((looks, number), |(mut looks, number)| async move {
            looks.changed().await.ok()?;
            let look = Arc::clone(&looks.borrow_and_update());
            let kind = if look.number == number + 1 { UpdateKind::Change } else { UpdateKind::Lagged };
            Some((OperationsUpdate::of(&look, kind), (looks, look.number)))
        });
        Ok(futures::StreamExt::chain(futures::stream::iter(first), changes))
    }
}
