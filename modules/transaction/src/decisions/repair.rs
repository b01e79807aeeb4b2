use std::collections::{HashMap, HashSet};

use metrics::counter;
use tracing::{error, warn};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_kernel::RequestContext;

use super::DecisionWatch;
use crate::domain::{Outcome, Transaction};
use crate::publish;
use crate::store::history;
use crate::store::outcomes::{settle_in_tx, statuses_in_tx};

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
        let mut database = foundation.pool.begin().await?;
        let open = settle_in_tx(&mut database, decided.iter().map(|(id, outcome)| (*id, outcome))).await?;
        let now = foundation.clock.now();
        let (mut ended, mut events) = (Vec::with_capacity(open.len()), Vec::with_capacity(open.len()));
        for transaction in open {
            let outcome = &decided[&transaction.id];
            // The update has just found it open.
            let Ok(transaction) = transaction.settle(outcome) else { continue };
            let cause = Cause::command(&context, COMMAND);
            events.push(publish::ended(foundation.ids.next(), now, cause, &transaction));
            ended.push(transaction);
        }
        foundation.outbox.append_in_tx(&mut database, events).await?;
        let repaired: HashSet<Uuid> = ended.iter().map(|transaction| transaction.id).collect();
        let others: Vec<Uuid> = decided.keys().copied().filter(|id| !repaired.contains(id)).collect();
        for (id, status) in statuses_in_tx(&mut database, &others).await? {
            if status != decided[&id].status() {
                error!(transaction = %id, %status, "the ledger says that this transaction ended otherwise");
            }
        }
        database.commit().await?;
        foundation.outbox.committed();
        self.tell(ended);
        Ok(())
    }

    fn tell(&self, ended: Vec<Transaction>) {
        for transaction in ended {
            let (kind, status) = (transaction.kind.as_str(), transaction.status.as_str());
            warn!(transaction = %transaction.id, status, "ended by an inquiry: the ledger's event did not come");
            counter!("vostro_transactions_ended_total", "kind" => kind, "status" => status).increment(1);
            counter!("vostro_transactions_repaired_total", "status" => status).increment(1);
            self.shared.tell(transaction);
        }
    }

    /// Sends what the ledger has not decided to it once more: the same event, under the same id. A ledger that has it
    /// waiting somewhere decides it once, whichever comes first.
    pub(super) async fn send_again(&self, unseen: &[Uuid]) -> sqlx::Result<()> {
        let foundation = &self.shared.foundation;
        let transactions = history::by_ids(&foundation.pool, unseen).await?;
        let context = RequestContext::system(foundation.ids.as_ref());
        let under_way = transactions.iter().filter(|transaction| !transaction.status.has_ended());
        let events: Vec<_> =
            under_way.map(|transaction| publish::initiated(Cause::command(&context, COMMAND), transaction)).collect();
        if events.is_empty() {
            return Ok(());
        }
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let mut database = foundation.pool.begin().await?;
        foundation.outbox.append_in_tx(&mut database, events).await?;
        database.commit().await?;
        foundation.outbox.committed();
        counter!("vostro_transactions_resent_total").increment(count);
        Ok(())
    }
}
