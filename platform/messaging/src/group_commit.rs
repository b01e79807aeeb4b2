use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanKind;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::trace;

/// Commands that share a commit. A group is whatever has queued while the previous group was being committed, and, when
/// that one had company too, what comes within a moment more: a lone command waits for nobody, and under load a commit is
/// shared by dozens.
///
/// A command whose caller has gone before its group began is left out. From then on it is committed or refused with the
/// others whoever still waits, because a commit cannot be half taken back.
#[derive(Debug)]
pub struct GroupCommit<C, R> {
    queue: mpsc::Sender<Asked<C, R>>,
}

type Asked<C, R> = (C, oneshot::Sender<R>);

/// The worker is gone: the bank is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("shutting down")]
pub struct Closed;

impl<C: Send + 'static, R: Send + 'static> GroupCommit<C, R> {
    /// Starts `workers` tasks that each take up to `most` commands at a time and commit them with `commit`, which answers
    /// in the order it was asked. `linger` is how long a group may be waited for when there is traffic.
    pub fn spawn<F, Fut>(workers: usize, most: usize, linger: Duration, commit: F) -> Self
    where
        F: Fn(Vec<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        let (queue, receiver) = mpsc::channel(most * workers * 4);
        let receiver = Arc::new(Mutex::new(receiver));
        let commit = Arc::new(commit);
        for _ in 0..workers {
            tokio::spawn(work(Arc::clone(&receiver), Arc::clone(&commit), most, linger));
        }
        Self { queue }
    }

    /// Has the command committed with the next group and returns its answer. When the queue is full this waits: the
    /// callers' own deadlines are the back-pressure. A caller that stops waiting does not know whether the command was
    /// committed; only its idempotency key makes it safe to ask again.
    ///
    /// # Errors
    /// [`Closed`] when the group ended without an answer.
    pub async fn submit(&self, command: C) -> Result<R, Closed> {
        let _step = trace::step_here("commit", SpanKind::Internal);
        let (answer, answered) = oneshot::channel();
        self.queue.send((command, answer)).await.map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)
    }
}

async fn work<C, R, F, Fut>(
    receiver: Arc<Mutex<mpsc::Receiver<Asked<C, R>>>>,
    commit: Arc<F>,
    most: usize,
    linger: Duration,
) where
    F: Fn(Vec<C>) -> Fut,
    Fut: Future<Output = Vec<R>>,
{
    let mut traffic = false;
    loop {
        let mut group = Vec::with_capacity(most);
        {
            let mut receiver = receiver.lock().await;
            if receiver.recv_many(&mut group, most).await == 0 {
                return;
            }
            if traffic && group.len() < most && !linger.is_zero() {
                tokio::time::sleep(linger).await;
                while group.len() < most
                    && let Ok(asked) = receiver.try_recv()
                {
                    group.push(asked);
                }
            }
        }
        traffic = group.len() > 1;
        // Nobody would read the answer, and while commits are slow these are what makes them slower.
        group.retain(|(_, answer)| !answer.is_closed());
        if group.is_empty() {
            continue;
        }
        let (commands, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let results = commit(commands).await;
        debug_assert_eq!(results.len(), answers.len(), "one answer per command");
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever asked may have given up waiting meanwhile; the command is committed all the same.
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn commands_that_arrive_during_a_commit_share_the_next_one() {
        let commits = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let group = Arc::new(GroupCommit::spawn(1, 100, Duration::ZERO, {
            let (commits, gate) = (Arc::clone(&commits), Arc::clone(&gate));
            move |commands: Vec<usize>| {
                let (commits, gate) = (Arc::clone(&commits), Arc::clone(&gate));
                async move {
                    commits.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.expect("open").forget();
                    commands.into_iter().map(|command| command * 2).collect()
                }
            }
        }));
        let submit = |command| {
            let group = Arc::clone(&group);
            tokio::spawn(async move { group.submit(command).await })
        };
        let first = submit(1);
        while commits.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let rest = (2..12).map(submit).collect::<Vec<_>>();
        while group.queue.capacity() > group.queue.max_capacity() - rest.len() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.expect("joined"), Ok(2));
        for (submitted, command) in rest.into_iter().zip(2..) {
            assert_eq!(submitted.await.expect("joined"), Ok(command * 2));
        }
        assert_eq!(commits.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_command_whose_caller_has_gone_is_left_out_unless_its_group_has_begun() {
        let (told, mut begun) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let group = Arc::new(GroupCommit::spawn(1, 100, Duration::ZERO, {
            let gate = Arc::clone(&gate);
            move |commands: Vec<usize>| {
                told.send(commands.clone()).expect("somebody listens");
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.expect("open").forget();
                    commands
                }
            }
        }));
        let submit = |command| {
            let group = Arc::clone(&group);
            tokio::spawn(async move { group.submit(command).await })
        };
        let first = submit(1);
        assert_eq!(begun.recv().await, Some(vec![1]));
        let rest = [submit(2), submit(3), submit(4)];
        while group.queue.capacity() > group.queue.max_capacity() - rest.len() {
            tokio::task::yield_now().await;
        }
        let [second, third, fourth] = rest;
        for gone in [first, third] {
            gone.abort();
            assert!(gone.await.expect_err("aborted").is_cancelled());
        }
        gate.add_permits(2);
        assert_eq!(begun.recv().await, Some(vec![2, 4]), "the first was committed, the third was not begun");
        assert_eq!((second.await.expect("joined"), fourth.await.expect("joined")), (Ok(2), Ok(4)));
    }

    /// Commits at once and tells the sizes of the groups.
    fn sizes_of_groups(linger: Duration) -> (GroupCommit<(), usize>, mpsc::UnboundedReceiver<usize>) {
        let (told, sizes) = mpsc::unbounded_channel();
        let group = GroupCommit::spawn(1, 100, linger, move |commands: Vec<()>| {
            told.send(commands.len()).expect("somebody listens");
            async move { commands.iter().map(|()| commands.len()).collect() }
        });
        (group, sizes)
    }

    #[tokio::test(start_paused = true)]
    async fn while_there_is_traffic_a_group_is_waited_for() {
        let (group, mut sizes) = sizes_of_groups(Duration::from_millis(5));
        assert_eq!(futures::join!(group.submit(()), group.submit(())), (Ok(2), Ok(2)));
        let later = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            group.submit(()).await
        };
        assert_eq!(futures::join!(group.submit(()), later), (Ok(2), Ok(2)));
        assert_eq!((sizes.try_recv(), sizes.try_recv()), (Ok(2), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_command_waits_for_nobody() {
        let (group, _sizes) = sizes_of_groups(Duration::from_secs(1));
        let started = tokio::time::Instant::now();
        assert_eq!(group.submit(()).await, Ok(1));
        assert_eq!(group.submit(()).await, Ok(1));
        assert!(started.elapsed() < Duration::from_millis(100));
    }
}
