//! The sub-schema of the audit log, its proof, and what the rules found. For compliance officers and administrators: the
//! module itself decides who may ask, so that an attempt by somebody else is on record.

mod mutation;
mod query;
mod subscription;
#[cfg(test)]
mod tests;
mod types;

use async_graphql::{Context, Error, Result};
use vostro_compliance::{Compliance, ComplianceError};
use vostro_kernel::Role;

use crate::faults::{forbidden, internal, module_unavailable};
use crate::stitch::subgraph::{self, Builder};

pub use mutation::{ComplianceErrorCode, ComplianceUserError, Mutation};
pub use query::Query;
pub(crate) use query::{evidence_batch, violation_batch};
pub use subscription::{Subscription, ViolationUpdate};
pub use types::{
    AuditActorKind, AuditEvent, AuditEventFilter, AuditOutcome, AuditVerification, EventCount, EventGap, Evidence,
    Violation, ViolationSeverity,
};

/// The module's subgraph; whoever wires the bank adds [`Compliance`] as data.
pub fn builder() -> Builder<Query, Mutation, Subscription> {
    subgraph::begin(Query, Mutation, Subscription)
}

/// Who may look into the audit log.
const OFFICERS: &[Role] = &[Role::ComplianceOfficer, Role::Admin];

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

/// What somebody sees of objects that were asked for by their ids: whoever may not look is on record and sees none, as if
/// there were none.
pub(crate) fn shown<T>(found: Result<Vec<T>, ComplianceError>) -> Result<Vec<T>> {
    match found {
        Err(ComplianceError::Refused(_)) => Ok(Vec::new()),
        found => found.map_err(failure),
    }
}
