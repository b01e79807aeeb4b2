use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use vostro_messaging::{Broker, Deliveries, Delivery, InboundMessage, Incoming, TransportError};

/// One queue with one consumer at a time, in memory: enough of a broker to run a [`vostro_messaging::Consumer`] on.
///
/// Like the real one it gives messages in order, keeps them until they are acknowledged, and gives them again, in their
/// old places and counted, when a consumer goes without acknowledging. What is rejected can be read with
/// [`Self::rejected`]. Cheap to clone: clones are the same queue.
#[derive(Clone, Default)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Waiting>,
    unacknowledged: BTreeMap<u64, Waiting>,
    rejected: Vec<InboundMessage>,
    last_tag: u64,
    /// Counts consumers; what an earlier one says no longer counts.
    consumer: u64,
}

#[derive(Clone)]
struct Waiting {
    delivery_count: u64,
    message: InboundMessage,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event into the queue, as a message of its own.
    pub fn publish(&self, event: &Incoming) {
        self.publish_returned(event, 0);
    }

    /// The same as if so many consumers had had it and gone without acknowledging it.
    pub fn publish_returned(&self, event: &Incoming, delivery_count: u64) {
        let body = vostro_events::write_structured(&event.envelope, &event.data);
        let message =
            InboundMessage { content_type: "application/cloudevents+json".to_owned(), headers: BTreeMap::new(), body };
        self.push(Waiting { delivery_count, message });
    }

    /// Puts anything into the queue.
    pub fn publish_message(&self, message: InboundMessage) {
        self.push(Waiting { delivery_count: 0, message });
    }

    fn push(&self, waiting: Waiting) {
        self.state().ready.push_back(waiting);
        self.changed.notify_waiters();
    }

    /// Messages that are not settled: waiting, or with a consumer.
    pub fn unsettled(&self) -> usize {
        let state = self.state();
        state.ready.len() + state.unacknowledged.len()
    }

    /// What went to the dead-letter queue.
    pub fn rejected(&self) -> Vec<InboundMessage> {
        self.state().rejected.clone()
    }

    /// Waits until every message is settled.
    pub async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.unsettled() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Breaks the connection: the consumer gets nothing more, and what it has not acknowledged comes again.
    pub fn cut(&self) {
        self.state().hand_over();
        self.changed.notify_waiters();
    }
}

impl State {
    /// Ends the present consumer and puts back what it held.
    fn hand_over(&mut self) -> u64 {
        self.consumer += 1;
        for (_, mut waiting) in std::mem::take(&mut self.unacknowledged).into_iter().rev() {
            waiting.delivery_count += 1;
            self.ready.push_front(waiting);
        }
        self.consumer
    }
}

#[async_trait]
impl Broker for Queue {
    async fn consume(&self, _queue: &str, _prefetch: u16) -> Result<Box<dyn Deliveries>, TransportError> {
        let consumer = self.state().hand_over();
        Ok(Box::new(Consuming { queue: self.clone(), consumer }))
    }
}

struct Consuming {
    queue: Queue,
    consumer: u64,
}

impl Consuming {
    fn settle(&self, change: impl FnOnce(&mut State)) -> Result<(), TransportError> {
        let mut state = self.queue.state();
        if state.consumer != self.consumer {
            return Err(TransportError("the connection is gone".to_owned()));
        }
        change(&mut state);
        drop(state);
        self.queue.changed.notify_waiters();
        Ok(())
    }
}

#[async_trait]
impl Deliveries for Consuming {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let queue = self.queue.clone();
            let changed = queue.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(delivery) = self.next_ready() {
                return Some(delivery);
            }
            if queue.state().consumer != self.consumer {
                return None;
            }
            changed.await;
        }
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        let mut state = self.queue.state();
        if state.consumer != self.consumer {
            return None;
        }
        let waiting = state.ready.pop_front()?;
        state.last_tag += 1;
        let tag = state.last_tag;
        state.unacknowledged.insert(tag, waiting.clone());
        Some(Delivery { tag, delivery_count: waiting.delivery_count, message: waiting.message })
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), TransportError> {
        self.settle(|state| state.unacknowledged = state.unacknowledged.split_off(&(tag + 1)))
    }

    async fn reject(&mut self, tag: u64) -> Result<(), TransportError> {
        self.settle(|state| {
            if let Some(waiting) = state.unacknowledged.remove(&tag) {
                state.rejected.push(waiting.message);
            }
        })
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if state.consumer == self.consumer {
            state.hand_over();
        }
        drop(state);
        self.queue.changed.notify_waiters();
    }
}
