use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_messaging::Look;

use super::{MOST, OVERLAP, Subject};
use crate::decisions::first_id_at;
use crate::domain::Transaction;
use crate::facade::Shared;
use crate::store::history;

/// The transactions under way that listeners know of, each with how many do: their ends are looked for however long they
/// take.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<Uuid, usize>>);

impl UnderWay {
    pub(super) fn follow(&self, id: Uuid) {
        *self.lock().entry(id).or_default() += 1;
    }

    pub(super) fn leave(&self, id: Uuid) {
        let mut followed = self.lock();
        if let Some(followers) = followed.get_mut(&id) {
            *followers -= 1;
            if *followers == 0 {
                followed.remove(&id);
            }
        }
    }

    fn all(&self) -> Vec<Uuid> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What other instances change, of whatever somebody follows here.
pub(crate) struct ChangedElsewhere {
    shared: Arc<Shared>,
    /// Until when everything was seen.
    seen_until: Option<DateTime<Utc>>,
    /// What was seen lately: a look begins before the end of the one before.
    seen: HashMap<Uuid, (i64, DateTime<Utc>)>,
}

impl ChangedElsewhere {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, seen_until: None, seen: HashMap::new() }
    }
}

#[async_trait]
impl Look<Subject, Arc<Transaction>> for ChangedElsewhere {
    /// Three questions at most, for all listeners together.
    async fn look(&mut self, subjects: Vec<Subject>) -> sqlx::Result<Vec<(Subject, Arc<Transaction>)>> {
        let foundation = &self.shared.foundation;
        let now = foundation.clock.now();
        // That there is another instance is known a while after it began.
        let from = self.seen_until.unwrap_or(now - OVERLAP) - OVERLAP;
        let (mut accounts, mut ids) = (Vec::new(), self.shared.under_way.all());
        for subject in subjects {
            match subject {
                Subject::Account(id) => accounts.push(id),
                Subject::Transaction(id) => ids.push(id),
            }
        }
        let limit = i64::try_from(MOST).unwrap_or(i64::MAX);
        let mut found = history::since(&foundation.pool, &accounts, first_id_at(from), None, limit).await?;
        found.extend(history::by_ids(&foundation.pool, &ids).await?);
        found.sort_by_key(|transaction| (transaction.occurred_at(), transaction.id));

        self.seen_until = Some(now);
        self.seen.retain(|_, (_, at)| *at >= from - OVERLAP);
        let mut news = Vec::new();
        for transaction in found {
            let (sequence, at) = (transaction.sequence(), now);
            let before = self.seen.insert(transaction.id, (sequence, at));
            if before.is_none_or(|(before, _)| before < sequence) {
                news.extend(told(Arc::new(transaction)));
            }
        }
        Ok(news)
    }
}

/// Whom a change is told: those who follow the transaction, and those who follow one of its accounts.
pub(crate) fn told(transaction: Arc<Transaction>) -> impl Iterator<Item = (Subject, Arc<Transaction>)> {
    let accounts = HashSet::from([transaction.source_account_id, transaction.destination_account_id]);
    let subjects = accounts.into_iter().map(Subject::Account).chain([Subject::Transaction(transaction.id)]);
    subjects.map(move |subject| (subject, Arc::clone(&transaction)))
}
