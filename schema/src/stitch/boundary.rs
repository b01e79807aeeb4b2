//! What stands around every field of every module: who may ask for it, and where its errors stop.
//!
//! async-graphql 8 nulls the *parent* of a nullable field that failed, so one forbidden field would hide a whole
//! account. This extension refuses what the field's [`Access`] declaration does not allow, catches errors where the
//! field's type allows `null`, keeps the siblings, and reports the error with its path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextResolve, ResolveInfo};
use async_graphql::{PathSegment, QueryPathNode, QueryPathSegment, Response, ServerError, ServerResult, Value};
use graphql_tools::static_graphql::schema::{Definition, TypeDefinition};

use super::numbering::of_entities;
use crate::access::{Access, Audience, Rule};
use crate::scope::RequestScope;

/// The rules of a module's fields by type and field. Types without any are not in it.
#[derive(Debug, Default)]
pub struct Rules(HashMap<String, HashMap<String, Rule>>);

impl Rules {
    /// Reads the declarations of a schema from its own SDL.
    ///
    /// # Panics
    /// When the library writes SDL that cannot be read, a rule is not one or a root field has none: a module without its
    /// rules must not start.
    pub fn of(sdl: &str) -> Self {
        let document = graphql_tools::parser::parse_schema::<String>(sdl);
        let document = document.unwrap_or_else(|error| panic!("the SDL of a module cannot be read: {error}"));
        let mut types: HashMap<String, HashMap<String, Rule>> = HashMap::new();
        for definition in document.into_static().definitions {
            let Definition::TypeDefinition(TypeDefinition::Object(object)) = definition else { continue };
            for field in &object.fields {
                let Some(rule) = Access::rule_of(&field.directives) else {
                    assert!(!is_entrance(&object.name, &field.name), "{}.{}: no declaration", object.name, field.name);
                    continue;
                };
                let rule = rule.unwrap_or_else(|text| panic!("{}.{}: no rule: {text}", object.name, field.name));
                if rule.audience != Audience::Anyone {
                    types.entry(object.name.clone()).or_default().insert(field.name.clone(), rule);
                }
            }
        }
        Self(types)
    }

    fn get(&self, type_name: &str, field: &str) -> Option<&Rule> {
        self.0.get(type_name)?.get(field)
    }
}

/// Whether clients get in by this field: it must say who may. The two of federation are the engine's own to ask.
fn is_entrance(type_name: &str, field: &str) -> bool {
    matches!(type_name, "Query" | "Mutation" | "Subscription") && !matches!(field, "_service" | "_entities")
}

/// Add it to every module's schema; [`super::subgraph::finish`] does. The rules are known once the schema is finished.
#[derive(Debug, Clone, Default)]
pub struct Boundary {
    rules: Arc<OnceLock<Rules>>,
}

impl Boundary {
    /// Tells the rules. Until then nothing is answered.
    pub fn enforce(&self, rules: Rules) {
        // A second call would come from a second `finish` of the same schema, which does not exist.
        let _ = self.rules.set(rules);
    }
}

impl ExtensionFactory for Boundary {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Around { rules: Arc::clone(&self.rules), caught: Mutex::default() })
    }
}

/// One operation, or one event of a subscription.
struct Around {
    rules: Arc<OnceLock<Rules>>,
    caught: Mutex<Vec<ServerError>>,
}

impl Around {
    fn check(&self, ctx: &ExtensionContext<'_>, info: &ResolveInfo<'_>) -> ServerResult<()> {
        let failed = |error: async_graphql::Error| error.into_server_error(info.field.name.pos);
        let Some(rules) = self.rules.get() else { return Err(failed("the module has no rules yet".into())) };
        let Some(rule) = rules.get(info.parent_type, info.name) else { return Ok(()) };
        let scope = ctx.data_opt::<Arc<RequestScope>>();
        let Some(scope) = scope else { return Err(failed("the request carries no scope".into())) };
        rule.check(&scope.context().actor).map_err(|error| {
            let mut error = failed(error);
            error.path = path(info.path_node);
            error
        })
    }
}

fn path(node: &QueryPathNode<'_>) -> Vec<PathSegment> {
    let mut path = node.parent.map(path).unwrap_or_default();
    path.push(match node.segment {
        QueryPathSegment::Index(index) => PathSegment::Index(index),
        QueryPathSegment::Name(name) => PathSegment::Field(name.to_owned()),
    });
    path
}

#[async_graphql::async_trait::async_trait]
impl Extension for Around {
    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        response.errors.append(&mut self.caught.lock().unwrap_or_else(PoisonError::into_inner));
        response
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let nullable = !info.return_type.ends_with('!');
        let outcome = match self.check(ctx, &info) {
            Ok(()) if info.name == "_entities" => {
                let (outcome, failed) = of_entities(next.run(ctx, info)).await;
                self.caught.lock().unwrap_or_else(PoisonError::into_inner).extend(failed);
                outcome
            }
            Ok(()) => next.run(ctx, info).await,
            refused => refused.map(|()| None),
        };
        match outcome {
            Err(error) if nullable => {
                self.caught.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                Ok(Some(Value::Null))
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "Subscription.open: no declaration")]
    fn a_module_with_a_root_field_that_does_not_say_who_may_ask_does_not_start() {
        Rules::of("type Query { _service: Int } type Account { id: ID } type Subscription { open: Int }");
    }
}
