//! The sub-schema of `node` and `nodes`: any object by its id, whichever module owns it.
//!
//! It maps the prefix of an id to a type and answers with the bare id; what else is selected comes from the module that
//! owns the type, by entity resolution. Whether the caller may see the object is asked of that module first, so that
//! an id that leads nowhere and one that leads to somebody else's object are both `null`.

mod directory;

use async_graphql::SchemaBuilder;
use async_graphql::{Context, EmptyMutation, EmptySubscription, ID, Interface, Object, Result, Schema, SimpleObject};
use uuid::Uuid;
use vostro_kernel::ids::IdKind;

pub use directory::Directory;

use crate::access::{Access, signed_in};
use crate::faults::bad_user_input;
use crate::guards;

/// The most ids `nodes` takes at once.
pub const MOST_IDS: usize = 100;

macro_rules! stubs {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, SimpleObject)]
        #[graphql(unresolvable = "id")]
        pub struct $name {
            id: ID,
        })+

        /// Whatever has an id of its own.
        #[derive(Debug, Clone, Interface)]
        #[graphql(field(name = "id", ty = "&ID"))]
        pub enum Node {
            $($name($name)),+
        }

        impl Node {
            fn of(kind: IdKind, id: ID) -> Option<Self> {
                match kind {
                    $(IdKind::$name => Some(Self::$name($name { id })),)+
                    _ => None,
                }
            }
        }
    };
}
stubs! {
    User,
    /// An account of the bank.
    Account,
    /// A payment.
    Transaction,
    /// A message to a customer.
    Notification,
}

/// Finding objects by their ids alone.
pub struct Query;

#[Object(name = "Query")]
impl Query {
    /// The object with this id; `null` when there is none, or none you may see.
    #[graphql(directive = Access::apply(signed_in()))]
    async fn node(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Node>> {
        Ok(find(ctx, &[id]).await?.pop().flatten())
    }

    /// The objects with these ids, in their order, `null` where there is none you may see. At most 100 at once.
    #[graphql(directive = Access::apply(signed_in().about(20)))]
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> Result<Option<Vec<Option<Node>>>> {
        if ids.len() > MOST_IDS {
            return Err(bad_user_input(format!("`ids` must not be more than {MOST_IDS}.")));
        }
        find(ctx, &ids).await.map(Some)
    }
}

async fn find(ctx: &Context<'_>, ids: &[ID]) -> Result<Vec<Option<Node>>> {
    let read: Vec<Option<(IdKind, Uuid)>> = ids.iter().map(|id| kind_of(id)).collect();
    let wanted: Vec<(IdKind, Uuid)> = read.iter().flatten().copied().collect();
    let visible = ctx.data::<Directory>()?.visible(guards::authenticated(ctx)?, &wanted).await?;
    let node = |(read, id): (Option<(IdKind, Uuid)>, &ID)| {
        let (kind, uuid) = read?;
        visible.contains(&uuid).then(|| Node::of(kind, id.clone())).flatten()
    };
    Ok(read.into_iter().zip(ids).map(node).collect())
}

fn kind_of(id: &str) -> Option<(IdKind, Uuid)> {
    IdKind::ALL.into_iter().find_map(|kind| kind.decode(id).ok().map(|uuid| (kind, uuid)))
}

/// The subgraph; whoever wires the bank adds a [`Directory`] as data.
pub fn builder() -> SchemaBuilder<Query, EmptyMutation, EmptySubscription> {
    Schema::build(Query, EmptyMutation, EmptySubscription)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_kind_and_nonsense_tells_none() {
        let id = IdKind::Account.encode(Uuid::nil());
        assert_eq!(kind_of(&id), Some((IdKind::Account, Uuid::nil())));
        for text in ["", "acc_", "acc_1", "xyz_00000000-0000-0000-0000-000000000000"] {
            assert_eq!(kind_of(text), None, "{text}");
        }
    }
}
