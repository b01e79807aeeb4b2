use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::fault::jitter;

/// How many other instances of the bank run beside this one, as far as it knows. Cheap to clone: clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Company {
    others: Arc<AtomicUsize>,
}

impl Company {
    pub fn is_there(&self) -> bool {
        self.others() > 0
    }

    pub(crate) fn others(&self) -> usize {
        self.others.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, others: usize) {
        self.others.store(others, Ordering::Relaxed);
    }
}

/// Live news inside one process, for GraphQL subscriptions and for callers that wait for an outcome. Told after the
/// commit and possibly lost; whoever needs certainty reads the database.
#[derive(Debug, Clone)]
pub struct LiveFeed<T> {
    sender: broadcast::Sender<T>,
    company: Company,
}

impl<T: Clone + Send + 'static> LiveFeed<T> {
    /// How far a slow listener may fall behind before it is told that it missed something.
    const CAPACITY: usize = 4096;

    /// `company` is the [`crate::Foundation`]'s: what other instances apply is told there.
    pub fn new(company: Company) -> Self {
        Self { sender: broadcast::channel(Self::CAPACITY).0, company }
    }

    /// Tells everybody who listens just now.
    pub fn tell(&self, news: T) {
        // No listener is the normal case, not an error.
        let _ = self.sender.send(news);
    }

    /// Whether anybody listens; lets the teller skip preparing what nobody would hear.
    pub fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener<T> {
        Listener { receiver: self.sender.subscribe(), company: self.company.clone(), look_at: look_at() }
    }
}

/// Hears the news of one process, and is told to look when there may be others.
#[derive(Debug)]
pub struct Listener<T> {
    receiver: broadcast::Receiver<T>,
    company: Company,
    look_at: Instant,
}

/// How long news of another instance take at most. Each listener asks the database this often while there are others.
const LOOK: Duration = Duration::from_secs(2);

fn look_at() -> Instant {
    Instant::now() + jitter(LOOK)
}

impl<T: Clone> Listener<T> {
    /// The next news. Nothing is lost when this is dropped before it completes.
    ///
    /// # Errors
    /// `Lagged` means news were missed, or may have been told in another instance: take a snapshot and go on.
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        loop {
            tokio::select! {
                biased;
                news = self.receiver.recv() => return news,
                () = tokio::time::sleep_until(self.look_at) => {}
            }
            self.look_at = look_at();
            if self.company.is_there() {
                return Err(RecvError::Lagged(0));
            }
        }
    }

    /// How many news have been told and not heard yet.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether there are none")]
    pub fn len(&self) -> usize {
        self.receiver.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_listener_is_told_to_look_while_there_are_other_instances() {
        let company = Company::default();
        let feed = LiveFeed::new(company.clone());
        let mut listener = feed.listen();
        assert!(tokio::time::timeout(LOOK * 10, listener.recv()).await.is_err(), "alone, everything is told here");
        company.set(1);
        let told = tokio::time::timeout(LOOK * 2, listener.recv()).await.expect("in time");
        assert_eq!(told, Err(RecvError::Lagged(0)));
        feed.tell(7);
        assert_eq!(listener.recv().await, Ok(7));
        company.set(0);
        assert!(tokio::time::timeout(LOOK * 10, listener.recv()).await.is_err());
    }
}
