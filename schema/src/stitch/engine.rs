//! The engine: from a request to its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::{Value, Variables};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use metrics::histogram;
use vostro_messaging::AdmissionGate;

use super::admission::Admission;
use super::api_schema::OperationKind;
use super::cost::{Bucket, Charge, Cost, Shortage};
use super::documents::{Clients, Documents, Prepared};
use super::error::{FieldError, RequestError};
use super::executor::{Execution, Gathered, Module, gather, refusal, variables_of};
use super::hive::{HivePlanner, SupergraphError};
use super::introspection;
use super::limits::Limits;
use super::monitoring::{self, OPERATION_SECONDS};
use super::plan::{Fetch, Node, QueryPlanner};
use super::projection::json;
use super::response::Reply;
use super::transport::{SubgraphRequest, SubgraphResponse, SubgraphTransport};
use super::variables::coerce;
use vostro_messaging::trace;

use crate::faults::{FaultCode, module_unavailable};
use crate::scope::RequestScope;

/// The label of requests that were refused before anybody knew what they ask for.
const UNKNOWN_OPERATION: &str = "unknown";

/// Why an engine cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Supergraph(#[from] SupergraphError),
    #[error("module {0} has no mutation {1} that could be let in always")]
    UnknownMutation(&'static str, &'static str),
    #[error("module {0} is not part of the supergraph")]
    UnknownModule(String),
}

/// Collects the modules of an engine.
pub struct EngineBuilder {
    planner: Box<dyn QueryPlanner>,
    limits: Limits,
    clients: Clients,
    transports: HashMap<String, Arc<dyn SubgraphTransport>>,
    admission: Admission,
}

impl EngineBuilder {
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tells who registered which documents, so that metrics name their operations.
    pub fn registered(mut self, clients: Clients) -> Self {
        self.clients = clients;
        self
    }

    /// Tells how to reach a module, by its name in the supergraph.
    pub fn module(mut self, name: impl Into<String>, transport: impl SubgraphTransport + 'static) -> Self {
        self.transports.insert(name.into(), Arc::new(transport));
        self
    }

    /// Turns mutations of a module away while its gate is closed, except those of these names.
    pub fn gate(mut self, module: &'static str, gate: AdmissionGate, always: &'static [&'static str]) -> Self {
        self.admission.gate(module, gate, always);
        self
    }

    /// Builds the engine. Modules of the supergraph that nobody named are answered for with `MODULE_UNAVAILABLE`, which is
    /// what a process that runs a part of the modules needs.
    ///
    /// # Errors
    /// [`EngineError::UnknownModule`] for a module the supergraph does not have, [`EngineError::UnknownMutation`] for one that
    /// is let in always and that its module does not have.
    pub fn build(mut self) -> Result<Engine, EngineError> {
        let modules = self.planner.subgraphs().iter().map(|name| Module {
            name: name.as_str().into(),
            transport: self.transports.remove(name).unwrap_or_else(|| Arc::new(Unavailable)),
        });
        let modules: Arc<[Module]> = modules.collect();
        if let Some(name) = self.transports.into_keys().next() {
            return Err(EngineError::UnknownModule(name));
        }
        if let Some((module, mutation)) = self.admission.unknown(self.planner.api_schema()) {
            return Err(EngineError::UnknownMutation(module, mutation));
        }
        let documents = Arc::new(Documents::new(self.planner, self.limits, self.clients));
        Ok(Engine { documents, modules, admission: Arc::new(self.admission) })
    }
}

/// One API over all modules.
#[derive(Clone)]
pub struct Engine {
    documents: Arc<Documents>,
    modules: Arc<[Module]>,
    admission: Arc<Admission>,
}

impl Engine {
    /// Starts an engine over a supergraph, given as text.
    ///
    /// # Errors
    /// [`EngineError::Supergraph`] when the text is no supergraph.
    pub fn over(supergraph: &str) -> Result<EngineBuilder, EngineError> {
        Ok(Self::with(Box::new(HivePlanner::new(supergraph)?)))
    }

    /// Starts an engine with another planner.
    pub fn with(planner: Box<dyn QueryPlanner>) -> EngineBuilder {
        EngineBuilder {
            planner,
            limits: Limits::default(),
            clients: Clients::new(),
            transports: HashMap::new(),
            admission: Admission::default(),
        }
    }

    pub fn limits(&self) -> &Limits {
        self.documents.limits()
    }

