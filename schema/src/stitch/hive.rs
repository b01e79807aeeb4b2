//! The query planner of the Hive router (MIT), behind our own [`QueryPlanner`].
//!
//! The crate is frozen at this version. Its normaliser expands fragments exponentially, so a document must have passed
//! [`super::limits`] before it comes here; and it uses panics for what it thinks impossible, so a panic counts as "cannot
//! be planned".

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Name;
use graphql_tools::static_graphql::query::Document;
use hive_router_query_planner::ast::normalization::normalize_operation;
use hive_router_query_planner::ast::operation::{OperationDefinition, SubgraphFetchOperation};
use hive_router_query_planner::ast::selection_item::SelectionItem;
use hive_router_query_planner::ast::selection_set::SelectionSet;
use hive_router_query_planner::graph::PlannerOverrideContext;
use hive_router_query_planner::planner::plan_nodes::{
    BatchFetchNode, FetchNode, FetchNodePathSegment, FetchRewrite, FlattenNodePath, FlattenNodePathSegment, PlanNode,
};
use hive_router_query_planner::planner::{Planner, PlannerError, QueryPlannerOptions};
use hive_router_query_planner::state::supergraph_state::OperationKind as HiveKind;
use hive_router_query_planner::utils::cancellation::CancellationToken;

use super::api_schema::{ApiSchema, OperationKind};
use super::catalog::Catalog;
use super::error::RequestError;
use super::hive_projection::{self, is_introspection};
use super::plan::{
    EntityAlias, EntityBatch, Fetch, Node, PathStep, PlannedOperation, QueryPlanner, Require, Rewrite, RewriteStep,
};
use super::pruning::Restricted;
use super::transport::SubgraphOperation;
use crate::faults::FaultCode;

/// The supergraph cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SupergraphError {
    #[error("the supergraph is not a schema: {0}")]
    Syntax(String),
    #[error("the supergraph cannot be planned over: {0}")]
    Graph(String),
}

/// Plans over a supergraph composed by `schema/compose`.
pub struct HivePlanner {
    planner: Planner,
    api_schema: Arc<ApiSchema>,
    subgraphs: Vec<String>,
}

impl HivePlanner {
    /// Loads a supergraph from its text.
    ///
    /// # Errors
    /// [`SupergraphError`] when it is not one.
    pub fn new(supergraph: &str) -> Result<Self, SupergraphError> {
        let document = graphql_tools::parser::parse_schema::<String>(supergraph)
            .map_err(|error| SupergraphError::Syntax(error.to_string()))?
            .into_static();
        let build = || Planner::new_from_supergraph(&document, QueryPlannerOptions::default());
        let planner = catch_unwind(AssertUnwindSafe(build))
            .map_err(|_| SupergraphError::Graph("it lacks the join directives of federation 2".into()))?
            .map_err(|error| SupergraphError::Graph(error.to_string()))?;
        let mut subgraphs: Vec<String> = planner.supergraph.known_subgraphs.values().cloned().collect();
        if subgraphs.is_empty() {
            return Err(SupergraphError::Graph("it names no subgraphs".into()));
        }
        subgraphs.sort();
        let api_schema = Arc::new(ApiSchema::new(&planner.consumer_schema.document, Catalog::of(&document)));
        Ok(Self { planner, api_schema, subgraphs })
    }

