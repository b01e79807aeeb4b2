use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Fence, What};

/// A lease this instance holds, as far as it knows. Cheap to clone: clones are the same lease.
#[derive(Debug, Clone)]
pub struct Lease {
    what: Arc<What>,
    epoch: i64,
    until: Arc<Mutex<Instant>>,
    wind_down: CancellationToken,
    lost: CancellationToken,
}

impl Lease {
    /// `until` is counted from before the database was asked, so it is no later than what the database counts.
    pub(super) fn new(what: What, epoch: i64, until: Instant) -> Self {
        let (wind_down, lost) = (CancellationToken::new(), CancellationToken::new());
        Self { what: Arc::new(what), epoch, until: Arc::new(Mutex::new(until)), wind_down, lost }
    }

    pub fn what(&self) -> &What {
        &self.what
    }

    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// For the transactions of whoever works under this lease.
    pub fn fence(&self) -> Fence {
        Fence::of(&self.what.to_string(), self.epoch)
    }

    /// Cancelled when it is to be handed over: finish what is begun, begin nothing new.
    pub fn wind_down(&self) -> CancellationToken {
        self.wind_down.clone()
    }

    /// Whether it is this one, not another of the same thing.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.what == other.what
    }

    /// False when it was not renewed in time, whatever the database says: another instance may have it.
    pub fn is_valid(&self) -> bool {
        !self.lost.is_cancelled() && Instant::now() < self.until()
    }

    pub(super) fn extend(&self, until: Instant) {
        let mut present = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *present = until.max(*present);
    }

    /// It is another instance's now.
    pub(super) fn lose(&self) {
        self.wind_down.cancel();
        self.lost.cancel();
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when it is no longer valid.
    async fn ended(&self) {
        while self.is_valid() {
            tokio::select! {
                () = tokio::time::sleep_until(self.until()) => {}
                () = self.lost.cancelled() => {}
            }
        }
    }

    /// Does the work to its end, or drops it when the lease is no longer valid. A process that was stopped and goes on
    /// looks at the clock before it does anything else.
    pub(super) async fn guard(&self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        let guarded =
            std::future::poll_fn(|context| if self.is_valid() { work.as_mut().poll(context) } else { Poll::Ready(()) });
        tokio::select! {
            () = guarded => {}
            () = self.ended() => {}
        }
    }
}
