//! Live news, for GraphQL subscriptions and for callers that wait for an outcome.
//!
//! News are told by topic (an account, a person, …) and reach those who listen to it, so telling costs as much as there are
//! listeners who care. They are told after the commit and possibly lost; whoever needs certainty reads the database, for
//! which they carry the sequence of their aggregate. A listener that falls behind its bounded mailbox is told that it
//! [`Missed`] something, and takes a snapshot.
//!
//! What other instances of the bank commit is not told here. While there are any, one task per feed asks the database what
//! is new about all topics that somebody listens to ([`LiveFeed::look_around`]), and tells it: one question, however many
//! listeners.

mod company;
mod look;
mod mailbox;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use company::Company;
pub use look::Look;
use mailbox::Mailbox;

/// News were missed: take a snapshot and go on. What comes next was told after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("news were missed")]
pub struct Missed;

/// What an update that a stream yields stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateKind {
    /// The state when the stream began.
    Snapshot,
    /// What happened next.
    Change,
    /// The state now, in place of changes that were passed over: the listener was too slow for them, or away for too long.
    Lagged,
}

/// Live news about topics `K` inside one process. Cheap to clone: clones are the same feed.
#[derive(Debug)]
pub struct LiveFeed<K, T> {
    topics: Arc<Topics<K, T>>,
    company: Company,
}

impl<K, T> Clone for LiveFeed<K, T> {
    fn clone(&self) -> Self {
        Self { topics: Arc::clone(&self.topics), company: self.company.clone() }
    }
}

/// Those who listen to one topic, by a number of their own.
type Mailboxes<T> = BTreeMap<u64, Arc<Mailbox<T>>>;

/// Listeners by what they listen to.
#[derive(Debug)]
struct Topics<K, T> {
    listeners: Mutex<HashMap<K, Mailboxes<T>>>,
    /// How many there are, so that whoever tells need not lock to learn that nobody listens.
    count: AtomicUsize,
    next: AtomicU64,
}

impl<K, T> Topics<K, T> {
    /// Held for the moment of telling, never across an await.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Mailboxes<T>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, T: Clone> LiveFeed<K, T> {
    /// `company` is the [`crate::Foundation`]'s: what other instances commit is told there.
    pub fn new(company: Company) -> Self {
        let topics = Topics { listeners: Mutex::default(), count: AtomicUsize::new(0), next: AtomicU64::new(0) };
        Self { topics: Arc::new(topics), company }
    }

    /// Tells everybody who listens to the topic just now.
    pub fn tell(&self, topic: &K, news: T) {
        self.tell_all([(topic.clone(), news)]);
    }

    /// Tells several things, in this order.
    pub fn tell_all(&self, news: impl IntoIterator<Item = (K, T)>) {
        if !self.has_listeners() {
            return;
        }
        let listeners = self.topics.lock();
        for (topic, news) in news {
            for mailbox in listeners.get(&topic).into_iter().flat_map(BTreeMap::values) {
                mailbox.put(news.clone());
            }
        }
    }

    /// Has those who listen to the topic look for themselves.
    pub fn miss(&self, topic: &K) {
        self.topics.lock().get(topic).into_iter().flat_map(BTreeMap::values).for_each(|mailbox| mailbox.miss());
    }

    /// Whether anybody listens; lets the teller skip preparing what nobody would hear.
    pub fn has_listeners(&self) -> bool {
        self.topics.count.load(Ordering::Acquire) > 0
    }

    /// What is listened to.
    pub fn topics(&self) -> Vec<K> {
        self.topics.lock().keys().cloned().collect()
    }

    /// Listens to the topic from now on.
    pub fn listen(&self, topic: K) -> Listener<K, T> {
        let mailbox = Arc::new(Mailbox::default());
        let number = self.topics.next.fetch_add(1, Ordering::Relaxed);
        let mut listeners = self.topics.lock();
        listeners.entry(topic.clone()).or_default().insert(number, Arc::clone(&mailbox));
        self.topics.count.fetch_add(1, Ordering::AcqRel);
        drop(listeners);
        Listener { topics: Arc::clone(&self.topics), topic, number, mailbox }
    }
}

/// Hears the news about one topic, as long as it lives.
#[derive(Debug)]
pub struct Listener<K: Eq + Hash, T> {
    topics: Arc<Topics<K, T>>,
    topic: K,
    number: u64,
    mailbox: Arc<Mailbox<T>>,
}

impl<K: Eq + Hash, T> Listener<K, T> {
    /// The next news. Nothing is lost when this is dropped before it completes.
    ///
    /// # Errors
    /// [`Missed`].
    pub async fn recv(&mut self) -> Result<T, Missed> {
        self.mailbox.take().await
    }
}

impl<K: Eq + Hash, T> Drop for Listener<K, T> {
    fn drop(&mut self) {
        let mut listeners = self.topics.lock();
        if let Some(of_topic) = listeners.get_mut(&self.topic) {
            of_topic.remove(&self.number);
            if of_topic.is_empty() {
                listeners.remove(&self.topic);
            }
        }
        self.topics.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::mailbox::CAPACITY;
    use super::*;

    #[tokio::test]
    async fn news_reach_those_who_listen_to_their_topic_in_order() {
        let feed = LiveFeed::new(Company::default());
        feed.tell(&"a", 0);
        let (mut first, mut second, mut other) = (feed.listen("a"), feed.listen("a"), feed.listen("b"));
        feed.tell_all([("a", 1), ("b", 2), ("a", 3), ("c", 4)]);
        for listener in [&mut first, &mut second] {
            assert_eq!((listener.recv().await, listener.recv().await), (Ok(1), Ok(3)));
            assert!(listener.recv().now_or_never().is_none());
        }
        assert_eq!(other.recv().await, Ok(2));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let feed = LiveFeed::new(Company::default());
        let mut listener = feed.listen(1);
        let waiting = tokio::spawn(async move { listener.recv().await });
        tokio::task::yield_now().await;
        feed.tell(&1, "news");
        assert_eq!(waiting.await.expect("joined"), Ok("news"));
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_once_that_it_missed_news_and_gets_what_comes_after_that() {
        let feed = LiveFeed::new(Company::default());
        let (mut slow, mut quick) = (feed.listen(()), feed.listen(()));
        for number in 0..=CAPACITY {
            feed.tell(&(), number);
            assert_eq!(quick.recv().await, Ok(number));
        }
        assert_eq!(slow.recv().await, Err(Missed));
        assert!(slow.recv().now_or_never().is_none(), "what it missed is not told any more");
        feed.tell(&(), 7);
        assert_eq!(slow.recv().await, Ok(7));
        feed.tell(&(), 8);
        feed.miss(&());
        feed.miss(&());
        assert_eq!((slow.recv().await, slow.recv().now_or_never()), (Err(Missed), None));
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_listener_that_has_gone() {
        let feed = LiveFeed::<_, ()>::new(Company::default());
        let (first, second, other) = (feed.listen(1), feed.listen(1), feed.listen(2));
        drop((first, other));
        assert_eq!((feed.topics(), feed.has_listeners()), (vec![1], true));
        drop(second);
        assert_eq!((feed.topics(), feed.has_listeners()), (Vec::new(), false));
    }
}
