//! What became of published messages: confirms, refusals and returns, attributed to the right message.
//!
//! A message that no queue takes comes back (`basic.return`) before it is confirmed. lapin hands the oldest waiting
//! return to *whichever* confirm completes next, and a confirm of many at once completes them in no order, so with
//! pipelined publishing the return often sits in the confirm of another message. The message id in the return tells whose
//! it is. What remains is to know when all returns are in:
//!
//! - Every message returned so far has its own confirm still to come, or its return has been handed out. So when a
//!   message is confirmed, and no confirm that has completed up to then carried any return, that message was not returned.
//!   This is the ordinary case: look at all completed confirms, see no return, answer.
//! - Otherwise returns may still be on their way inside lapin, but not once every confirm has completed. So nothing is
//!   answered and nothing new is taken in until all windows are complete; then every return is there.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lapin::Confirmation;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;
use vostro_messaging::PublishError;

/// The broker answers within milliseconds when it is well; after this nobody knows what became of the message.
const DEADLINE: Duration = Duration::from_secs(10);
/// Windows that wait for confirms at a time; those who send more have to wait.
const MOST_OPEN: usize = 16;

/// The broker's answer to one message, with the return that came along, which may be another message's.
pub(crate) enum Verdict {
    Confirmed(Option<Returned>),
    Refused(Option<Returned>),
    Lost(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) message_id: Option<Uuid>,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

/// A lapin confirmation in our terms.
pub(crate) fn verdict(confirmation: lapin::Result<Confirmation>) -> Verdict {
    match confirmation {
        Ok(Confirmation::Ack(message)) => Verdict::Confirmed(message.map(returned)),
        Ok(Confirmation::Nack(message)) => Verdict::Refused(message.map(returned)),
        Ok(Confirmation::NotRequested) => Verdict::Lost("the channel confirms nothing".to_owned()),
        Err(error) => Verdict::Lost(error.to_string()),
    }
}

fn returned(message: lapin::message::BasicReturnMessage) -> Returned {
    let id = message.delivery.properties.message_id().as_ref();
    Returned {
        message_id: id.and_then(|id| id.as_str().parse().ok()),
        exchange: message.delivery.exchange.to_string(),
        routing_key: message.delivery.routing_key.to_string(),
    }
}

/// The messages of one `send`, in order. `C` publishes one of them and waits for the broker's answer.
pub(crate) struct Window<C> {
    messages: Vec<(Uuid, State<C>)>,
    /// Every message before this one has its answer.
    settled: usize,
    deadline: Instant,
    answer: oneshot::Sender<Vec<Result<(), PublishError>>>,
}

enum State<C> {
    Waiting(C),
    Confirmed,
    Refused,
    Lost(String),
}

impl<C: Future<Output = Verdict> + Unpin> Window<C> {
    pub(crate) fn new(messages: Vec<(Uuid, C)>, answer: oneshot::Sender<Vec<Result<(), PublishError>>>) -> Self {
        let messages = messages.into_iter().map(|(id, confirm)| (id, State::Waiting(confirm))).collect();
        Self { messages, settled: 0, deadline: Instant::now() + DEADLINE, answer }
    }

    /// Hands every message to the connection, in order: lapin queues a message when its future is polled for the first
    /// time. Awaiting one after the other would cost two thread switches per message.
    ///
    /// This is done by the task that waits for the confirms, so that no confirm can complete without its knowing.
    fn publish(&mut self, returns: &mut Vec<Returned>) {
        self.deadline = Instant::now() + DEADLINE;
        self.sweep(returns);
    }

    fn is_settled(&self) -> bool {
        self.settled == self.messages.len()
    }

    /// Waits until every message has its answer. Nothing is lost when the wait is abandoned.
    async fn settle(&mut self, returns: &mut Vec<Returned>) {
        while let Some((_, state)) = self.messages.get_mut(self.settled) {
            if let State::Waiting(confirm) = state {
                let verdict = confirm.await;
                state.settle(verdict, returns);
            }
            self.settled += 1;
        }
    }

