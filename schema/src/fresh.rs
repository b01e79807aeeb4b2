//! Reads that are not to be older than what the client knows already (`minVersion`).

use std::time::Duration;

use async_graphql::Result;
use tokio::time::Instant;

use crate::faults::{FaultCode, fault};

/// How long a reader waits for what it knows to exist.
const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(10);

/// What `known` is, when it is new enough, or else what `read` finds in the database, asked again for up to a second.
/// `None`, for what does not exist or is not the caller's, is an answer and not waited for.
///
/// # Errors
/// `STALE_READ` when it is still too old then; those of `read`.
pub async fn at_least<T, F: Future<Output = Result<Option<T>>>>(
    known: Option<T>,
    is_new_enough: impl Fn(&T) -> bool,
    read: impl Fn() -> F,
) -> Result<Option<T>> {
    let (mut found, mut pause, deadline) = (known, PAUSE, Instant::now() + PATIENCE);
    if found.as_ref().is_none_or(&is_new_enough) {
        return Ok(found);
    }
    loop {
        found = read().await?;
        if found.as_ref().is_none_or(&is_new_enough) {
            return Ok(found);
        }
        if Instant::now() + pause > deadline {
            return Err(fault(
                FaultCode::StaleRead,
                "It has not reached the version you asked for yet; ask again later.",
            ));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks for version 3 of something that grows by one with each look at the database, up to `last`.
    async fn ask(known: Option<u32>, last: u32) -> (Result<Option<u32>>, u32) {
        let (version, looks) = (Cell::new(known.unwrap_or_default()), Cell::new(0));
        let read = || async {
            looks.set(looks.get() + 1);
            version.set((version.get() + 1).min(last));
            Ok(known.map(|_| version.get()))
        };
        let found = at_least(known, |version| *version >= 3, read).await;
        (found, looks.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_new_enough_is_not_read_again() {
        let (found, looks) = ask(Some(3), 9).await;
        assert_eq!((found.expect("found"), looks), (Some(3), 0));
        let (found, looks) = ask(None, 9).await;
        assert_eq!((found.expect("absent"), looks), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_old_is_waited_for() {
        let (found, looks) = ask(Some(1), 9).await;
        assert_eq!((found.expect("found"), looks), (Some(3), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_has_an_end_that_says_to_repeat() {
        let began = Instant::now();
        let (found, looks) = ask(Some(1), 2).await;
        let error = found.expect_err("stale");
        let extensions = error.extensions.expect("a fault");
        assert_eq!(extensions.get("code"), Some(&"STALE_READ".into()));
        assert_eq!(extensions.get("retryable"), Some(&true.into()));
        assert!(began.elapsed() <= PATIENCE && looks < 10, "{looks} in {:?}", began.elapsed());
    }
}