    fn plan_or_panic(
        &self,
        document: &Document,
        operation_name: Option<&str>,
        budget: Duration,
    ) -> Result<PlannedOperation, RequestError> {
        let normalized =
            normalize_operation(&self.planner.supergraph, document, operation_name).map_err(unplannable)?;
        let operation = normalized.operation;
        let kind = match operation.operation_kind {
            None | Some(HiveKind::Query) => OperationKind::Query,
            Some(HiveKind::Mutation) => OperationKind::Mutation,
            Some(HiveKind::Subscription) => OperationKind::Subscription,
        };
        let projection = hive_projection::compile(&self.api_schema, kind, &operation.selection_set)?;

        // Introspection and the name of the root type are the engine's own to answer.
        let (own, modules): (Vec<_>, Vec<_>) = operation
            .selection_set
            .items
            .into_iter()
            .partition(|item| matches!(item, SelectionItem::Field(field) if is_introspection(&field.name)));
        let operation = OperationDefinition { selection_set: SelectionSet { items: modules }, ..operation };
        let root_fields = root_fields(&operation.selection_set);
        let root = if operation.selection_set.is_empty() { None } else { self.node(&operation, budget)? };
        let passes_through = own.is_empty() && passes_through(root.as_ref(), &operation.selection_set);
        let root = root.map(|node| Translation { planner: self }.node(node)).transpose()?;
        Ok(PlannedOperation { kind, root, projection, passes_through, root_fields })
    }

    fn node(&self, operation: &OperationDefinition, budget: Duration) -> Result<Option<PlanNode>, RequestError> {
        let token = CancellationToken::with_timeout(budget);
        self.planner
            .plan_from_normalized_operation(operation, PlannerOverrideContext::default(), &token)
            .map(|plan| plan.node)
            .map_err(|error| match error {
                PlannerError::CancellationError(_) => {
                    // Time is what ran out: that of a busy bank, or of an operation that will never do.
                    RequestError::new(FaultCode::Timeout, "The operation could not be planned in time.")
                }
                other => unplannable(other),
            })
    }
}

fn unplannable(error: impl std::fmt::Display) -> RequestError {
    tracing::error!(%error, "an operation that passed validation could not be planned");
    RequestError::new(FaultCode::InternalServerError, "The operation could not be planned.")
}

impl QueryPlanner for HivePlanner {
    fn api_schema(&self) -> &Arc<ApiSchema> {
        &self.api_schema
    }

    fn subgraphs(&self) -> &[String] {
        &self.subgraphs
    }

    fn plan(
        &self,
        document: &Document,
        operation_name: Option<&str>,
        budget: Duration,
    ) -> Result<PlannedOperation, RequestError> {
        catch_unwind(AssertUnwindSafe(|| self.plan_or_panic(document, operation_name, budget)))
            .unwrap_or_else(|_| Err(unplannable("the planner panicked")))
    }
}

fn root_fields(selection: &SelectionSet) -> Vec<String> {
    let mut names = Vec::new();
    for item in &selection.items {
        match item {
            SelectionItem::Field(field) => names.push(field.name.clone()),
            SelectionItem::InlineFragment(fragment) => names.extend(root_fields(&fragment.selections)),
            SelectionItem::FragmentSpread(_) => {}
        }
    }
    names
}

/// Whether the plan is one fetch that answers with exactly the fields of the operation, in its order.
fn passes_through(root: Option<&PlanNode>, wanted: &SelectionSet) -> bool {
    let fetch = match root {
        Some(PlanNode::Fetch(fetch)) => fetch,
        Some(PlanNode::Subscription(subscription)) => &subscription.primary,
        _ => return false,
    };
    let rewritten = fetch.output_rewrites.as_ref().is_some_and(|rewrites| !rewrites.is_empty());
    let document = &fetch.operation.document;
    !rewritten && same_shape(&document.operation.selection_set, wanted, &fetch.operation)
}

fn same_shape(asked: &SelectionSet, wanted: &SelectionSet, operation: &SubgraphFetchOperation) -> bool {
    let mut inlined = Vec::new();
    inline(asked, operation, &mut inlined);
    inlined.len() == wanted.items.len()
        && inlined.into_iter().zip(&wanted.items).all(|(asked, wanted)| match (asked, wanted) {
            (SelectionItem::Field(asked), SelectionItem::Field(wanted)) => {
                asked.selection_identifier() == wanted.selection_identifier()
                    && asked.name == wanted.name
                    && !asked.omit_from_response
                    && !wanted.omit_from_response
                    && asked.skip_if == wanted.skip_if
                    && asked.include_if == wanted.include_if
                    && same_shape(&asked.selections, &wanted.selections, operation)
            }
            (SelectionItem::InlineFragment(asked), SelectionItem::InlineFragment(wanted)) => {
                asked.type_condition == wanted.type_condition
                    && asked.skip_if == wanted.skip_if
                    && asked.include_if == wanted.include_if
                    && same_shape(&asked.selections, &wanted.selections, operation)
            }
            _ => false,
        })
}

