//! Which entity of a call an error is of.
//!
//! A gateway asks a module for many entities in one `_entities` field. async-graphql reports the path of an error inside one
//! of them without its place in the list, and an error that no field in it may be `null` for ends the whole call. With
//! [`Numbered`] around its root a module says which one it is, and the others are answered.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::Future;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, ObjectType, OutputType, PathSegment, Positioned, QueryPathNode,
    QueryPathSegment, ServerError, ServerResult, Value,
};

/// One `_entities` field while it is answered.
#[derive(Default)]
struct Call {
    begun: Cell<usize>,
    failed: RefCell<Vec<ServerError>>,
}

tokio::task_local! {
    static CALL: Call;
}

/// Runs what answers an `_entities` field, and tells the errors of entities that are `null` for them.
pub async fn of_entities<T>(answer: impl Future<Output = T>) -> (T, Vec<ServerError>) {
    let answer = async {
        let answer = answer.await;
        (answer, CALL.with(|call| call.failed.take()))
    };
    CALL.scope(Call::default(), answer).await
}

/// The root of a module's queries, whose entities know their place in the list they were asked in.
pub struct Numbered<Q>(pub Q);

impl<Q: ObjectType> ContainerType for Numbered<Q> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        self.0.resolve_field(ctx).await
    }

    async fn find_entity(&self, ctx: &Context<'_>, representation: &Value) -> ServerResult<Option<Value>> {
        // Entities of a call are begun in its order: the library polls them so the first time, whenever they end.
        let Ok(index) = CALL.try_with(|call| call.begun.replace(call.begun.get() + 1)) else {
            return self.0.find_entity(ctx, representation).await;
        };
        let mut of_this = ctx.clone();
        of_this.path_node =
            Some(QueryPathNode { parent: ctx.path_node.as_ref(), segment: QueryPathSegment::Index(index) });
        match self.0.find_entity(&of_this, representation).await {
            Err(mut error) => {
                if error.path.is_empty() {
                    let field = ctx.item.node.response_key().node.to_string();
                    error.path = vec![PathSegment::Field(field), PathSegment::Index(index)];
                }
                CALL.with(|call| call.failed.borrow_mut().push(error));
                Ok(Some(Value::Null))
            }
            found => found,
        }
    }
}

impl<Q: ObjectType> OutputType for Numbered<Q> {
    fn type_name() -> Cow<'static, str> {
        Q::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Q::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        self.0.resolve(ctx, field).await
    }
}

impl<Q: ObjectType> ObjectType for Numbered<Q> {}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, ID, Object, Request, Result, SimpleObject, Variables};
    use serde_json::json;

    use super::*;
    use crate::stitch::subgraph;

    #[derive(SimpleObject)]
    struct Thing {
        id: ID,
    }

    struct Things;

    #[Object(name = "Query")]
    impl Things {
        /// The later it was asked for the sooner it answers, and every other fails.
        #[graphql(entity)]
        async fn thing_by_id(&self, id: ID) -> Result<Thing> {
            let number: usize = id.parse()?;
            for _ in number..200 {
                tokio::task::yield_now().await;
            }
            if number.is_multiple_of(2) { Ok(Thing { id }) } else { Err(id.0.into()) }
        }
    }

    #[tokio::test]
    async fn each_entity_has_the_place_it_was_asked_for_at_whenever_it_is_answered() {
        let schema = subgraph::finish(subgraph::begin(Things, EmptyMutation, EmptySubscription));
        let representations: Vec<_> = (0..200).map(|id| json!({"__typename": "Thing", "id": id.to_string()})).collect();
        let query = "query($of: [_Any!]!) { all: _entities(representations: $of) { ... on Thing { id } } }";
        let variables = Variables::from_json(json!({"of": representations}));
        let response = schema.execute(Request::new(query).variables(variables)).await;

        let answered = (0..200).map(|id| if id % 2 == 0 { json!({"id": id.to_string()}) } else { json!(null) });
        let data = response.data.into_json().expect("JSON");
        assert_eq!(data, json!({"all": answered.collect::<Vec<_>>()}));
        let places = response.errors.iter().map(|error| match &error.path[..] {
            [_, PathSegment::Index(index)] => (*index, error.message.clone()),
            other => panic!("{other:?}"),
        });
        let mut places: Vec<_> = places.collect();
        places.sort();
        let failed: Vec<_> = (1..200).step_by(2).map(|id: usize| (id, id.to_string())).collect();
        assert_eq!(places, failed);
    }
}