    /// Takes in what has been answered already, without waiting.
    fn sweep(&mut self, returns: &mut Vec<Returned>) {
        let mut context = Context::from_waker(Waker::noop());
        for (_, state) in self.messages.iter_mut().skip(self.settled) {
            if let State::Waiting(confirm) = state
                && let Poll::Ready(verdict) = Pin::new(confirm).poll(&mut context)
            {
                state.settle(verdict, returns);
            }
        }
    }

    /// The failure of the first message that was lost with the connection, if any.
    fn failure(&self) -> Option<&str> {
        self.messages.iter().find_map(|(_, state)| match state {
            State::Lost(reason) => Some(reason.as_str()),
            _ => None,
        })
    }

    /// `doubt`: the reason why what has not been answered, and what may have been returned, stays unknown.
    fn answer(self, returns: &HashMap<Uuid, Returned>, doubt: Option<&str>) {
        let in_doubt = doubt.filter(|_| !returns.is_empty());
        let unavailable = |reason: &str| Err(PublishError::Unavailable(reason.to_owned()));
        let results = self.messages.into_iter().map(|(id, state)| match (returns.get(&id), state) {
            (Some(returned), _) => Err(PublishError::Unroutable {
                exchange: returned.exchange.clone(),
                routing_key: returned.routing_key.clone(),
            }),
            (None, State::Confirmed) => in_doubt.map_or(Ok(()), unavailable),
            (None, State::Refused) => Err(PublishError::Refused),
            (None, State::Lost(reason)) => unavailable(&reason),
            (None, State::Waiting(_)) => unavailable(doubt.unwrap_or("no confirm")),
        });
        // Nobody listens any more when the relay has given up the window; its rows are still in the outbox.
        let _ = self.answer.send(results.collect());
    }
}

impl<C> State<C> {
    fn settle(&mut self, verdict: Verdict, returns: &mut Vec<Returned>) {
        let (state, returned) = match verdict {
            Verdict::Confirmed(returned) => (State::Confirmed, returned),
            Verdict::Refused(returned) => (State::Refused, returned),
            Verdict::Lost(reason) => (State::Lost(reason), None),
        };
        *self = state;
        returns.extend(returned);
    }
}

/// Publishes the windows of one channel and answers them in the same order, until the publisher drops the channel or it
/// fails. Returns the reason of the failure: the connection is then to be given up.
pub(crate) async fn collect<C: Future<Output = Verdict> + Unpin>(
    mut windows: mpsc::Receiver<Window<C>>,
) -> Option<String> {
    let mut open: VecDeque<Window<C>> = VecDeque::new();
    let mut returns: Vec<Returned> = Vec::new();
    let mut sending = true;
    let failure = loop {
        let next = open.iter().position(|window| !window.is_settled());
        let deadline = next.map(|next| open[next].deadline);
        tokio::select! {
            biased;
            window = windows.recv(), if sending && returns.is_empty() && open.len() < MOST_OPEN => match window {
                Some(mut window) => {
                    window.publish(&mut returns);
                    open.push_back(window);
                }
                None => sending = false,
            },
            Some(()) = settle(&mut open, next, &mut returns) => {
                if let Some(reason) = next.and_then(|next| open[next].failure()) {
                    break reason.to_owned();
                }
                open.iter_mut().for_each(|window| window.sweep(&mut returns));
                if returns.is_empty() || open.iter().all(Window::is_settled) {
                    let by_message = by_message(std::mem::take(&mut returns));
                    while open.front().is_some_and(Window::is_settled) {
                        open.pop_front().expect("there is a front").answer(&by_message, None);
                    }
                }
            }
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                break format!("no confirm within {} s", DEADLINE.as_secs());
            }
            else => return None,
        }
    };
    open.iter_mut().for_each(|window| window.sweep(&mut returns));
    let returns = by_message(returns);
    open.into_iter().for_each(|window| window.answer(&returns, Some(&failure)));
    Some(failure)
}