/// The planner shortens its operations with fragments; for comparing they are written out again.
fn inline<'a>(set: &'a SelectionSet, operation: &'a SubgraphFetchOperation, out: &mut Vec<&'a SelectionItem>) {
    for item in &set.items {
        match item {
            SelectionItem::FragmentSpread(name) => {
                let fragment = operation.document.fragments.iter().find(|fragment| fragment.name == *name);
                match fragment {
                    Some(fragment) => inline(&fragment.selection_set, operation, out),
                    None => out.push(item),
                }
            }
            _ => out.push(item),
        }
    }
}

/// From the planner's nodes to ours.
struct Translation<'a> {
    planner: &'a HivePlanner,
}

impl Translation<'_> {
    fn node(&self, node: PlanNode) -> Result<Node, RequestError> {
        match node {
            PlanNode::Fetch(fetch) => Ok(Node::Fetch(self.fetch(&fetch)?)),
            PlanNode::Subscription(subscription) => Ok(Node::Subscription(self.fetch(&subscription.primary)?)),
            PlanNode::Sequence(sequence) => Ok(Node::Sequence(self.nodes(sequence.nodes)?)),
            PlanNode::Parallel(parallel) => Ok(Node::Parallel(self.nodes(parallel.nodes)?)),
            PlanNode::BatchFetch(batch) => Ok(Node::Batch(self.batch(&batch)?)),
            PlanNode::Flatten(flatten) => match *flatten.node {
                PlanNode::Fetch(fetch) => Ok(Node::Batch(self.entities(&fetch, &flatten.path)?)),
                _ => Err(unplannable("a flatten node that is no fetch")),
            },
            PlanNode::Condition(condition) => {
                let boxed = |node: Option<Box<PlanNode>>| node.map(|node| self.node(*node).map(Box::new)).transpose();
                Ok(Node::Condition {
                    variable: Name::new(&condition.condition),
                    then: boxed(condition.if_clause)?,
                    otherwise: boxed(condition.else_clause)?,
                })
            }
            PlanNode::Defer(_) => Err(unplannable("@defer is not supported")),
        }
    }

    fn nodes(&self, nodes: Vec<PlanNode>) -> Result<Vec<Node>, RequestError> {
        nodes.into_iter().map(|node| self.node(node)).collect()
    }

    fn fetch(&self, fetch: &FetchNode) -> Result<Fetch, RequestError> {
        let variables = fetch.variable_usages.iter().flatten().map(Name::new).collect();
        self.operation(&fetch.service_name, &fetch.operation, variables, fetch.output_rewrites.as_deref())
    }

    fn operation(
        &self,
        service: &str,
        operation: &SubgraphFetchOperation,
        variables: Vec<Name>,
        output_rewrites: Option<&[FetchRewrite]>,
    ) -> Result<Fetch, RequestError> {
        let subgraph = self.planner.subgraphs.iter().position(|name| name == service);
        let subgraph = subgraph.ok_or_else(|| unplannable(format_args!("unknown subgraph {service}")))?;
        let text = operation.document_str.clone();
        let document = async_graphql::parser::parse_query(&text).map_err(unplannable)?;
        let restricted = Restricted::of(&self.planner.api_schema, service, &document);
        Ok(Fetch {
            subgraph,
            operation: Arc::new(SubgraphOperation { text, document }),
            root_keys: operation.document.operation.selection_set.items.iter().filter_map(response_key).collect(),
            variables,
            output_rewrites: rewrites(output_rewrites),
            restricted,
        })
    }

    fn entities(&self, fetch: &FetchNode, path: &FlattenNodePath) -> Result<EntityBatch, RequestError> {
        let alias = EntityAlias {
            key: Name::new("_entities"),
            representations: Name::new("representations"),
            paths: vec![steps(path)],
            requires: self.requires(fetch.requires.as_ref()),
            input_rewrites: rewrites(fetch.input_rewrites.as_deref()),
            output_rewrites: rewrites(fetch.output_rewrites.as_deref()),
        };
        let fetch = Fetch { output_rewrites: Vec::new(), ..self.fetch(fetch)? };
        Ok(EntityBatch { fetch, aliases: vec![alias] })
    }

    fn batch(&self, batch: &BatchFetchNode) -> Result<EntityBatch, RequestError> {
        let variables = batch.variable_usages.iter().flatten().map(Name::new).collect();
        let fetch = self.operation(&batch.service_name, &batch.operation, variables, None)?;
        let aliases = batch.entity_batch.aliases.iter().map(|alias| EntityAlias {
            key: Name::new(&alias.alias),
            representations: Name::new(&alias.representations_variable_name),
            paths: alias.merge_paths.iter().map(steps).collect(),
            requires: self.requires(Some(&alias.requires)),
            input_rewrites: rewrites(alias.input_rewrites.as_deref()),
            output_rewrites: rewrites(alias.output_rewrites.as_deref()),
        });
        Ok(EntityBatch { fetch, aliases: aliases.collect() })
    }

    fn requires(&self, selection: Option<&SelectionSet>) -> Vec<Require> {
        let items = selection.map_or(&[][..], |selection| &selection.items);
        items
            .iter()
            .filter_map(|item| match item {
                SelectionItem::Field(field) => Some(Require::Field {
                    key: Name::new(field.selection_identifier()),
                    selection: self.requires(Some(&field.selections)),
                }),
                SelectionItem::InlineFragment(fragment) => {
                    let name = &fragment.type_condition;
                    let types = self.planner.api_schema.possible(name).cloned();
                    Some(Require::Of {
                        types: types.unwrap_or_else(|| Arc::new(BTreeSet::from([name.clone()]))),
                        selection: self.requires(Some(&fragment.selections)),
                    })
                }
                SelectionItem::FragmentSpread(_) => None,
            })
            .collect()
    }
}

