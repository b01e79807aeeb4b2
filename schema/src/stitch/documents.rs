//! Documents: parsed, checked, validated and planned once, then remembered by their text.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use graphql_tools::static_graphql::query::{Definition, Document, OperationDefinition, Selection, VariableDefinition};
use graphql_tools::validation::rules::default_rules_validation_plan;
use graphql_tools::validation::validate::{ValidationPlan, validate};
use metrics::Counter;

use super::api_schema::OperationKind;
use super::error::RequestError;
use super::limits::{self, Limits};
use super::merging;
use super::monitoring;
use super::plan::{PlannedOperation, QueryPlanner};
use super::projection::Selection as Selected;
use crate::faults::FaultCode;

/// One operation, ready to be carried out any number of times.
pub struct Prepared {
    pub variables: Vec<VariableDefinition>,
    pub planned: PlannedOperation,
    /// What metrics call it, bounded in number: the client and the name of a registered operation, the root field of any
    /// other.
    pub label: Arc<str>,
    /// The SHA-256 of the document, in hex: what logs call the operation.
    pub id: Arc<str>,
    /// Counts each field it asks for.
    pub uses: Vec<Counter>,
}

impl Prepared {
    pub fn kind(&self) -> OperationKind {
        self.planned.kind
    }
}

/// A checked document and the operations in it.
struct Known {
    id: Arc<str>,
    document: Document,
    operations: Vec<Operation>,
}

struct Operation {
    name: Option<String>,
    prepared: OnceLock<Result<Arc<Prepared>, RequestError>>,
}

/// Who registered a document, by its SHA-256 in hex.
pub type Clients = HashMap<String, Arc<str>>;

/// All documents seen, up to a number.
pub struct Documents {
    planner: Box<dyn QueryPlanner>,
    limits: Limits,
    rules: ValidationPlan,
    clients: Clients,
    cache: moka::sync::Cache<Arc<str>, Arc<Known>>,
}

/// At most this many validation errors are reported; the first ones tell what is wrong.
const REPORTED: usize = 20;

impl Documents {
    pub fn new(planner: Box<dyn QueryPlanner>, limits: Limits, clients: Clients) -> Self {
        let cache = moka::sync::Cache::new(limits.cached_documents);
        Self { planner, limits, rules: rules(), clients, cache }
    }