async fn settle<C: Future<Output = Verdict> + Unpin>(
    open: &mut VecDeque<Window<C>>,
    next: Option<usize>,
    returns: &mut Vec<Returned>,
) -> Option<()> {
    open.get_mut(next?)?.settle(returns).await;
    Some(())
}

fn by_message(returns: Vec<Returned>) -> HashMap<Uuid, Returned> {
    returns.into_iter().filter_map(|returned| Some((returned.message_id?, returned))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Vec<Result<(), PublishError>>>;

    /// A confirm the test completes when it wants.
    struct Pending(oneshot::Receiver<Verdict>);

    impl Future for Pending {
        type Output = Verdict;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
            Pin::new(&mut self.0).poll(context).map(|verdict| verdict.unwrap_or_else(|_| Verdict::Lost("cut".into())))
        }
    }

    struct Bench {
        windows: mpsc::Sender<Window<Pending>>,
        collector: tokio::task::JoinHandle<Option<String>>,
    }

    fn bench() -> Bench {
        let (windows, receiver) = mpsc::channel(8);
        Bench { windows, collector: tokio::spawn(collect(receiver)) }
    }

    impl Bench {
        /// Sends a window and waits until its messages are published: before that the broker has no answer to them.
        async fn send(&self, ids: &[u128]) -> (Vec<oneshot::Sender<Verdict>>, Answer) {
            let (answer, answered) = oneshot::channel();
            let (resolvers, messages) = ids
                .iter()
                .map(|id| {
                    let (resolver, verdict) = oneshot::channel();
                    (resolver, (Uuid::from_u128(*id), Pending(verdict)))
                })
                .unzip();
            assert!(self.windows.try_send(Window::new(messages, answer)).is_ok(), "collecting");
            until_idle().await;
            (resolvers, answered)
        }
    }

    fn resolve(resolver: oneshot::Sender<Verdict>, verdict: Verdict) {
        resolver.send(verdict).ok().expect("awaited");
    }

    fn confirmed(resolver: oneshot::Sender<Verdict>) {
        resolve(resolver, Verdict::Confirmed(None));
    }

    fn with_return_of(resolver: oneshot::Sender<Verdict>, id: u128) {
        resolve(resolver, Verdict::Confirmed(Some(return_of(id))));
    }

    fn return_of(id: u128) -> Returned {
        Returned { message_id: Some(Uuid::from_u128(id)), exchange: "ev.a".into(), routing_key: format!("k{id}") }
    }

    fn unroutable(id: u128) -> Result<(), PublishError> {
        Err(PublishError::Unroutable { exchange: "ev.a".into(), routing_key: format!("k{id}") })
    }

    async fn until_idle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn windows_are_answered_in_order_whatever_the_order_of_confirms() {
        let bench = bench();
        let (first, mut first_answer) = bench.send(&[1, 2]).await;
        let (second, second_answer) = bench.send(&[3]).await;
        second.into_iter().for_each(confirmed);
        until_idle().await;
        assert!(first_answer.try_recv().is_err());
        first.into_iter().rev().for_each(confirmed);
        assert_eq!(first_answer.await, Ok(vec![Ok(()), Ok(())]));
        assert_eq!(second_answer.await, Ok(vec![Ok(())]));
        drop(bench.windows);
        assert_eq!(bench.collector.await.expect("no panic"), None);
    }

    #[tokio::test]
    async fn a_refusal_is_told_for_its_message_alone() {
        let bench = bench();
        let (mut confirms, answer) = bench.send(&[1, 2]).await;
        confirmed(confirms.remove(0));
        resolve(confirms.remove(0), Verdict::Refused(None));
        assert_eq!(answer.await, Ok(vec![Ok(()), Err(PublishError::Refused)]));
    }

    #[tokio::test]
    async fn a_return_in_another_messages_confirm_is_attributed_by_its_id() {
        let bench = bench();
        let (mut confirms, answer) = bench.send(&[1, 2, 3]).await;
        with_return_of(confirms.remove(2), 1);
        confirmed(confirms.remove(0));
        confirmed(confirms.remove(0));
        assert_eq!(answer.await, Ok(vec![unroutable(1), Ok(()), Ok(())]));
    }

    #[tokio::test]
    async fn a_return_in_a_later_windows_confirm_reaches_the_earlier_window() {
        let bench = bench();
        let (mut first, mut first_answer) = bench.send(&[1]).await;
        let (mut second, second_answer) = bench.send(&[2, 3]).await;
        with_return_of(second.remove(0), 1);
        confirmed(first.remove(0));
        until_idle().await;
        assert!(first_answer.try_recv().is_err(), "returns may still be under way");
        confirmed(second.remove(0));
        assert_eq!(first_answer.await, Ok(vec![unroutable(1)]));
        assert_eq!(second_answer.await, Ok(vec![Ok(()), Ok(())]));
    }

    #[tokio::test]
    async fn swapped_returns_of_two_windows_find_their_messages() {
        let bench = bench();
        let (mut first, first_answer) = bench.send(&[1]).await;
        let (mut second, second_answer) = bench.send(&[2]).await;
        with_return_of(first.remove(0), 2);
        until_idle().await;
        with_return_of(second.remove(0), 1);
        assert_eq!(first_answer.await, Ok(vec![unroutable(1)]));
        assert_eq!(second_answer.await, Ok(vec![unroutable(2)]));
        let (mut third, third_answer) = bench.send(&[3]).await;
        confirmed(third.remove(0));
        assert_eq!(third_answer.await, Ok(vec![Ok(())]), "new windows are taken in again afterwards");
    }

    #[tokio::test]
    async fn no_more_than_a_bounded_number_of_windows_is_under_way() {
        let bench = bench();
        let mut sent = Vec::new();
        for _ in 0..MOST_OPEN {
            sent.push(bench.send(&[1]).await);
        }
        let (_waiting, _answer) = bench.send(&[99]).await;
        assert_eq!(bench.windows.capacity(), bench.windows.max_capacity() - 1, "one window waits to be taken");
        let (mut first, answer) = sent.remove(0);
        confirmed(first.remove(0));
        assert_eq!(answer.await, Ok(vec![Ok(())]));
        until_idle().await;
        assert_eq!(bench.windows.capacity(), bench.windows.max_capacity());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_confirm_in_time_the_channel_fails_and_what_was_confirmed_stays_confirmed() {
        let bench = bench();
        let (mut confirms, answer) = bench.send(&[1, 2]).await;
        let (_later, later_answer) = bench.send(&[3]).await;
        confirmed(confirms.remove(0));
        let unavailable = || Err(PublishError::Unavailable("no confirm within 10 s".into()));
        assert_eq!(answer.await, Ok(vec![Ok(()), unavailable()]));
        assert_eq!(later_answer.await, Ok(vec![unavailable()]));
        assert_eq!(bench.collector.await.expect("no panic").as_deref(), Some("no confirm within 10 s"));
    }

    #[tokio::test]
    async fn when_the_connection_is_lost_amid_returns_no_confirm_is_trusted() {
        let bench = bench();
        let (mut confirms, answer) = bench.send(&[1, 2, 3]).await;
        with_return_of(confirms.remove(0), 3);
        confirmed(confirms.remove(0));
        drop(confirms);
        let unavailable = || Err(PublishError::Unavailable("cut".into()));
        assert_eq!(answer.await, Ok(vec![unavailable(), unavailable(), unroutable(3)]));
        assert_eq!(bench.collector.await.expect("no panic").as_deref(), Some("cut"));
    }
}
