//! What the engine tells about its work: time and outcome per operation and per module, which fields are used, how often
//! a plan was known already, and which operations were slow.
//!
//! Nothing here comes from a text that somebody sent, or from variables: labels are names of the schema and of registered
//! documents, so that nobody can make new ones, and logs name a document by its hash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, counter, histogram};

use super::documents::Prepared;
use super::response::Reply;
use super::transport::SubgraphResponse;
use crate::faults::FaultCode;
use crate::scope::RequestScope;

/// Seconds from having read a request to having its answer, by operation and outcome (`ok` or the first error's code).
pub const OPERATION_SECONDS: &str = "vostro_graphql_operation_seconds";

/// Seconds a module took to answer one call, by module and outcome (`ok` or `error`).
pub const SUBGRAPH_SECONDS: &str = "vostro_graphql_subgraph_seconds";

/// How often a field was asked for, by type and field. A deprecated field may go when its counter stands still.
pub const FIELD_USES: &str = "vostro_graphql_field_uses_total";

/// How often a stream of events was held up because its caller's streams were told more than they may.
pub const STREAM_PAUSES: &str = "vostro_graphql_stream_pauses_total";

/// Plans asked for, by result: `hit` when the document was known.
pub const PLANS: &str = "vostro_graphql_plans_total";

/// An operation was carried out, or one event of a subscription.
pub fn operation(prepared: &Prepared, started: Instant, reply: &Reply, scope: &RequestScope, slow: Duration) {
    let took = started.elapsed();
    let outcome = reply.code.map_or("ok", FaultCode::as_str);
    let operation = Arc::clone(&prepared.label);
    histogram!(OPERATION_SECONDS, "operation" => operation, "outcome" => outcome).record(took);
    for field in &prepared.uses {
        field.increment(1);
    }
    if took > slow {
        tracing::warn!(
            correlation_id = %scope.context().correlation_id,
            operation = &*prepared.label,
            document = &*prepared.id,
            outcome,
            millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "a slow operation"
        );
    }
}

/// A module answered.
pub fn subgraph(module: &str, started: Instant, response: &SubgraphResponse) {
    let outcome = if response.errors.is_empty() { "ok" } else { "error" };
    histogram!(SUBGRAPH_SECONDS, "module" => module.to_owned(), "outcome" => outcome).record(started.elapsed());
}

/// A stream of events is held up for a while.
pub fn pause() {
    counter!(STREAM_PAUSES).increment(1);
}

/// A plan was asked for.
pub fn plan(known: bool) {
    counter!(PLANS, "result" => if known { "hit" } else { "miss" }).increment(1);
}

/// The counter of a field.
pub fn uses(type_name: &str, field: &str) -> Counter {
    counter!(FIELD_USES, "type" => type_name.to_owned(), "field" => field.to_owned())
}
