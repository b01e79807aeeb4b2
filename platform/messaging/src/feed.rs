use tokio::sync::broadcast;

/// Live news inside one process, for GraphQL subscriptions and for callers that wait for an outcome. Told after the
/// commit and possibly lost; whoever needs certainty reads the database.
#[derive(Debug, Clone)]
pub struct LiveFeed<T> {
    sender: broadcast::Sender<T>,
}

impl<T: Clone + Send + 'static> LiveFeed<T> {
    /// How far a slow listener may fall behind before it is told that it missed something.
    const CAPACITY: usize = 4096;

    pub fn new() -> Self {
        Self { sender: broadcast::channel(Self::CAPACITY).0 }
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

    /// Listens from now on. A `Lagged` error from the receiver means news were missed: take a snapshot and go on.
    pub fn listen(&self) -> broadcast::Receiver<T> {
        self.sender.subscribe()
    }
}

impl<T: Clone + Send + 'static> Default for LiveFeed<T> {
    fn default() -> Self {
        Self::new()
    }
}
