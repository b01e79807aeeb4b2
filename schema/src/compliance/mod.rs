//! The sub-schema of the audit log, its proof, and what the rules found. For compliance officers and administrators: the
//! module itself decides who may ask, so that an attempt by somebody else is on record.

mod query;
#[cfg(test)]
mod tests;
mod types;

use async_graphql::{Context, EmptyMutation, EmptySubscription, Error, Result, Schema, SchemaBuilder};
use vostro_compliance::{Compliance, ComplianceError};

use crate::faults::{forbidden, internal, module_unavailable};

pub use query::Query;
pub use types::{
    AuditActorKind, AuditEvent, AuditEventFilter, AuditOutcome, AuditVerification, EventCount, EventGap, Violation,
    ViolationSeverity,
};

/// The module's subgraph; whoever wires the bank adds [`Compliance`] as data.
pub fn builder() -> SchemaBuilder<Query, EmptyMutation, EmptySubscription> {
    Schema::build(Query, EmptyMutation, EmptySubscription)
}

fn facade<'a>(ctx: &Context<'a>) -> Result<&'a Compliance> {
    ctx.data::<Compliance>()
}

/// A failure as a top-level error. What may pass by itself says so.
fn failure(error: ComplianceError) -> Error {
    if error.is_passing() {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the audit log is not available");
        return module_unavailable();
    }
    match &error {
        ComplianceError::Refused(_) => forbidden(),
        ComplianceError::Database(cause) => internal(cause),
    }
}
