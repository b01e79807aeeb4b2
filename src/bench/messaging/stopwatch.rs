use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hdrhistogram::Histogram;
use vostro_messaging::{Confirms, Frame, PublishError, Publisher};

use super::events::number_of;
use crate::bench::figures::histogram;

/// When each event was committed, confirmed by the broker, and effected. Who comes first does not matter: everything is
/// put together at the end.
pub struct Stopwatch {
    started: Instant,
    /// Microseconds after the start, by event number; 0 is not yet.
    committed: Vec<AtomicU64>,
    effected: Vec<AtomicU64>,
    confirmed: Mutex<Vec<Confirmed>>,
}

/// A frame.
struct Confirmed {
    /// Its first event.
    number: u64,
    events: u64,
    at: u64,
}

/// Latencies in microseconds.
pub struct Latencies {
    /// From the commit to the broker's confirm; each event of a frame counts as old as the first in it, which is the oldest.
    pub publish: Histogram<u64>,
    /// From the commit to the commit of the effect.
    pub effect: Histogram<u64>,
}

impl Stopwatch {
    /// For events numbered below `events`.
    pub fn new(events: u64) -> Arc<Self> {
        let clocks = || (0..events).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { started: Instant::now(), committed: clocks(), effected: clocks(), confirmed: Mutex::default() })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Call it when the commit has returned.
    pub fn committed(&self, numbers: std::ops::Range<u64>) {
        mark(&self.committed, numbers, self.now());
    }

    /// Call it when the commit has returned.
    pub fn effected(&self, numbers: impl IntoIterator<Item = u64>) {
        mark(&self.effected, numbers, self.now());
    }

    fn confirmed(&self, frames: &[(u64, u64)]) {
        let at = self.now();
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.extend(frames.iter().map(|(number, events)| Confirmed { number: *number, events: *events, at }));
    }

    /// Of the events that were committed after the first `warm_up` since the first commit.
    pub fn latencies(&self, warm_up: Duration) -> Latencies {
        let committed = |number: u64| read(&self.committed, number);
        let first = (0..).map_while(|number| self.committed.get(number)).map(load).find(|at| *at > 0).unwrap_or(0);
        let begin = first + u64::try_from(warm_up.as_micros()).unwrap_or(u64::MAX / 2);
        let (mut publish, mut effect) = (histogram(), histogram());
        for Confirmed { number, events, at } in self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(since) = committed(*number).filter(|since| *since >= begin) {
                publish.saturating_record_n(at.saturating_sub(since), *events);
            }
        }
        for (number, at) in (0..).zip(self.effected.iter().map(load)) {
            if let Some(since) = committed(number).filter(|since| *since >= begin && at > 0) {
                effect.saturating_record(at.saturating_sub(since));
            }
        }
        Latencies { publish, effect }
    }
}

fn load(clock: &AtomicU64) -> u64 {
    clock.load(Ordering::Relaxed)
}

fn read(clocks: &[AtomicU64], number: u64) -> Option<u64> {
    clocks.get(usize::try_from(number).ok()?).map(load).filter(|at| *at > 0)
}

fn mark(clocks: &[AtomicU64], numbers: impl IntoIterator<Item = u64>, at: u64) {
    for clock in numbers.into_iter().filter_map(|number| clocks.get(usize::try_from(number).ok()?)) {
        clock.store(at, Ordering::Relaxed);
    }
}

/// A publisher that notes when frames are confirmed, and how many there were.
pub struct Timed<P> {
    publisher: P,
    stopwatch: Option<Arc<Stopwatch>>,
    sent: Arc<Sent>,
}

/// What has been confirmed.
#[derive(Default)]
pub struct Sent {
    messages: AtomicU64,
    events: AtomicU64,
}

impl Sent {
    pub fn messages(&self) -> u64 {
        load(&self.messages)
    }

    pub fn events(&self) -> u64 {
        load(&self.events)
    }
}

impl<P: Publisher> Timed<P> {
    pub fn new(publisher: P, stopwatch: Option<Arc<Stopwatch>>) -> Self {
        Self { publisher, stopwatch, sent: Arc::default() }
    }

    pub fn sent(&self) -> Arc<Sent> {
        Arc::clone(&self.sent)
    }
}

#[async_trait]
impl<P: Publisher> Publisher for Timed<P> {
    async fn send(&self, frames: Vec<Frame>) -> Result<Confirms, PublishError> {
        let count = |frame: &Frame| u64::try_from(frame.events.len()).unwrap_or(u64::MAX);
        let window: Vec<(u64, u64)> = frames.iter().map(|frame| (number_of(frame.message_id), count(frame))).collect();
        let confirms = self.publisher.send(frames).await?;
        let (stopwatch, sent) = (self.stopwatch.clone(), self.sent());
        Ok(Box::pin(async move {
            let results = confirms.await;
            let confirmed: Vec<(u64, u64)> =
                window.into_iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(frame, _)| frame).collect();
            sent.messages.fetch_add(u64::try_from(confirmed.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
            sent.events.fetch_add(confirmed.iter().map(|(_, events)| events).sum(), Ordering::Relaxed);
            if let Some(stopwatch) = stopwatch {
                stopwatch.confirmed(&confirmed);
            }
            results
        }))
    }

    fn is_reachable(&self) -> bool {
        self.publisher.is_reachable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_from_the_commit_whatever_is_noted_first() {
        let stopwatch = Stopwatch::new(3);
        stopwatch.confirmed(&[(0, 2)]);
        stopwatch.committed(0..2);
        stopwatch.effected([1, 0]);
        let Latencies { publish, effect } = stopwatch.latencies(Duration::ZERO);
        assert_eq!((publish.len(), effect.len()), (2, 2), "each event of a frame counts");
        assert!(publish.max() <= 1, "confirmed before the commit returned: no lag");
    }

    #[test]
    fn events_of_the_warm_up_do_not_count() {
        let stopwatch = Stopwatch::new(1);
        stopwatch.committed(0..1);
        stopwatch.effected([0]);
        assert_eq!(stopwatch.latencies(Duration::from_secs(60)).effect.len(), 0);
    }
}
