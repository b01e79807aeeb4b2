use std::sync::Arc;

use async_trait::async_trait;
use metrics::counter;
use sqlx::PgConnection;
use vostro_events::Cause;
use vostro_events::account::StatementTermEndedV1;
use vostro_messaging::{AfterCommit, Handler, HandlerError, Incoming};

use crate::facade::Inner;
use crate::store::Viewer;
use crate::store::statements::{self, Job};

/// Ends statements whose time is up: those that are not ready fail, those that were can be read no longer.
pub(crate) struct StatementTerms {
    inner: Arc<Inner>,
}

impl StatementTerms {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl Handler for StatementTerms {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        let mut ended = Vec::new();
        // Seldom more than one: terms end when their statements were requested or ready, not in batches.
        for incoming in batch {
            let event: StatementTermEndedV1 = incoming.decode()?;
            let job = statements::lock_in_tx(connection, Viewer::Everything, event.statement_id).await?;
            let Some(Job { mut statement, .. }) = job else {
                return Err(incoming.invalid("there is no such statement"));
            };
            if statement.term_ended(event.term_id, self.inner.publisher().now) {
                let cause = Cause::event(&incoming.envelope);
                self.inner.end_statement_in_tx(connection, &statement, cause).await?;
                ended.push((statement.id, statement.status));
            }
        }
        let inner = Arc::clone(&self.inner);
        Ok(Some(Box::new(move || {
            for (id, status) in ended {
                counter!("vostro_statements_total", "outcome" => status.as_str()).increment(1);
                inner.statement_news.tell(&id, ());
            }
        })))
    }
}
