use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Whether anything is parked in a subscription, as far as this process knows. It spares the consumer a statement per
/// batch while nothing is; the database decides as soon as something may be.
///
/// It is right although several processes park, because a message is only parked by whoever holds its delivery: a
/// consumer forgets what it knew when it gets a queue ([`Self::forget`]), and from then on it is the one who parks what
/// comes from there. What another process adds from the dead-letter queue is noticed with the next look of the worker.
///
/// It also knows whether operators gave events up: a handler that keeps no inbox rows must be spared those if they come
/// again, and a key is released no earlier than a look that sees both.
#[derive(Debug, Default)]
pub(crate) struct KnownParked {
    known: Mutex<Known>,
    added: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// Counts what could make an answer of the database stale that is still on its way.
    changes: u64,
    /// Parkings that are not committed yet: the database does not count them.
    parking: u32,
    anything: Option<bool>,
    given_up: bool,
}

impl KnownParked {
    /// `None` when the database has to be asked.
    pub(crate) fn anything(&self) -> Option<bool> {
        self.lock().anything
    }

    /// Whether operators have given events up in this subscription. Once true it stays so.
    pub(crate) fn given_up(&self) -> bool {
        self.lock().given_up
    }

    /// To be read before the database is asked, and given to [`Self::learn`] with the answer.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Takes the database's answer, unless something was parked or forgotten since the question, or is being parked.
    pub(crate) fn learn(&self, asked_at: u64, anything: bool, given_up: bool) {
        let mut known = self.lock();
        known.given_up |= given_up;
        if known.changes == asked_at && known.parking == 0 {
            known.anything = Some(anything);
        }
    }

    /// A queue is consumed from anew: others may have parked some of its keys meanwhile.
    pub(crate) fn forget(&self) {
        let mut known = self.lock();
        known.changes += 1;
        known.anything = None;
    }

    /// Something is being parked here, until the guard is dropped after the commit. Nobody overlooks it meanwhile, and
    /// then the worker is woken.
    pub(crate) fn parking(&self) -> Parking<'_> {
        let mut known = self.lock();
        known.changes += 1;
        known.parking += 1;
        known.anything = Some(true);
        Parking(self)
    }

    pub(crate) async fn woken(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`KnownParked::parking`].
pub(crate) struct Parking<'a>(&'a KnownParked);

impl Drop for Parking<'_> {
    fn drop(&mut self) {
        let mut known = self.0.lock();
        known.changes += 1;
        known.parking -= 1;
        known.anything = Some(true);
        drop(known);
        self.0.added.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_at_first_and_after_getting_a_queue() {
        let known = KnownParked::default();
        assert_eq!(known.anything(), None);
        known.learn(known.changes(), false, false);
        assert_eq!(known.anything(), Some(false));
        known.forget();
        assert_eq!(known.anything(), None);
    }

    #[test]
    fn an_answer_that_something_overtook_is_not_believed() {
        let known = KnownParked::default();
        let asked_at = known.changes();
        drop(known.parking());
        known.learn(asked_at, false, false);
        assert_eq!(known.anything(), Some(true));
        let asked_at = known.changes();
        known.forget();
        known.learn(asked_at, true, false);
        assert_eq!(known.anything(), None);
    }

    #[test]
    fn what_is_not_committed_yet_is_not_overlooked() {
        let known = KnownParked::default();
        let parking = known.parking();
        let asked_at = known.changes();
        known.learn(asked_at, false, false);
        assert_eq!(known.anything(), Some(true));
        drop(parking);
        known.learn(asked_at, false, false);
        assert_eq!(known.anything(), Some(true), "the question was asked before the commit");
        known.learn(known.changes(), false, false);
        assert_eq!(known.anything(), Some(false));
    }

    #[test]
    fn that_something_was_given_up_is_never_forgotten() {
        let known = KnownParked::default();
        known.learn(known.changes(), false, true);
        known.forget();
        known.learn(known.changes(), false, false);
        assert!(known.given_up());
    }
}
