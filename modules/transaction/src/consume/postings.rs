use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::{PostingAppliedV1, PostingRejectedV1};
use vostro_messaging::trace;
use vostro_messaging::{AfterCommit, Handler, HandlerError, Incoming};

use super::on_posting_applied::on_posting_applied;
use super::on_posting_rejected::on_posting_rejected;
use crate::domain::{Outcome, Status, Transaction};
use crate::ending::{EndError, end_in_tx, tell_ended, trace_completion};
use crate::facade::Shared;
use crate::store::outcomes::statuses_in_tx;

/// Ends transactions the way the ledger decided. Only transactions without an outcome are changed, so an event that
/// comes again changes nothing and tells nobody anything.
pub(crate) struct PostingsHandler {
    shared: Arc<Shared>,
}

/// What the ledger said about a transaction, and the event in which it said so first.
type Said<'a> = HashMap<Uuid, (Outcome, &'a Incoming)>;

impl PostingsHandler {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Those that were not changed have ended before: the same way, or the event contradicts an earlier one.
    async fn check_the_others(
        connection: &mut PgConnection,
        said: &Said<'_>,
        ended: &[Transaction],
    ) -> Result<(), HandlerError> {
        if ended.len() == said.len() {
            return Ok(());
        }
        let mut others = said.keys().copied().collect::<std::collections::HashSet<_>>();
        for transaction in ended {
            others.remove(&transaction.id);
        }
        let ids = others.into_iter().collect::<Vec<_>>();
        let statuses: HashMap<Uuid, Status> = statuses_in_tx(connection, &ids).await?.into_iter().collect();
        for id in ids {
            let (outcome, event) = &said[&id];
            match statuses.get(&id) {
                None => return Err(event.invalid(format!("there is no transaction {id}"))),
                Some(status) if *status == outcome.status() => {}
                Some(status) => return Err(event.invalid(contradiction(id, *status))),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for PostingsHandler {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        let said = outcomes(batch)?;
        let outcomes = said.iter().map(|(id, (outcome, _))| (*id, outcome)).collect();
        let ended = end_in_tx(&self.shared, connection, &outcomes, |id| Cause::event(&said[&id].1.envelope)).await;
        let ended = ended.map_err(|error| match error {
            EndError::Refused { id, .. } => said[&id].1.invalid(error.to_string()),
            EndError::Database(error) => error.into(),
        })?;
        Self::check_the_others(connection, &said, &ended).await?;
        let shared = Arc::clone(&self.shared);
        let completions = completions(&said, &ended);
        Ok(Some(Box::new(move || {
            trace_completions(completions);
            tell_ended(&shared, ended);
        })))
    }
}

/// What traces show as completion: from the acceptance to the outcome.
struct Completion {
    traceparent: Option<String>,
    accepted_at: DateTime<Utc>,
    status: Status,
}

/// None while nothing is traced.
fn completions(said: &Said<'_>, ended: &[Transaction]) -> Vec<Completion> {
    let traced = if trace::is_on() { ended } else { &[] };
    let completion = |transaction: &Transaction| Completion {
        traceparent: said[&transaction.id].1.envelope.cause.traceparent.clone(),
        accepted_at: transaction.initiated_at,
        status: transaction.status,
    };
    traced.iter().map(completion).collect()
}

fn trace_completions(completions: Vec<Completion>) {
    for Completion { traceparent, accepted_at, status } in completions {
        trace_completion(traceparent.as_deref(), accepted_at, status);
    }
}

/// One outcome per transaction of the batch, the first that was said.
fn outcomes(batch: &[Incoming]) -> Result<Said<'_>, HandlerError> {
    let mut said = Said::with_capacity(batch.len());
    for event in batch {
        let (id, outcome) = match event.envelope.event_type.as_str() {
            PostingAppliedV1::TYPE => on_posting_applied(event)?,
            PostingRejectedV1::TYPE => on_posting_rejected(event)?,
            _ => return Err(event.invalid("not an outcome of a posting")),
        };
        match said.entry(id) {
            Entry::Vacant(free) => {
                free.insert((outcome, event));
            }
            Entry::Occupied(first) if first.get().0.status() == outcome.status() => {}
            Entry::Occupied(first) => return Err(event.invalid(contradiction(id, first.get().0.status()))),
        }
    }
    Ok(said)
}

fn contradiction(id: Uuid, status: Status) -> String {
    format!("transaction {id} is {status} already")
}
