use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Keeps the relays from publishing while the broker lacks a queue or a binding: it would confirm what reaches only some of
/// those it is for, and the outbox would forget it. Cheap to clone; clones are the same hold.
#[derive(Debug, Clone)]
pub struct PublishingHold {
    is_set: watch::Sender<bool>,
}

impl Default for PublishingHold {
    /// Nothing is kept.
    fn default() -> Self {
        Self { is_set: watch::Sender::new(false) }
    }
}

impl PublishingHold {
    /// From now on events stay in the outbox, or are published again. Says whether that is a change.
    pub fn set(&self, hold: bool) -> bool {
        self.is_set.send_replace(hold) != hold
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.is_set.borrow()
    }

    /// Whether publishing may go on; waits for it, unless `stop` comes first.
    pub(crate) async fn lifted(&self, stop: &CancellationToken) -> bool {
        let mut is_set = self.is_set.subscribe();
        tokio::select! {
            biased;
            // The sender is this value itself, so that the channel cannot be closed while somebody waits.
            _ = is_set.wait_for(|is_set| !is_set) => true,
            () = stop.cancelled() => false,
        }
    }
}
