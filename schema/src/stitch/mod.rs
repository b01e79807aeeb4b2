//! Federation in one process: one supergraph, one sub-schema per module, and a planner and executor in between.
//!
//! ```text
//! text ─ documents ─ limits ─ validation ─ planner (hive) ─┐  remembered by text
//!                                                          ▼
//! variables ─ coerced ─ executor ─ transport ─ module      plan + shape of the answer
//!                          │ entities: collect, merge
//!                          ▼
//!                     projection ─ response bytes
//! ```
//!
//! An operation that one module answers alone, in the shape the client asked for, skips everything after the
//! transport: the module's answer is written as it comes. That is the path of every money command.
//!
//! A call of which the caller may see nothing is not made (`pruning`).

mod admission;
mod api_schema;
pub mod boundary;
mod catalog;
mod cost;
mod documents;
mod engine;
mod entities;
mod error;
mod executor;
mod hive;
mod hive_projection;
mod introspection;
mod limits;
mod merging;
#[cfg(test)]
mod merging_tests;
mod monitoring;
mod numbering;
pub mod plan;
mod projection;
mod pruning;
mod response;
pub mod satisfiability;
pub mod sdl;
pub mod subgraph;
mod transport;
mod variables;

pub(crate) use admission::overloaded;
pub use api_schema::{ApiSchema, OperationKind};
pub use catalog::{Catalog, FieldFacts};
pub use cost::{Bucket, Charge, Cost, Meter, Shortage, Throttle};
pub(crate) use documents::keeps_within;
pub use documents::{Clients, Prepared};
pub use engine::{Engine, EngineBuilder, EngineError};
pub use error::{FieldError, Location, RequestError};
pub use hive::{HivePlanner, SupergraphError};
pub use limits::Limits;
pub use monitoring::{FIELD_USES, OPERATION_SECONDS, PLANS, SUBGRAPH_SECONDS};
pub use projection::{Projection, Selection};
pub use response::Reply;
pub use transport::{InProcess, SubgraphOperation, SubgraphRequest, SubgraphResponse, SubgraphTransport};
pub(crate) use variables::type_at;
