//! Carries out a plan: asks the modules, puts their answers together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_graphql::{Name, PathSegment, ServerError, Value, Variables};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::entities::{Entities, Location, error_path, merge, merge_object, rewrite, value_at};
use super::error::FieldError;
use super::monitoring;
use super::plan::{EntityAlias, EntityBatch, Fetch, Node};
use super::projection::{Object, truth};
use super::transport::{SubgraphRequest, SubgraphResponse, SubgraphTransport};
use crate::scope::RequestScope;

/// A module as the engine knows it.
pub struct Module {
    pub name: Box<str>,
    pub transport: Arc<dyn SubgraphTransport>,
}

impl Module {
    /// Asks, and notes how long the answer took.
    pub async fn ask(&self, request: SubgraphRequest) -> SubgraphResponse {
        let started = Instant::now();
        let response = self.transport.execute(request).await;
        monitoring::subgraph(&self.name, started, &response);
        response
    }
}

/// What has been gathered so far.
#[derive(Default)]
pub struct Gathered {
    pub data: Object,
    pub errors: Vec<FieldError>,
}

/// One operation being carried out.
pub struct Execution<'a> {
    pub modules: &'a [Module],
    pub variables: &'a Variables,
    pub scope: &'a Arc<RequestScope>,
    /// Locked for the moments between two calls, never across one.
    gathered: Mutex<Gathered>,
}

impl<'a> Execution<'a> {
    pub fn new(modules: &'a [Module], variables: &'a Variables, scope: &'a Arc<RequestScope>, start: Gathered) -> Self {
        Self { modules, variables, scope, gathered: Mutex::new(start) }
    }

