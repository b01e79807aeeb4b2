//! The sub-schema of `node` and `nodes`: any object by its id, whichever module owns it.
//!
//! It maps the prefix of an id to a type and answers with the bare id; what else is selected comes from the module that
//! owns the type, by entity resolution. Whether the caller may see the object is asked of that module first, so that
//! an id that leads nowhere and one that leads to somebody else's object are both `null`.

mod directory;

use std::sync::Arc;

use async_graphql::{Context, EmptyMutation, EmptySubscription, ID, Interface, Object, Result, SimpleObject};
use uuid::Uuid;
use vostro_kernel::ids::IdKind;

pub use directory::{Directory, Facades, Subgraphs};

use crate::access::{Access, signed_in};
use crate::faults::bad_user_input;
use crate::stitch::subgraph::{self, Builder};
use crate::{guards, ids};

/// The most ids `nodes` takes at once.
pub const MOST_IDS: usize = 20;

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
            fn of(kind: IdKind, id: ID) -> Self {
                match kind {
                    $(IdKind::$name => Self::$name($name { id }),)+
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
    /// The entries of an account in a period, as a document.
    Statement,
    /// Something a rule found and a compliance officer has to look at.
    Violation,
    /// A document that is kept with a violation.
    Evidence,
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

    /// The objects with these ids, in their order, `null` where there is none you may see. At most 20 at once.
    #[graphql(directive = Access::apply(signed_in().about(20)))]
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> Result<Option<Vec<Option<Node>>>> {
        if ids.len() > MOST_IDS {
            return Err(bad_user_input(format!("`ids` has {} entries: at most {MOST_IDS} are taken.", ids.len())));
        }
        find(ctx, &ids).await.map(Some)
    }
}

async fn find(ctx: &Context<'_>, wanted: &[ID]) -> Result<Vec<Option<Node>>> {
    let read: Vec<Option<(IdKind, Uuid)>> = wanted.iter().map(|id| kind_of(id)).collect();
    let wanted: Vec<(IdKind, Uuid)> = read.iter().flatten().copied().collect();
    guards::authenticated(ctx)?;
    let visible = ctx.data::<Arc<dyn Directory>>()?.visible(guards::scope(ctx)?, &wanted).await?;
    let node = |(kind, id): (IdKind, Uuid)| {
        let known = visible.contains(&(kind, id));
        // As the bank writes it, however it was asked for: clients keep objects by their ids.
        known.then(|| Node::of(kind, ids::encode(kind, id)))
    };
    Ok(read.into_iter().map(|read| read.and_then(node)).collect())
}

fn kind_of(id: &str) -> Option<(IdKind, Uuid)> {
    IdKind::ALL.into_iter().find_map(|kind| kind.decode(id).ok().map(|uuid| (kind, uuid)))
}

/// The subgraph; whoever wires the bank adds an `Arc<dyn Directory>` as data.
pub fn builder() -> Builder<Query, EmptyMutation, EmptySubscription> {
    subgraph::begin(Query, EmptyMutation, EmptySubscription)
}

#[cfg(test)]
mod tests {
    use vostro_kernel::{Actor, RequestContext, Role, SystemIds};

    use super::*;
    use crate::scope::RequestScope;

    #[tokio::test]
    async fn more_ids_than_are_priced_are_refused() {
        let actor = Actor::person(Uuid::nil(), [Role::Customer].into_iter().collect(), None);
        let scope = RequestScope::new(RequestContext::of(actor, &SystemIds), Arc::new(SystemIds));
        let ids = vec![IdKind::Account.encode(Uuid::nil()); MOST_IDS + 1];
        let request = async_graphql::Request::new(format!("{{ nodes(ids: {ids:?}) {{ id }} }}"));
        let answer = subgraph::finish(builder()).execute(request.data(Arc::new(scope))).await;
        assert_eq!(answer.errors[0].message, "`ids` has 21 entries: at most 20 are taken.");
        let code = answer.errors[0].extensions.as_ref().and_then(|extensions| extensions.get("code"));
        assert_eq!(code, Some(&"BAD_USER_INPUT".into()));
    }

    #[test]
    fn an_id_tells_its_kind_and_nonsense_tells_none() {
        let id = IdKind::Account.encode(Uuid::nil());
        assert_eq!(kind_of(&id), Some((IdKind::Account, Uuid::nil())));
        for text in ["", "acc_", "acc_1", "xyz_00000000-0000-0000-0000-000000000000"] {
            assert_eq!(kind_of(text), None, "{text}");
        }
    }
}