    pub fn planner(&self) -> &dyn QueryPlanner {
        self.documents.planner()
    }

    /// Finds or prepares an operation of a document. Cheap for a document seen before.
    ///
    /// # Errors
    /// Everything that is wrong with the document; answer with [`Reply::refused`].
    pub fn prepare(&self, document: &str, operation_name: Option<&str>) -> Result<Arc<Prepared>, Vec<RequestError>> {
        self.documents.prepare(document, operation_name)
    }

    /// Counts a request that was refused before it was prepared.
    pub fn record_refusal(&self, started: Instant, errors: &[RequestError]) {
        let outcome = errors.first().map_or("ok", |error| error.code.as_str());
        histogram!(OPERATION_SECONDS, "operation" => UNKNOWN_OPERATION, "outcome" => outcome).record(started.elapsed());
    }

    /// Carries out a query or mutation.
    pub async fn execute(&self, prepared: &Prepared, variables: Variables, scope: Arc<RequestScope>) -> Reply {
        self.execute_within(self.limits().request, prepared, variables, scope).await
    }

    /// The same for an operation that has only this much time, because others of its request have had the rest.
    pub async fn execute_within(
        &self,
        time: Duration,
        prepared: &Prepared,
        variables: Variables,
        scope: Arc<RequestScope>,
    ) -> Reply {
        let started = Instant::now();
        let traceparent = scope.context().traceparent.clone();
        let reply = trace::within(traceparent, self.answer(time, prepared, variables, &scope)).await;
        monitoring::operation(prepared, started, &reply, &scope, self.limits().slow);
        reply
    }

    async fn answer(
        &self,
        time: Duration,
        prepared: &Prepared,
        variables: Variables,
        scope: &Arc<RequestScope>,
    ) -> Reply {
        let correlation_id = scope.context().correlation_id;
        let refused = |error: RequestError| Reply::refused(&[error], correlation_id);
        let variables = match coerce(self.planner().api_schema(), &prepared.variables, variables) {
            Ok(variables) => variables,
            Err(error) => return refused(error),
        };
        if let Err(error) = self.admission.check(&prepared.planned, self.planner().api_schema()) {
            return refused(error);
        }
        let requested = match self.expect(prepared, &variables) {
            Ok(requested) => requested,
            Err(error) => return refused(error),
        };
        if let Some(budget) = scope.budget()
            && let Err(error) = charge(budget, requested)
        {
            return refused(error).with_cost(Cost { requested, actual: 0 }, budget.settle(0));
        }
        let planned = &prepared.planned;
        let work = async {
            match &planned.root {
                Some(Node::Fetch(fetch)) if planned.passes_through => {
                    self.pass_through(prepared, fetch, variables, scope).await
                }
                Some(root) => {
                    // Mutations and subscriptions read anew: between two of their steps something is different.
                    if planned.kind == OperationKind::Query {
                        scope.remember();
                    }
                    let execution = Execution::new(&self.modules, &variables, scope, Gathered::default());
                    self.complete(prepared, execution.run(root).await, &variables, scope)
                }
                None => self.complete(prepared, Gathered::default(), &variables, scope),
            }
        };
        let reply = in_time(time, work, scope).await;
        let Some(budget) = scope.budget() else { return reply };
        // Work that was cut off or led to nothing has been done all the same.
        let actual = if reply.has_data { reply.spent.min(requested) } else { requested };
        let throttle = budget.settle(requested - actual);
        reply.with_cost(Cost { requested, actual }, throttle)
    }

    /// The expected cost of an operation.
    fn expect(&self, prepared: &Prepared, variables: &Variables) -> Result<u32, RequestError> {
        let (expected, most) = (prepared.planned.projection.estimate(variables), self.limits().cost);
        if expected > most {
            let message = format!(
                "The operation may cost {expected} points and at most {most} are allowed: ask for smaller pages or less of each object."
            );
            return Err(RequestError::new(FaultCode::CostLimitExceeded, message));
        }
        Ok(expected)
    }

