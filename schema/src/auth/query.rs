use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};
use uuid::Uuid;

use super::types::User;
use super::{facade, failure};
use crate::access::{Access, anyone, signed_in};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::loader::Batch;
use crate::scope::RequestScope;

/// Reading about people.
pub struct Query;

#[Object(name = "Query")]
impl Query {
    #[graphql(entity)]
    async fn user_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<User>> {
        guards::authenticated(ctx)?;
        let id = ids::decode(IdKind::User, &id)?;
        let ask = async |ids: Vec<Uuid>| {
            let users = facade(ctx)?.users_by_id(guards::context(ctx)?, &ids).await.map_err(failure)?;
            Ok(users.into_iter().map(|user| (user.id, User::from(user))).collect())
        };
        batch(guards::scope(ctx)?).load(id, ask).await
    }

    /// Yourself; `null` when nobody is logged in.
    #[graphql(directive = Access::apply(anyone()))]
    async fn me(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        let user = facade(ctx)?.me(guards::context(ctx)?).await.map_err(failure)?;
        let user = user.map(User::from);
        if let Some(user) = &user {
            // Accounts name their owners, who are often the caller.
            batch(guards::scope(ctx)?).learn([(user.0.id, user.clone())]);
        }
        Ok(user)
    }

    /// The user, if it is you or you work for the bank.
    #[graphql(directive = Access::apply(signed_in()))]
    async fn user(&self, ctx: &Context<'_>, id: ID) -> Result<Option<User>> {
        self.user_by_key(ctx, id).await
    }
}

/// What the request reads of people.
pub(crate) fn batch(scope: &RequestScope) -> Arc<Batch<Uuid, User>> {
    Batch::of(scope)
}