fn response_key(item: &SelectionItem) -> Option<Name> {
    match item {
        SelectionItem::Field(field) => Some(Name::new(field.selection_identifier())),
        _ => None,
    }
}

fn steps(path: &FlattenNodePath) -> Vec<PathStep> {
    path.as_slice()
        .iter()
        .map(|segment| match segment {
            FlattenNodePathSegment::Field(name) => PathStep::Field(Name::new(name)),
            FlattenNodePathSegment::TypeCondition(types) => PathStep::Types(types.clone()),
            FlattenNodePathSegment::List => PathStep::Items,
        })
        .collect()
}

fn rewrites(rewrites: Option<&[FetchRewrite]>) -> Vec<Rewrite> {
    let steps = |path: &[FetchNodePathSegment]| {
        path.iter()
            .map(|segment| match segment {
                FetchNodePathSegment::Key(key) => RewriteStep::Key(Name::new(key)),
                FetchNodePathSegment::TypenameEquals(types) => RewriteStep::Types(types.clone()),
            })
            .collect()
    };
    rewrites
        .unwrap_or_default()
        .iter()
        .map(|rewrite| match rewrite {
            FetchRewrite::ValueSetter(set) => {
                Rewrite::Set { path: steps(&set.path), value: Name::new(&set.set_value_to) }
            }
            FetchRewrite::KeyRenamer(rename) => {
                Rewrite::Rename { path: steps(&rename.path), to: Name::new(&rename.rename_key_to) }
            }
        })
        .collect()
}