    pub fn planner(&self) -> &dyn QueryPlanner {
        self.planner.as_ref()
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Finds or prepares an operation.
    ///
    /// # Errors
    /// What is wrong with the document, or which operation is meant. Documents that are refused are not remembered, so
    /// that nonsense does not push useful plans out.
    pub fn prepare(&self, text: &str, operation_name: Option<&str>) -> Result<Arc<Prepared>, Vec<RequestError>> {
        let cached = self.cache.get(text);
        monitoring::plan(cached.is_some());
        let known = match cached {
            Some(known) => known,
            None => {
                let known = Arc::new(self.check(text)?);
                self.cache.insert(Arc::from(text), Arc::clone(&known));
                known
            }
        };
        let operation = choose(&known.operations, operation_name).map_err(|error| vec![error])?;
        let prepared = operation
            .prepared
            .get_or_init(|| self.plan(&known.document, operation.name.as_deref(), Arc::clone(&known.id)));
        prepared.clone().map_err(|error| {
            // Planning can fail for want of time; the next request tries again.
            self.cache.invalidate(text);
            vec![error]
        })
    }

    fn check(&self, text: &str) -> Result<Known, Vec<RequestError>> {
        if text.len() > self.limits.document_bytes {
            let message =
                format!("The document is too long: at most {} bytes are allowed.", self.limits.document_bytes);
            return Err(vec![RequestError::new(FaultCode::PayloadTooLarge, message)]);
        }
        let document = parse(text, &self.limits).map_err(|error| vec![error])?;
        limits::check(&document, &self.limits).map_err(|error| vec![error])?;
        if !self.limits.introspection && asks_for_schema(&document) {
            let message = "Introspection is switched off.";
            return Err(vec![RequestError::new(FaultCode::IntrospectionDisabled, message)]);
        }
        self.validate(&document)?;
        let operations = document.definitions.iter().filter_map(|definition| match definition {
            Definition::Operation(operation) => Some(Operation { name: name(operation), prepared: OnceLock::new() }),
            Definition::Fragment(_) => None,
        });
        let operations = operations.collect();
        Ok(Known { id: crate::door::sha256(text).into(), document, operations })
    }

    fn validate(&self, document: &Document) -> Result<(), Vec<RequestError>> {
        let schema = self.planner.api_schema();
        let mut errors: Vec<_> =
            validate(schema.document(), document, &self.rules).into_iter().take(REPORTED).map(invalid).collect();
        errors.extend(merging::check(schema, document, &self.limits).err().into_iter().flatten());
        errors.truncate(REPORTED);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The fields of a selection as the schema names them. Introspection is not counted.
    fn fields<'a>(&'a self, type_name: &'a str, selection: &'a Selected, out: &mut BTreeSet<(&'a str, &'a str)>) {
        for field in selection.fields.iter().filter(|field| !field.name.starts_with("__")) {
            // A field of a fragment belongs to the types of the fragment.
            let types = field.types.iter().flat_map(|types| types.iter().map(String::as_str));
            let types: Vec<&str> = if field.types.is_some() { types.collect() } else { vec![type_name] };
            for owner in types {
                let Some(definition) = self.planner.api_schema().field(owner, &field.name) else { continue };
                out.insert((owner, &field.name));
                self.fields(definition.field_type.inner_type(), &field.selection, out);
            }
        }
    }

    fn plan(
        &self,
        document: &Document,
        operation_name: Option<&str>,
        id: Arc<str>,
    ) -> Result<Arc<Prepared>, RequestError> {
        let planned = self.planner.plan(document, operation_name, self.limits.planning)?;
        refuse_repeated_commands(&planned)?;
        let variables = document.definitions.iter().find_map(|definition| match definition {
            Definition::Operation(operation) if name(operation).as_deref() == operation_name => {
                Some(operation.variable_definitions().to_vec())
            }
            _ => None,
        });
        let label = self.label(&planned, operation_name, &id);
        let root = self.planner.api_schema().root(planned.kind).unwrap_or_default();
        let mut fields = BTreeSet::new();
        self.fields(root, &planned.projection.selection, &mut fields);
        let uses = fields.iter().map(|(type_name, field)| monitoring::uses(type_name, field)).collect();
        Ok(Arc::new(Prepared { variables: variables.unwrap_or_default(), planned, label, id, uses }))
    }

    /// Anybody can make up names in a document of their own, and each would be a new series; registered ones are counted.
    fn label(&self, planned: &PlannedOperation, operation_name: Option<&str>, id: &str) -> Arc<str> {
        let by_root_field = match &planned.root_fields[..] {
            [] => "introspection",
            [only] => only.as_str(),
            _ => "several",
        };
        match self.clients.get(id) {
            Some(client) => format!("{client}/{}", operation_name.unwrap_or(by_root_field)).into(),
            None => by_root_field.into(),
        }
    }
}

/// All rules of the specification but one, whose place [`merging`] takes: the library's misses conflicts (it takes a list for
/// the longer one that it begins) and compares each field with each other.
fn rules() -> ValidationPlan {
    let mut plan = default_rules_validation_plan();
    plan.rules.retain(|rule| rule.error_code() != "OverlappingFieldsCanBeMerged");
    plan
}

/// Planning merges a command that is written twice under one key into one. What is left with the same key stands in
/// fragments with different conditions; carried out as it is, it would run once for each.
fn refuse_repeated_commands(planned: &PlannedOperation) -> Result<(), RequestError> {
    if planned.kind != OperationKind::Mutation || planned.projection.selection.unique {
        return Ok(());
    }
    let message = "A mutation must not repeat a field in fragments with different conditions.";
    Err(RequestError::new(FaultCode::GraphqlValidationFailed, message))
}

fn name(operation: &OperationDefinition) -> Option<String> {
    match operation {
        OperationDefinition::SelectionSet(_) => None,
        OperationDefinition::Query(query) => query.name.clone(),
        OperationDefinition::Mutation(mutation) => mutation.name.clone(),
        OperationDefinition::Subscription(subscription) => subscription.name.clone(),
    }
}

fn choose<'a>(operations: &'a [Operation], wanted: Option<&str>) -> Result<&'a Operation, RequestError> {
    let refuse = |message: &str| Err(RequestError::new(FaultCode::BadUserInput, message));
    match (wanted.filter(|name| !name.is_empty()), operations) {
        (_, []) => refuse("The document contains no operation."),
        (None, [only]) => Ok(only),
        (None, _) => refuse("The document contains several operations: name one in `operationName`."),
        (Some(wanted), all) => match all.iter().find(|operation| operation.name.as_deref() == Some(wanted)) {
            Some(operation) => Ok(operation),
            None => refuse("The document contains no operation with the name in `operationName`."),
        },
    }
}