    /// The whole operation belongs to one module and its answer has the client's shape: written as it comes.
    async fn pass_through(
        &self,
        prepared: &Prepared,
        fetch: &Fetch,
        variables: Variables,
        scope: &Arc<RequestScope>,
    ) -> Reply {
        let projection = &prepared.planned.projection;
        let module = &self.modules[fetch.subgraph];
        // What it came to depends on conditions only, and those are Booleans: the input itself need not be kept.
        let conditions = variables.iter().filter(|(_, value)| matches!(value, Value::Boolean(_)));
        let conditions = conditions.map(|(name, value)| (name.clone(), value.clone())).collect();
        let conditions = Variables::from_value(Value::Object(conditions));
        let response = match refusal(fetch, &variables, scope) {
            Some(refusal) => refusal,
            None => {
                let operation = Arc::clone(&fetch.operation);
                module.ask(SubgraphRequest { operation, variables, scope: Arc::clone(scope) }).await
            }
        };
        if response.data == Value::Null {
            // The call failed, or what cannot be null was: which fields are `null` then is for the schema to say.
            let mut gathered = Gathered::default();
            gather(&mut gathered, &module.name, fetch, response);
            return self.complete(prepared, gathered, &conditions, scope);
        }
        let spent = match &response.data {
            Value::Object(data) if scope.budget().is_some() => projection.actual(data, &conditions),
            _ => 0,
        };
        Reply { spent, ..passed_through(module, fetch, response, scope) }
    }

    fn complete(
        &self,
        prepared: &Prepared,
        mut gathered: Gathered,
        variables: &Variables,
        scope: &RequestScope,
    ) -> Reply {
        let projection = &prepared.planned.projection;
        introspection::answer(self.planner().api_schema(), &projection.selection, variables, &mut gathered.data);
        let correlation_id = scope.context().correlation_id;
        let is_counted = scope.budget().is_some() || scope.meter().is_some();
        let spent = if is_counted { projection.actual(&gathered.data, variables) } else { 0 };
        let write = |out: &mut Vec<u8>| projection.write(&gathered.data, variables, out);
        Reply { spent, ..Reply::executed(&gathered.errors, correlation_id, write) }
    }

    /// Carries out a subscription: one reply per event. The first reply has no data when the subscription could not be
    /// started, and then it is the last. Dropping the stream ends the subscription.
    ///
    /// The first reply is paid for as an operation is, and each later one is on the caller's meter. While more is on it than
    /// it holds, the module is not asked for the next event.
    pub fn subscribe(
        &self,
        prepared: Arc<Prepared>,
        variables: Variables,
        scope: Arc<RequestScope>,
    ) -> BoxStream<'static, Reply> {
        let correlation_id = scope.context().correlation_id;
        let once = |reply: Reply| futures::stream::once(async move { reply }).boxed();
        let refused = |error: RequestError| once(Reply::refused(&[error], correlation_id));
        let variables = match coerce(self.planner().api_schema(), &prepared.variables, variables) {
            Ok(variables) => Arc::new(variables),
            Err(error) => return refused(error),
        };
        let expected = match self.expect(&prepared, &variables) {
            Ok(expected) => expected,
            Err(error) => return refused(error),
        };
        if let Some(Err(error)) = scope.budget().map(|budget| charge(budget, expected)) {
            return refused(error);
        }
        let Some(source) = prepared.planned.root.as_ref().and_then(event_source) else {
            return refused(RequestError::new(FaultCode::OperationNotAllowed, "This is not a subscription."));
        };
        let events = match refusal(source, &variables, &scope) {
            // A stream that does not begin has no data.
            Some(SubgraphResponse { errors, .. }) => {
                let refused = SubgraphResponse { data: Value::Null, errors };
                futures::stream::once(futures::future::ready(refused)).boxed()
            }
            None => self.modules[source.subgraph].transport.execute_stream(SubgraphRequest {
                operation: Arc::clone(&source.operation),
                variables: variables_of(source, &variables),
                scope: Arc::clone(&scope),
            }),
        };
        let engine = self.clone();
        let telling = Telling { engine, prepared, variables, scope, events, expected, has_begun: false, pause: None };
        let replies = futures::stream::unfold(telling, |mut telling| async move {
            let reply = telling.next().await?;
            Some((reply, telling))
        });
        replies.boxed()
    }