    /// Carries out the plan.
    pub async fn run(self, plan: &Node) -> Gathered {
        self.node(plan).await;
        self.gathered.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node<'s>(&'s self, node: &'s Node) -> BoxFuture<'s, ()> {
        async move {
            match node {
                Node::Fetch(fetch) => self.fetch(fetch).await,
                Node::Batch(batch) => self.batch(batch).await,
                Node::Sequence(nodes) => {
                    for node in nodes {
                        self.node(node).await;
                    }
                }
                Node::Parallel(nodes) => {
                    futures::future::join_all(nodes.iter().map(|node| self.node(node))).await;
                }
                Node::Condition { variable, then, otherwise } => {
                    let branch = if truth(self.variables, variable) { then } else { otherwise };
                    if let Some(node) = branch {
                        self.node(node).await;
                    }
                }
                // The event is already in the data; see `Engine::subscribe`.
                Node::Subscription(_) => {}
            }
        }
        .boxed()
    }

    async fn call(&self, fetch: &Fetch, variables: Variables) -> SubgraphResponse {
        if let Some(refusal) = refusal(fetch, &variables, self.scope) {
            return refusal;
        }
        let request = SubgraphRequest { operation: fetch.operation.clone(), variables, scope: Arc::clone(self.scope) };
        self.modules[fetch.subgraph].ask(request).await
    }

    async fn fetch(&self, fetch: &Fetch) {
        let response = self.call(fetch, variables_of(fetch, self.variables)).await;
        gather(&mut self.lock(), &self.modules[fetch.subgraph].name, fetch, response);
    }

    async fn batch(&self, batch: &EntityBatch) {
        let mut variables = variables_of(&batch.fetch, self.variables);
        let mut asked = Vec::with_capacity(batch.aliases.len());
        {
            let gathered = self.lock();
            for alias in &batch.aliases {
                let mut entities = Entities::collect(&gathered.data, alias);
                let representations = std::mem::take(&mut entities.representations);
                variables.insert(alias.representations.clone(), Value::List(representations));
                asked.push(entities.locations);
            }
        }
        if asked.iter().all(Vec::is_empty) {
            return;
        }
        let response = self.call(&batch.fetch, variables).await;
        let module = &self.modules[batch.fetch.subgraph].name;
        let mut gathered = self.lock();
        let SubgraphResponse { data, errors } = response;
        let mut answers = match data {
            Value::Object(answers) => answers,
            _ => Object::new(),
        };
        for (alias, locations) in batch.aliases.iter().zip(&asked) {
            let entities = match answers.shift_remove(&alias.key) {
                Some(Value::List(entities)) => entities,
                _ => Vec::new(),
            };
            let errors = errors.iter().filter(|error| concerns(error, &alias.key, batch.aliases.len()));
            let errors = place_errors(errors, &entities, locations);
            gathered.errors.extend(errors.into_iter().map(|(path, error)| FieldError {
                module: Some(module.clone()),
                path,
                error,
            }));
            put_back(&mut gathered.data, alias, entities, locations);
        }
    }
}

/// What the module would answer a caller who may see nothing of what a fetch asks for.
pub fn refusal(fetch: &Fetch, variables: &Variables, scope: &RequestScope) -> Option<SubgraphResponse> {
    fetch.restricted.as_ref()?.refusal(&scope.context().actor, variables)
}

/// The client's variables a fetch uses.
pub fn variables_of(fetch: &Fetch, variables: &Variables) -> Variables {
    let mut own = Variables::default();
    for name in &fetch.variables {
        if let Some(value) = variables.get(name) {
            own.insert(name.clone(), value.clone());
        }
    }
    own
}

/// Adds the answer of a root fetch.
pub fn gather(gathered: &mut Gathered, module: &str, fetch: &Fetch, response: SubgraphResponse) {
    let SubgraphResponse { mut data, errors } = response;
    rewrite(&mut data, &fetch.output_rewrites);
    let is_lost = data == Value::Null;
    if let Value::Object(data) = data {
        merge_object(&mut gathered.data, data);
    }
    for mut error in errors {
        let path = std::mem::take(&mut error.path);
        let mut report = |path, error| gathered.errors.push(FieldError { module: Some(module.into()), path, error });
        match (&path[..], &fetch.root_keys[..]) {
            ([], [only]) => report(vec![PathSegment::Field(only.to_string())], error),
            // The whole call failed: every field it was made for is `null`, and each says why.
            ([], keys @ [_, ..]) if is_lost => {
                for key in keys {
                    report(vec![PathSegment::Field(key.to_string())], error.clone());
                }
            }
            _ => report(path, error),
        }
    }
}

fn put_back(data: &mut Object, alias: &EntityAlias, entities: Vec<Value>, locations: &[Vec<Location>]) {
    for (mut entity, locations) in entities.into_iter().zip(locations) {
        rewrite(&mut entity, &alias.output_rewrites);
        if let Some((last, others)) = locations.split_last() {
            for location in others {
                if let Some(target) = value_at(data, location) {
                    merge(target, entity.clone());
                }
            }
            if let Some(target) = value_at(data, last) {
                merge(target, entity);
            }
        }
    }
}

/// Whether an error belongs to the entities of this alias. One without a path belongs to all.
fn concerns(error: &ServerError, key: &Name, aliases: usize) -> bool {
    match error.path.first() {
        Some(PathSegment::Field(first)) => first == key.as_str(),
        _ => aliases == 1 || error.path.is_empty(),
    }
}

/// Finds the client's paths for the errors of an `_entities` field.
///
/// The bank's modules tell the entity's index ([`super::numbering`]). Of an error without one it is that of the entity that
/// has a `null` at that path; when more entities have one than there are errors, the errors are placed at what the locations
/// have in common.
fn place_errors(
    errors: impl Iterator<Item = impl std::borrow::Borrow<ServerError>>,
    entities: &[Value],
    locations: &[Vec<Location>],
) -> Vec<(Vec<PathSegment>, ServerError)> {
    let mut placed = Vec::new();
    let mut unplaced: Vec<(Vec<PathSegment>, Vec<ServerError>)> = Vec::new();
    for error in errors {
        let mut error = error.borrow().clone();
        let path = std::mem::take(&mut error.path);
        match path.get(1..).unwrap_or_default() {
            [PathSegment::Index(index), rest @ ..] => {
                for location in locations.get(*index).into_iter().flatten() {
                    placed.push((joined(location, rest), error.clone()));
                }
            }
            rest => match unplaced.iter_mut().find(|(known, _)| known == rest) {
                Some((_, errors)) => errors.push(error),
                None => unplaced.push((rest.to_vec(), vec![error])),
            },
        }
    }
    for (rest, errors) in unplaced {
        let candidates: Vec<_> = locations
            .iter()
            .enumerate()
            .filter(|(index, _)| entities.get(*index).is_none_or(|entity| is_null_at(entity, &rest)))
            .map(|(_, locations)| locations)
            .collect();
        if candidates.len() == errors.len() {
            for (locations, error) in candidates.into_iter().zip(errors) {
                placed.extend(locations.iter().map(|location| (joined(location, &rest), error.clone())));
            }
        } else {
            let common = common_prefix(locations.iter().flatten());
            placed.extend(errors.into_iter().map(|error| (error_path(&common), error)));
        }
    }
    placed
}

fn joined(location: &Location, rest: &[PathSegment]) -> Vec<PathSegment> {
    let mut path = error_path(location);
    path.extend_from_slice(rest);
    path
}

fn is_null_at(value: &Value, path: &[PathSegment]) -> bool {
    let Some((first, rest)) = path.split_first() else { return *value == Value::Null };
    match (value, first) {
        (Value::Object(object), PathSegment::Field(key)) => {
            object.get(key.as_str()).is_none_or(|value| is_null_at(value, rest))
        }
        (Value::List(items), PathSegment::Index(index)) => {
            items.get(*index).is_none_or(|value| is_null_at(value, rest))
        }
        (Value::Null, _) => true,
        _ => false,
    }
}

fn common_prefix<'a>(mut locations: impl Iterator<Item = &'a Location>) -> Location {
    let Some(first) = locations.next() else { return Location::new() };
    let mut length = first.len();
    for location in locations {
        length = first.iter().zip(location).take(length).take_while(|(one, other)| one == other).count();
    }
    first[..length].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::entities::Step;

    fn list(index: usize) -> Vec<Location> {
        vec![vec![Step::Key(Name::new("all")), Step::Item(index)]]
    }

    fn placed(errors: &[&[PathSegment]], entities: &str) -> Vec<String> {
        let errors = errors.iter().map(|path| ServerError { path: path.to_vec(), ..ServerError::new("failed", None) });
        let entities: Vec<Value> = serde_json::from_str(entities).expect("entities");
        let locations: Vec<_> = (0..entities.len()).map(list).collect();
        let placed = place_errors(errors, &entities, &locations);
        placed.into_iter().map(|(path, _)| serde_json::to_string(&path).expect("a path")).collect()
    }

    fn field(name: &str) -> PathSegment {
        PathSegment::Field(name.into())
    }

    #[test]
    fn an_error_with_an_index_is_placed_at_that_entity() {
        let path = [field("_entities"), PathSegment::Index(1), field("x")];
        assert_eq!(placed(&[&path], "[{\"x\": null}, {\"x\": null}]"), [r#"["all",1,"x"]"#]);
    }

    #[test]
    fn an_error_without_an_index_is_placed_at_the_entity_that_has_a_null_there() {
        let path = [field("_entities"), field("x")];
        assert_eq!(placed(&[&path], "[{\"x\": 1}, {\"x\": null}]"), [r#"["all",1,"x"]"#]);
        assert_eq!(placed(&[&path], "[{\"x\": null}, {\"x\": null}]"), [r#"["all"]"#]);
    }

    #[test]
    fn an_error_of_the_whole_call_is_placed_at_what_the_entities_have_in_common() {
        let locations: Vec<_> = (0..2).map(list).collect();
        let error = ServerError::new("failed", None);
        let placed = place_errors(std::iter::once(error), &[], &locations);
        assert_eq!(placed.len(), 1);
        assert_eq!(placed[0].0, [field("all")]);
    }
}
