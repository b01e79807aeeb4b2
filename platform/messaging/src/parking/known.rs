use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Whether anything is parked in a subscription, as far as this process knows. It spares the consumer a statement per
/// batch while nothing is; the database decides as soon as something may be.
///
/// It is right although several processes park, because a message is only parked by whoever holds its delivery: a
/// consumer forgets what it knew when it gets a queue ([`Self::forget`]), and from then on it is the one who parks what
/// comes from there. What another process adds from the dead-letter queue is noticed with the next look of the worker.
#[derive(Debug, Default)]
pub(crate) struct KnownParked {
    known: Mutex<Known>,
    added: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// Counts what could make an answer of the database stale that is still on its way.
    changes: u64,
    anything: Option<bool>,
}

impl KnownParked {
    /// `None` when the database has to be asked.
    pub(crate) fn anything(&self) -> Option<bool> {
        self.lock().anything
    }

    /// To be read before the database is asked, and given to [`Self::learn`] with the answer.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Takes the database's answer, unless something was parked or forgotten since the question.
    pub(crate) fn learn(&self, asked_at: u64, anything: bool) {
        let mut known = self.lock();
        if known.changes == asked_at {
            known.anything = Some(anything);
        }
    }

    /// A queue is consumed from anew: others may have parked some of its keys meanwhile.
    pub(crate) fn forget(&self) {
        let mut known = self.lock();
        known.changes += 1;
        known.anything = None;
    }

    /// Something is about to be parked here. Called before the commit, so that nobody overlooks it after.
    pub(crate) fn adding(&self) {
        let mut known = self.lock();
        known.changes += 1;
        known.anything = Some(true);
    }

    /// Wakes the worker.
    pub(crate) fn added(&self) {
        self.added.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_at_first_and_after_getting_a_queue() {
        let known = KnownParked::default();
        assert_eq!(known.anything(), None);
        known.learn(known.changes(), false);
        assert_eq!(known.anything(), Some(false));
        known.forget();
        assert_eq!(known.anything(), None);
    }

    #[test]
    fn an_answer_that_something_overtook_is_not_believed() {
        let known = KnownParked::default();
        let asked_at = known.changes();
        known.adding();
        known.learn(asked_at, false);
        assert_eq!(known.anything(), Some(true));
        let asked_at = known.changes();
        known.forget();
        known.learn(asked_at, true);
        assert_eq!(known.anything(), None);
    }
}