    async fn event(
        &self,
        prepared: &Prepared,
        event: SubgraphResponse,
        variables: &Variables,
        scope: &Arc<RequestScope>,
    ) -> Reply {
        let started = Instant::now();
        let planned = &prepared.planned;
        let reply = match planned.root.as_ref().and_then(|root| Some((root, event_source(root)?))) {
            Some((_, source)) if planned.passes_through => {
                let spent = match &event.data {
                    Value::Object(data) if scope.meter().is_some() => planned.projection.actual(data, variables),
                    _ => 0,
                };
                Reply { spent, ..passed_through(&self.modules[source.subgraph], source, event, scope) }
            }
            Some((root, source)) => {
                let mut gathered = Gathered::default();
                gather(&mut gathered, &self.modules[source.subgraph].name, source, event);
                let execution = Execution::new(&self.modules, variables, scope, gathered);
                match tokio::time::timeout(self.limits().request, execution.run(root)).await {
                    Ok(gathered) => self.complete(prepared, gathered, variables, scope),
                    Err(_) => {
                        let error = RequestError::new(FaultCode::Timeout, "The event took too long to complete.");
                        Reply::refused(&[error], scope.context().correlation_id)
                    }
                }
            }
            None => self.complete(prepared, Gathered::default(), variables, scope),
        };
        monitoring::operation(prepared, started, &reply, scope, self.limits().slow);
        reply
    }
}

/// A subscription that has begun.
struct Telling {
    engine: Engine,
    prepared: Arc<Prepared>,
    variables: Arc<Variables>,
    scope: Arc<RequestScope>,
    events: BoxStream<'static, SubgraphResponse>,
    /// What an event may come to at most.
    expected: u32,
    has_begun: bool,
    /// Until when nothing is told, because too much was.
    pause: Option<tokio::time::Instant>,
}

impl Telling {
    async fn next(&mut self) -> Option<Reply> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep_until(pause).await;
        }
        let event = self.events.next().await?;
        let reply = self.engine.event(&self.prepared, event, &self.variables, &self.scope).await;
        // The operation was charged for what it begins with.
        if std::mem::replace(&mut self.has_begun, true)
            && let Some(meter) = self.scope.meter()
        {
            // What was cut off or led to nothing has been done all the same.
            let spent = if reply.has_data { reply.spent.min(self.expected) } else { self.expected };
            let wait = meter.note(spent);
            if !wait.is_zero() {
                monitoring::pause();
                self.pause = Some(tokio::time::Instant::now() + wait);
            }
        }
        Some(reply)
    }
}

async fn in_time(time: Duration, work: impl Future<Output = Reply>, scope: &RequestScope) -> Reply {
    match tokio::time::timeout(time, work).await {
        Ok(reply) => reply,
        Err(_) => {
            let error = RequestError::new(FaultCode::Timeout, "The operation took too long.");
            Reply::refused(&[error], scope.context().correlation_id)
        }
    }
}

/// Takes the expected cost of an operation from the budget it is paid from.
fn charge(budget: &dyn Charge, expected: u32) -> Result<(), RequestError> {
    budget.charge(expected).map_err(|Shortage { bucket, wait }| {
        let who = match bucket {
            Bucket::Caller => "you have",
            Bucket::Client => "this client of yours has",
        };
        let message = format!("Too many operations: this one costs {expected} points, wait until {who} them.");
        RequestError::new(FaultCode::RateLimited, message).retry_after(wait)
    })
}

fn event_source(node: &Node) -> Option<&Fetch> {
    match node {
        Node::Subscription(fetch) => Some(fetch),
        Node::Sequence(nodes) => nodes.first().and_then(event_source),
        _ => None,
    }
}

fn passed_through(module: &Module, fetch: &Fetch, response: SubgraphResponse, scope: &RequestScope) -> Reply {
    let correlation_id = scope.context().correlation_id;
    let write = |data: &Value, out: &mut Vec<u8>| {
        json(data, out);
        *data != Value::Null
    };
    if response.errors.is_empty() {
        return Reply::executed(&[], correlation_id, |out| write(&response.data, out));
    }
    let data = response.data;
    let mut gathered = Gathered::default();
    gather(&mut gathered, &module.name, fetch, SubgraphResponse { data: Value::Null, errors: response.errors });
    let errors: Vec<FieldError> = gathered.errors;
    Reply::executed(&errors, correlation_id, |out| write(&data, out))
}

/// Answers for a module that is not there.
struct Unavailable;

impl Unavailable {
    fn response() -> SubgraphResponse {
        let error = module_unavailable().into_server_error(async_graphql::Pos::default());
        SubgraphResponse { data: Value::Null, errors: vec![error] }
    }
}

impl SubgraphTransport for Unavailable {
    fn execute(&self, _: SubgraphRequest) -> futures::future::BoxFuture<'_, SubgraphResponse> {
        futures::future::ready(Self::response()).boxed()
    }

    fn execute_stream(&self, _: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        futures::stream::once(futures::future::ready(Self::response())).boxed()
    }
}
