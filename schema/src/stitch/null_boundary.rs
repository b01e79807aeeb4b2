//! Errors stop at the nearest nullable field, as the GraphQL specification says.
//!
//! async-graphql 8 nulls the *parent* of a nullable field that failed, so one forbidden field would hide a whole
//! account. This extension catches the error where the field's type allows `null`, keeps the siblings, and reports the
//! error with its path.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextResolve, ResolveInfo};
use async_graphql::{Response, ServerError, ServerResult, Value};

/// Add it to every module's schema; [`super::subgraph::finish`] does.
#[derive(Debug, Clone, Copy)]
pub struct NullBoundary;

impl ExtensionFactory for NullBoundary {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Boundary::default())
    }
}

/// The errors caught during one operation, or during one event of a subscription.
#[derive(Default)]
struct Boundary {
    caught: Mutex<Vec<ServerError>>,
}

#[async_graphql::async_trait::async_trait]
impl Extension for Boundary {
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
        match next.run(ctx, info).await {
            Err(error) if nullable => {
                self.caught.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                Ok(Some(Value::Null))
            }
            outcome => outcome,
        }
    }
}
