//! What is to be done for one operation, in the engine's own words.
//!
//! The planner is somebody else's and could be replaced; everything behind [`QueryPlanner`] speaks these types only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Name;

use super::api_schema::{ApiSchema, OperationKind};
use super::error::RequestError;
use super::projection::Projection;
use super::pruning::Restricted;
use super::transport::SubgraphOperation;

/// Plans operations over a supergraph.
pub trait QueryPlanner: Send + Sync {
    /// The schema clients see.
    fn api_schema(&self) -> &Arc<ApiSchema>;

    /// The names of the modules a plan can call; [`Fetch::subgraph`] indexes them.
    fn subgraphs(&self) -> &[String];

    /// Plans one operation of a document that was validated against [`QueryPlanner::api_schema`].
    ///
    /// # Errors
    /// When the operation cannot be planned within `budget`, or at all.
    fn plan(
        &self,
        document: &graphql_tools::static_graphql::query::Document,
        operation_name: Option<&str>,
        budget: Duration,
    ) -> Result<PlannedOperation, RequestError>;
}

/// A planned operation.
#[derive(Debug)]
pub struct PlannedOperation {
    pub kind: OperationKind,
    /// What to ask of which module; `None` when only introspection and `__typename` were selected.
    pub root: Option<Node>,
    /// How the client's answer is cut out of what the modules answered.
    pub projection: Projection,
    /// Whether the root is a single fetch whose answer has exactly the client's shape, so that it can be passed on as
    /// it is.
    pub passes_through: bool,
    /// The fields of the root type by name, without introspection, for metrics.
    pub root_fields: Vec<String>,
}

/// A step of a plan.
#[derive(Debug)]
pub enum Node {
    Fetch(Fetch),
    /// Entities at several places, asked of one module in one call.
    Batch(EntityBatch),
    Sequence(Vec<Self>),
    Parallel(Vec<Self>),
    /// The steps depend on a Boolean variable.
    Condition {
        variable: Name,
        then: Option<Box<Self>>,
        otherwise: Option<Box<Self>>,
    },
    /// The event source of a subscription.
    Subscription(Fetch),
}

/// An operation on the root type of one module.
#[derive(Debug)]
pub struct Fetch {
    pub subgraph: usize,
    pub operation: Arc<SubgraphOperation>,
    /// Response keys of its root fields, for errors that come without a path.
    pub root_keys: Vec<Name>,
    /// Which of the client's variables the operation uses.
    pub variables: Vec<Name>,
    pub output_rewrites: Vec<Rewrite>,
    /// Who may ask for its fields, if none of them is for everybody.
    pub restricted: Option<Restricted>,
}

/// Entities of one module by their keys.
#[derive(Debug)]
pub struct EntityBatch {
    pub fetch: Fetch,
    pub aliases: Vec<EntityAlias>,
}

/// One `_entities` field of a batch.
#[derive(Debug)]
pub struct EntityAlias {
    /// Its response key.
    pub key: Name,
    /// The variable that carries the representations.
    pub representations: Name,
    /// Where in the response the entities are.
    pub paths: Vec<Vec<PathStep>>,
    /// What a representation is made of.
    pub requires: Vec<Require>,
    pub input_rewrites: Vec<Rewrite>,
    pub output_rewrites: Vec<Rewrite>,
}

/// A step from the root of the response to entities in it.
#[derive(Debug, Clone)]
pub enum PathStep {
    Field(Name),
    /// Every item of a list.
    Items,
    /// Only objects of these types.
    Types(BTreeSet<String>),
}

/// A part of a representation.
#[derive(Debug)]
pub enum Require {
    Field {
        key: Name,
        selection: Vec<Self>,
    },
    /// Only for objects of these types.
    Of {
        types: Arc<BTreeSet<String>>,
        selection: Vec<Self>,
    },
}

/// A correction of names on the way into or out of a module.
#[derive(Debug)]
pub enum Rewrite {
    Set { path: Vec<RewriteStep>, value: Name },
    Rename { path: Vec<RewriteStep>, to: Name },
}

/// A step to the place of a rewrite; lists are passed through.
#[derive(Debug)]
pub enum RewriteStep {
    Key(Name),
    Types(BTreeSet<String>),
}
