use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::seal::SealKeys;

/// Far above what a healthy Redis needs, and far below what a reader notices: whoever has waited in vain asks the database.
const TO_READ: Duration = Duration::from_millis(10);
/// Nobody waits for these.
const TO_WRITE: Duration = Duration::from_millis(500);
const TO_CONNECT: Duration = Duration::from_secs(1);
/// How many writes may be under way at once; what comes on top is not written.
const WRITES: usize = 4;
/// After so many failures one after another nobody is asked…
const FAILURES: u32 = 5;
/// …for so long.
const PAUSE: Duration = Duration::from_secs(2);

/// A Redis in which the instances of the bank share what is settled. Values are sealed, each with a key of its own that
/// follows from a secret of the bank, so that who reads or changes them there learns nothing and has nothing believed.
///
/// It may be away, slow or emptied at any time: then the database is read. Cheap to clone: clones are the same. Nothing is
/// connected before the first use.
#[derive(Clone)]
pub struct SharedStore {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    keys: SealKeys,
    life: Duration,
    line: Mutex<Line>,
    writes: Arc<Semaphore>,
}

/// The connection, which all share.
enum Line {
    Open { connection: MultiplexedConnection, failures: u32 },
    Opening,
    Closed { until: Instant, was_said: bool },
}

/// The text is no address of a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address such as rediss://user:password@host:6379/0")]
pub struct UnknownAddress;

impl std::fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedStore")
    }
}

impl SharedStore {
    /// What is at `url` (`redis://`, `rediss://` with TLS, or `redis+unix://`). Values are sealed with keys derived from
    /// `secret`, which has to be that of the other instances, and expire after `life`, in whole seconds.
    ///
    /// # Errors
    /// [`UnknownAddress`], which does not repeat the text: there may be a password in it.
    pub fn new(url: &str, secret: &str, life: Duration) -> Result<Self, UnknownAddress> {
        let inner = Inner {
            client: Client::open(url).map_err(|_| UnknownAddress)?,
            keys: SealKeys::derive(secret),
            life,
            line: Mutex::new(Line::Closed { until: Instant::now(), was_said: false }),
            writes: Arc::new(Semaphore::new(WRITES)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(super) fn keys(&self) -> &SealKeys {
        &self.inner.keys
    }

    /// What is kept under each of these names; `None` when nobody answers in time.
    pub(super) async fn get(&self, names: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
        let mut connection = self.connection()?;
        let answer = timeout(TO_READ, redis::cmd("MGET").arg(names).query_async(&mut connection)).await;
        self.heard(answer)
    }

    /// Leave to write, unless too many do already.
    pub(super) fn leave_to_write(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.writes).try_acquire_owned().ok()
    }

    /// Keeps values by name, in place of what is there: that is the same, or nobody could read it. `None` when it is
    /// not known to have worked.
    pub(super) async fn put(&self, entries: &[(String, Vec<u8>)]) -> Option<()> {
        let mut connection = self.connection()?;
        let mut puts = redis::pipe();
        for (name, value) in entries {
            puts.cmd("SET").arg(name).arg(value).arg("EX").arg(self.inner.life.as_secs()).ignore();
        }
        self.heard(timeout(TO_WRITE, puts.exec_async(&mut connection)).await)
    }

    /// The connection, if there is one. Otherwise one is made, unless that has just failed; nobody waits for it.
    pub(super) fn connection(&self) -> Option<MultiplexedConnection> {
        let mut line = self.line();
        match &*line {
            Line::Open { connection, .. } => return Some(connection.clone()),
            Line::Closed { until, was_said } if Instant::now() >= *until => {
                tokio::spawn(self.clone().connect(*was_said));
                *line = Line::Opening;
            }
            Line::Opening | Line::Closed { .. } => {}
        }
        None
    }

    async fn connect(self, was_said: bool) {
        // How long answers are waited for is said with each question.
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(TO_CONNECT)).set_response_timeout(None);
        let connection = self.inner.client.get_multiplexed_async_connection_with_config(&config).await;
        *self.line() = match connection {
            Ok(connection) => {
                info!("connected to the Redis of the cache");
                Line::Open { connection, failures: 0 }
            }
            Err(error) => {
                if !was_said {
                    warn!(%error, "the Redis of the cache cannot be reached; what it could know is read from the database");
                }
                Line::Closed { until: Instant::now() + PAUSE, was_said: true }
            }
        };
    }

    /// Draws the conclusions from how a question ended.
    fn heard<T>(&self, answer: Result<RedisResult<T>, Elapsed>) -> Option<T> {
        let error = match answer {
            Ok(Ok(answer)) => {
                if let Line::Open { failures, .. } = &mut *self.line() {
                    *failures = 0;
                }
                return Some(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        let mut line = self.line();
        if let Line::Open { failures, .. } = &mut *line {
            *failures += 1;
            if *failures >= FAILURES {
                warn!(error, "the Redis of the cache fails; what it could know is read from the database for a while");
                *line = Line::Closed { until: Instant::now() + PAUSE, was_said: true };
            }
        }
        None
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.inner.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use vostro_testkit::{Redis, eventually};

    use super::*;

    #[tokio::test]
    async fn a_redis_that_fails_again_and_again_is_passed_over_for_a_while() {
        let redis = Redis::start().await;
        let store = SharedStore::new(&redis.url(), "a secret", Duration::from_secs(60)).expect("an address");
        let names = ["a name".to_owned()];
        eventually("it answers", || async { store.get(&names).await }).await;
        redis.hang();
        for _ in 0..FAILURES {
            assert_eq!(store.get(&names).await, None);
        }
        assert!(store.connection().is_none(), "nobody asks it");
        redis.go_on();
        eventually("it is asked again", || async { store.get(&names).await }).await;
    }

    #[tokio::test]
    async fn no_more_is_written_at_once_than_there_are_places() {
        let redis = Redis::start().await;
        let store = SharedStore::new(&redis.url(), "a secret", Duration::from_secs(60)).expect("an address");
        let mut leaves: Vec<_> = (0..WRITES).map(|_| store.leave_to_write()).collect();
        assert!(leaves.iter().all(Option::is_some) && store.leave_to_write().is_none());
        leaves.pop();
        assert!(store.leave_to_write().is_some());
    }

    #[tokio::test]
    async fn a_server_that_knows_no_tls_is_one_that_cannot_be_reached() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("rediss://{}", server.local_addr().expect("bound"));
        let store = SharedStore::new(&url, "a secret", Duration::from_secs(60)).expect("an address");
        assert!(store.connection().is_none(), "it begins to connect");
        let (mut client, _) = server.accept().await.expect("a connection");
        let hello = client.read_u8().await.expect("a handshake");
        assert_eq!(hello, 22, "of TLS");
        drop(client);
        let is_closed = || async { matches!(*store.line(), Line::Closed { .. }).then_some(()) };
        eventually("it is given up for a while", is_closed).await;
    }

    #[test]
    fn a_wrong_address_is_refused_without_being_repeated() {
        for url in ["", "cache", "http://cache.example.org", "redis://user:secret@"] {
            let error = SharedStore::new(url, "a secret", Duration::from_secs(60)).expect_err("refused");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
