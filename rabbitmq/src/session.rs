use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lapin::{Channel, Connection};
use tokio_util::sync::CancellationToken;

/// No call on the client is waited for longer: behind a memory alarm or a cut cable it would never return.
pub(crate) const OPERATION: Duration = Duration::from_secs(10);

/// One connection from its opening to its end. Whoever meets a failure on it ends it, for everybody: channels,
/// delivery tags and confirms of an ended session are worthless, and nobody has to find out what is left of them.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// Counts the connections of one supervisor, from 1.
    pub(crate) epoch: u64,
    over: CancellationToken,
    reason: OnceLock<String>,
    blocked: Mutex<Option<String>>,
    stale: AtomicBool,
}

impl Session {
    pub(crate) fn new(connection: Connection, epoch: u64) -> Self {
        Self {
            connection,
            epoch,
            over: CancellationToken::new(),
            reason: OnceLock::new(),
            blocked: Mutex::default(),
            stale: AtomicBool::new(false),
        }
    }

    /// Declares the connection unusable; the supervisor drops it and makes a new one.
    pub(crate) fn end(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.over.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "the connection is gone".to_owned())
    }

    /// Why the broker lets us publish nothing at the moment (a memory or disk alarm), if so.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_blocked(&self, reason: Option<String>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Gives up what is under way on a connection that the broker may be blocking.
    ///
    /// Making a new connection does not help against an alarm. So a blocked one is kept, and callers are told at once that
    /// nothing is accepted; it is ended as soon as it is unblocked, because what is still in it was given up.
    pub(crate) fn give_up(&self, reason: &str) {
        if self.blocked().is_some() {
            self.stale.store(true, Ordering::Release);
        } else {
            self.end(reason);
        }
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    /// Waits for a call on the client. Any failure ends the session.
    pub(crate) async fn demand<T>(
        &self,
        what: &str,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, String> {
        let reason = match self.attempt(call).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => format!("{what}: {error}"),
            Err(reason) => format!("{what}: {reason}"),
        };
        self.give_up(&reason);
        Err(reason)
    }

    /// Waits for a call on the client; the outer error means that it did not return in time.
    pub(crate) async fn attempt<T>(
        &self,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<lapin::Result<T>, String> {
        tokio::select! {
            biased;
            () = self.over() => Err(self.reason()),
            result = tokio::time::timeout(OPERATION, call) => {
                result.map_err(|_| format!("no answer within {} s", OPERATION.as_secs()))
            }
        }
    }

    pub(crate) async fn open_channel(&self) -> Result<Channel, String> {
        self.demand("opening a channel", self.connection.create_channel()).await
    }
}
