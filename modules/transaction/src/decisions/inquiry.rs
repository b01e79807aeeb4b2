use std::collections::{HashMap, HashSet};
use std::time::Duration;

use metrics::counter;
use tracing::warn;
use uuid::Uuid;
use vostro_events::query::account::{PostingDecisionV1, PostingDecisionsV1};

use super::DecisionWatch;
use crate::domain::Outcome;
use crate::store::overdue::{self, Due};

/// How long the ledger has for its answer.
const BUDGET: Duration = Duration::from_secs(5);
/// Between the first inquiry about a transaction and the second; it doubles from there.
const FIRST_PAUSE_S: f64 = 10.0;
const LONGEST_PAUSE_S: f64 = 600.0;
/// The first inquiry only asks: the ledger may just be slow, and what is under way need not be sent again.
const RESENT_FROM: i32 = 2;

impl DecisionWatch {
    /// Asks the ledger about everything that is due, and acts on what it says. Without an answer nothing is concluded.
    pub(super) async fn inquire(&self) -> sqlx::Result<()> {
        let limit = i64::try_from(PostingDecisionsV1::LIMIT).unwrap_or(i64::MAX);
        loop {
            let foundation = &self.shared.foundation;
            let due =
                overdue::take_due(&foundation.pool, foundation.clock.now(), limit, FIRST_PAUSE_S, LONGEST_PAUSE_S)
                    .await?;
            if due.is_empty() {
                return Ok(());
            }
            let count = due.len();
            let Some(decided) = self.ask(&due).await else { return Ok(()) };
            let undecided: Vec<&Due> = due.iter().filter(|due| !decided.contains_key(&due.transaction_id)).collect();
            told("decided", decided.len());
            told("undecided", undecided.len());
            let unseen: Vec<Uuid> = undecided
                .into_iter()
                .filter(|due| due.inquiries >= RESENT_FROM)
                .map(|due| due.transaction_id)
                .collect();
            self.settle(&decided).await?;
            self.send_again(&unseen).await?;
            if count < PostingDecisionsV1::LIMIT {
                return Ok(());
            }
        }
    }

    /// What the ledger has decided of these; nothing when it does not answer.
    async fn ask(&self, due: &[Due]) -> Option<HashMap<Uuid, Outcome>> {
        let asked: HashSet<Uuid> = due.iter().map(|due| due.transaction_id).collect();
        let question = PostingDecisionsV1 { transaction_ids: asked.iter().copied().collect() };
        match self.shared.foundation.asking.ask(&question, BUDGET).await {
            Ok(answer) => {
                let decided = answer.decided.into_iter().filter(|decision| asked.contains(&decision.transaction_id));
                Some(decided.map(|decision| (decision.transaction_id, outcome(decision))).collect())
            }
            Err(error) => {
                told("unanswered", due.len());
                warn!(%error, transactions = due.len(), "the ledger does not say what became of overdue transactions");
                None
            }
        }
    }
}

fn outcome(decision: PostingDecisionV1) -> Outcome {
    let at = decision.decided_at;
    match decision.refusal_code {
        None => Outcome::Booked { at },
        Some(code) => Outcome::Rejected { code, at },
    }
}

fn told(outcome: &'static str, transactions: usize) {
    let transactions = u64::try_from(transactions).unwrap_or(u64::MAX);
    counter!("vostro_transaction_inquiries_total", "outcome" => outcome).increment(transactions);
}