/// Whether a document keeps within the limits, without asking whether it fits any schema.
///
/// # Errors
/// What is wrong with it.
pub fn keeps_within(text: &str, limits: &Limits) -> Result<(), RequestError> {
    if text.len() > limits.document_bytes {
        let message = format!("The document is too long: at most {} bytes are allowed.", limits.document_bytes);
        return Err(RequestError::new(FaultCode::PayloadTooLarge, message));
    }
    limits::check(&parse(text, limits)?, limits)
}

fn parse(text: &str, limits: &Limits) -> Result<Document, RequestError> {
    let parsed = graphql_tools::parser::parse_query_with_token_limit::<String>(text, limits.tokens);
    parsed.map(graphql_tools::parser::query::Document::into_static).map_err(|error| {
        let (position, message) = (error.0.position, error.to_string());
        if message.contains("Token limit exceeded") {
            let message = format!("The document has too many tokens: at most {} are allowed.", limits.tokens);
            return RequestError::new(FaultCode::ComplexityLimitExceeded, message);
        }
        if message.contains("Recursion limit exceeded") {
            return RequestError::new(FaultCode::DepthLimitExceeded, "The document is nested too deep.");
        }
        // The first line of the parser's message repeats the position.
        let detail: Vec<_> = message.lines().skip(1).collect();
        let message = format!("The document is not GraphQL: {}.", detail.join("; "));
        RequestError::new(FaultCode::GraphqlParseFailed, message).at(position.line, position.column)
    })
}

fn invalid(error: graphql_tools::validation::utils::ValidationError) -> RequestError {
    // A suggestion would answer a question about the schema that introspection may have been switched off for.
    let message = error.message.split(" Did you mean").next().unwrap_or_default();
    let refused = RequestError::new(FaultCode::GraphqlValidationFailed, message);
    error.locations.iter().fold(refused, |error, position| error.at(position.line, position.column))
}

/// Whether the schema is asked for anywhere; fragments count, used or not.
fn asks_for_schema(document: &Document) -> bool {
    document.definitions.iter().any(|definition| {
        let set = match definition {
            Definition::Operation(operation) => operation.selection_set(),
            Definition::Fragment(fragment) => &fragment.selection_set,
        };
        set.items.iter().any(selects_schema)
    })
}

fn selects_schema(selection: &Selection) -> bool {
    match selection {
        Selection::Field(field) => matches!(field.name.as_str(), "__schema" | "__type"),
        Selection::InlineFragment(fragment) => fragment.selection_set.items.iter().any(selects_schema),
        Selection::FragmentSpread(_) => false,
    }
}
