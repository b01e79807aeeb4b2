//! What resolvers ask about the caller.
//!
//! Who may ask for a field is declared with [`crate::access::Access`] and enforced around it. Two places need more,
//! because async-graphql does not run its guards or extensions there:
//!
//! - entity resolvers ignore guards: they begin with [`authenticated`];
//! - a subscription's stream is made before the first event goes through the extension: its field has
//!   `guard = "Authenticated"` beside its declaration.

use std::sync::Arc;

use async_graphql::{Context, Guard, Result};
use uuid::Uuid;
use vostro_kernel::{RequestContext, Role};

use crate::faults::{forbidden, internal, unauthenticated};
use crate::scope::RequestScope;

/// The roles that may look at customers' objects on the bank's behalf.
pub const STAFF: &[Role] = &[Role::ComplianceOfficer, Role::Operator, Role::Admin];

/// The request the resolver works for.
///
/// # Errors
/// An internal fault when the schema was called without a [`RequestScope`], which only a wiring mistake can cause.
pub fn scope<'a>(ctx: &Context<'a>) -> Result<&'a Arc<RequestScope>> {
    ctx.data_opt::<Arc<RequestScope>>().ok_or_else(|| internal("the request carries no scope"))
}

/// The context of the request, whoever makes it.
///
/// # Errors
/// As [`scope`].
pub fn context<'a>(ctx: &Context<'a>) -> Result<&'a RequestContext> {
    scope(ctx).map(|scope| scope.context())
}

/// The context of a request by somebody who is logged in.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is.
pub fn authenticated<'a>(ctx: &Context<'a>) -> Result<&'a RequestContext> {
    let context = context(ctx)?;
    if context.actor.id.is_some() { Ok(context) } else { Err(unauthenticated()) }
}

/// The id of the user who is logged in.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is.
pub fn user_id(ctx: &Context<'_>) -> Result<Uuid> {
    context(ctx)?.actor.id.ok_or_else(unauthenticated)
}

/// A context with a command id of its own, for a mutation. Check access first (a guard does).
///
/// # Errors
/// As [`scope`].
pub fn command(ctx: &Context<'_>) -> Result<RequestContext> {
    scope(ctx).map(|scope| scope.command())
}

/// Whoever is logged in.
#[derive(Debug, Clone, Copy)]
pub struct Authenticated;

impl Guard for Authenticated {
    async fn check(&self, ctx: &Context<'_>) -> Result<()> {
        authenticated(ctx).map(|_| ())
    }
}

/// Whoever has one of the roles; for subscriptions, beside the same declaration.
#[derive(Debug, Clone, Copy)]
pub struct OnlyRoles(pub &'static [Role]);

impl Guard for OnlyRoles {
    async fn check(&self, ctx: &Context<'_>) -> Result<()> {
        let context = authenticated(ctx)?;
        if context.actor.has_any(self.0) { Ok(()) } else { Err(forbidden()) }
    }
}
