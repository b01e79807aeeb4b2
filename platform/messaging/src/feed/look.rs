use std::hash::Hash;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LiveFeed;
use crate::fault::jitter;

/// How long news of another instance take at most. The database is asked once for all topics.
const LOOK: Duration = Duration::from_secs(1);
/// For how long the database is asked after the last other instance has gone: what it did last was told nowhere.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// Finds what is new in the database about topics, whoever committed it.
#[async_trait]
pub trait Look<K, T>: Send {
    /// What is new since the last look, and possibly some of before, in the order in which it is to be told. Listeners know
    /// by its sequence what they have heard. A look that fails is repeated, and must then find what it would have found.
    ///
    /// # Errors
    /// Database faults.
    async fn look(&mut self, topics: Vec<K>) -> sqlx::Result<Vec<(K, T)>>;
}

impl<K, T> LiveFeed<K, T>
where
    K: Clone + Eq + Hash + Send + Sync,
    T: Clone + Send,
{
    /// Tells what other instances committed, while there are any and somebody listens. Runs until it is stopped.
    pub async fn look_around(self, mut look: impl Look<K, T>, stop: CancellationToken) {
        let mut until = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jitter(LOOK)) => {}
            }
            if self.company.is_there() {
                until = Some(Instant::now() + AFTERWARDS);
            }
            if until.is_none_or(|until| until < Instant::now()) || !self.has_listeners() {
                continue;
            }
            match look.look(self.topics()).await {
                Ok(news) => self.tell_all(news),
                Err(error) => tracing::debug!(%error, "cannot see what other instances have done; looking again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::{Company, Listener};

    /// Counts, and fails every other time.
    struct Counting {
        looks: u32,
    }

    #[async_trait]
    impl Look<&'static str, u32> for Counting {
        async fn look(&mut self, topics: Vec<&'static str>) -> sqlx::Result<Vec<(&'static str, u32)>> {
            self.looks += 1;
            if self.looks.is_multiple_of(2) {
                return Err(sqlx::Error::PoolTimedOut);
            }
            Ok(topics.into_iter().map(|topic| (topic, self.looks)).collect())
        }
    }

    async fn hears_nothing(listener: &mut Listener<&'static str, u32>) -> bool {
        tokio::time::timeout(LOOK * 30, listener.recv()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn the_database_is_asked_once_for_all_topics_while_there_are_other_instances() {
        let (company, stop) = (Company::default(), CancellationToken::new());
        let feed = LiveFeed::new(company.clone());
        let looking = tokio::spawn(feed.clone().look_around(Counting { looks: 0 }, stop.clone()));
        let (mut first, mut second) = (feed.listen("a"), feed.listen("b"));
        assert!(hears_nothing(&mut first).await, "alone, everything is told here");
        company.set(1);
        for expected in [1, 3] {
            assert_eq!((first.recv().await, second.recv().await), (Ok(expected), Ok(expected)));
        }
        company.set(0);
        tokio::time::sleep(AFTERWARDS + LOOK * 2).await;
        while let Some(last) = first.recv().now_or_never() {
            last.expect("what was told last");
        }
        assert!(hears_nothing(&mut first).await, "nobody is left to do anything");
        stop.cancel();
        looking.await.expect("stopped");
    }
}
