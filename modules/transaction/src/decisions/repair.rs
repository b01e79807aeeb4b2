use std::collections::{HashMap, HashSet};

use metrics::counter;
use tracing::{error, warn};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_kernel::RequestContext;

use super::DecisionWatch;
use crate::domain::{Outcome, Transaction};
use crate::ending::{EndError, end_in_tx, tell_ended, trace_completion};
use crate::publish;
use crate::store::outcomes::statuses_in_tx;
use crate::store::{history, overdue};

/// What the audit log names as the reason for what a repair does.
const COMMAND: &str = "decisionInquiry";

impl DecisionWatch {
    /// Ends transactions the way the ledger says they ended. The same guarded update as for its events: one of the two
    /// wins, and one event says so.
    pub(super) async fn settle(&self, decided: &HashMap<Uuid, Outcome>) -> sqlx::Result<()> {
        if decided.is_empty() {
            return Ok(());
        }
        let foundation = &self.shared.foundation;
        let context = RequestContext::system(foundation.ids.as_ref());
        let ids: Vec<Uuid> = decided.keys().copied().collect();
        let traces = overdue::traces(&foundation.pool, &ids).await?;
        // The inquiry is about many at once; what comes of it belongs to the trace of each one's order.
        let cause = |id: Uuid| Cause { traceparent: traces.get(&id).cloned(), ..Cause::command(&context, COMMAND) };
        let mut database = foundation.begin().await?;
        let outcomes = decided.iter().map(|(id, outcome)| (*id, outcome)).collect();
        let ended = end_in_tx(&self.shared, &mut database, &outcomes, cause).await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(EndError::Database(error)) => return Err(error),
            Err(EndError::Refused { id, refusal }) => {
                error!(transaction = %id, %refusal, "an overdue transaction is not ended");
                drop(database);
                let others = decided.iter().filter(|(other, _)| **other != id);
                let others = others.map(|(id, outcome)| (*id, outcome.clone())).collect();
                return Box::pin(self.settle(&others)).await;
            }
        };
        let repaired: HashSet<Uuid> = ended.iter().map(|transaction| transaction.id).collect();
        let others: Vec<Uuid> = decided.keys().copied().filter(|id| !repaired.contains(id)).collect();
        for (id, status) in statuses_in_tx(&mut database, &others).await? {
            if status != decided[&id].status() {
                error!(transaction = %id, %status, "the ledger says that this transaction ended otherwise");
            }
        }
        database.commit().await?;
        foundation.outbox.committed();
        for transaction in &ended {
            let traceparent = traces.get(&transaction.id).map(String::as_str);
            trace_completion(traceparent, transaction.initiated_at, transaction.status);
        }
        self.tell(ended);
        Ok(())
    }

    fn tell(&self, ended: Vec<Transaction>) {
        for transaction in &ended {
            let status = transaction.status.as_str();
            warn!(transaction = %transaction.id, status, "ended by an inquiry: the ledger's event did not come");
            counter!("vostro_transactions_repaired_total", "status" => status).increment(1);
        }
        tell_ended(&self.shared, ended);
    }

    /// Sends what the ledger has not decided to it once more: the same payment under the same id, in an event of its
    /// own whose cause is the inquiry. A ledger that has the first waiting somewhere decides it once, whichever comes
    /// first.
    pub(super) async fn send_again(&self, unseen: &[Uuid]) -> sqlx::Result<()> {
        let foundation = &self.shared.foundation;
        let transactions = history::by_ids(&foundation.pool, unseen).await?;
        let traces = overdue::traces(&foundation.pool, unseen).await?;
        let under_way = transactions.iter().filter(|transaction| !transaction.status.has_ended());
        let said_again = |transaction: &Transaction| {
            let traceparent = traces.get(&transaction.id).cloned();
            publish::initiated(Cause { traceparent, ..self.ordered_by_initiator(transaction) }, transaction)
        };
        let events: Vec<_> = under_way.map(said_again).collect();
        if events.is_empty() {
            return Ok(());
        }
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let mut database = foundation.begin().await?;
        foundation.outbox.append_in_tx(&mut database, events).await?;
        database.commit().await?;
        foundation.outbox.committed();
        counter!("vostro_transactions_resent_total").increment(count);
        Ok(())
    }

    /// It is the initiator's payment still: whoever reads the archive must not believe that the bank ordered it.
    fn ordered_by_initiator(&self, transaction: &Transaction) -> Cause {
        let actor = transaction.initiator();
        Cause::command(&RequestContext::of(actor, self.shared.foundation.ids.as_ref()), COMMAND)
    }
}
