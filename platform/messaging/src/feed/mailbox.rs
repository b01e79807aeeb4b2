use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Missed;

/// How many news wait for one listener before it is told that it missed some instead. A snapshot is less than as many
/// changes, and memory for ten thousand listeners has to be bounded.
pub(super) const CAPACITY: usize = 256;

/// What one listener has not heard yet.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    waiting: Mutex<Waiting<T>>,
    told: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    news: VecDeque<T>,
    missed: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { news: VecDeque::new(), missed: false }), told: Notify::new() }
    }
}

impl<T> Mailbox<T> {
    pub fn put(&self, news: T) {
        let mut waiting = self.lock();
        // The snapshot that is taken instead is younger than this.
        if waiting.missed {
            return;
        }
        if waiting.news.len() < CAPACITY {
            waiting.news.push_back(news);
        } else {
            *waiting = Waiting { news: VecDeque::new(), missed: true };
        }
        drop(waiting);
        self.told.notify_one();
    }

    pub fn miss(&self) {
        *self.lock() = Waiting { news: VecDeque::new(), missed: true };
        self.told.notify_one();
    }

    pub async fn take(&self) -> Result<T, Missed> {
        loop {
            if let Some(next) = self.next() {
                return next;
            }
            // Told between the look and here: the permit is kept.
            self.told.notified().await;
        }
    }

    fn next(&self) -> Option<Result<T, Missed>> {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.missed) {
            return Some(Err(Missed));
        }
        waiting.news.pop_front().map(Ok)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
