use uuid::Uuid;

use crate::{Actor, Ids};

/// Everything a use case needs to know about the request it serves, passed as its first argument.
///
/// It travels on into the events the request causes, so that one correlation id ties HTTP, logs, messages and the audit
/// log together.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub actor: Actor,
    /// The same for everything one outside request leads to.
    pub correlation_id: Uuid,
    /// This command; events name it as the cause, and a refusal is recorded under it.
    pub command_id: Uuid,
    /// W3C trace context of the caller, `00-<trace>-<span>-<flags>`.
    pub traceparent: Option<String>,
}

impl RequestContext {
    /// A context for work the bank starts by itself.
    pub fn system(ids: &dyn Ids) -> Self {
        Self { actor: Actor::SYSTEM, correlation_id: ids.next(), command_id: ids.next(), traceparent: None }
    }

    /// A context for a request of `actor` that starts a new correlation.
    pub fn of(actor: Actor, ids: &dyn Ids) -> Self {
        Self { actor, ..Self::system(ids) }
    }

    /// The same request, a further command: several mutations in one document are several commands.
    pub fn next_command(&self, ids: &dyn Ids) -> Self {
        Self { command_id: ids.next(), ..self.clone() }
    }
}
