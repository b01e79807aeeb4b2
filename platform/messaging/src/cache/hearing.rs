use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::{Entity, EntityCache};

/// How often an instance says that it is there, and so learns that it hears.
const BEAT: Duration = Duration::from_millis(500);
/// How long others have to learn that there is one more who wants to be told.
const INTRODUCTION: Duration = Duration::from_secs(1);
/// Whoever has not heard itself for so long hears nobody.
const DEAF: Duration = Duration::from_secs(3);
/// Whoever has not been heard for so long is not there.
const GONE: Duration = Duration::from_secs(10);
/// How many ids are told at once: PostgreSQL's notifications have less than 8,000 bytes.
const AT_ONCE: usize = 200;

/// How the instances of a module tell each other what they change: a channel of PostgreSQL's `notify`, on which each hears
/// all, itself too. What is said is in no transaction that does anything else, because transactions that notify commit
/// one after another.
#[derive(Default)]
pub(super) struct Hearing {
    known: Mutex<Known>,
    something_to_tell: Notify,
}

#[derive(Default)]
struct Known {
    /// When this instance first heard itself over the connection it has; `None` without one.
    since: Option<Instant>,
    /// When it did so last.
    myself: Option<Instant>,
    others: Option<Instant>,
    /// Whether anybody tells what there is to tell.
    speaks: bool,
    to_tell: HashSet<Uuid>,
}

impl Hearing {
    /// Whether whatever others change is heard of here.
    pub(super) fn is_sound(&self) -> bool {
        let known = self.known();
        known.since.is_some_and(|since| since.elapsed() >= INTRODUCTION)
            && known.myself.is_some_and(|heard| heard.elapsed() < DEAF)
    }

    /// Has the others told that these were changed, unless there is nobody. Whoever hears nothing cannot know that.
    pub(super) fn tell(&self, ids: &[Uuid]) {
        let is_alone = self.is_sound() && self.known().others.is_none_or(|heard| heard.elapsed() >= GONE);
        let mut known = self.known();
        if known.speaks && !is_alone {
            known.to_tell.extend(ids);
            self.something_to_tell.notify_one();
        }
    }

    /// There is no connection over which anything was heard.
    fn lost(&self) {
        let mut known = self.known();
        (known.since, known.myself) = (None, None);
    }

    /// Says whether anybody tells what there is to tell.
    pub(super) fn speaking(&self, speaks: bool) {
        self.known().speaks = speaks;
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.known().to_tell.len()
    }

    pub(super) fn heard_myself(&self) {
        let mut known = self.known();
        known.myself = Some(Instant::now());
        known.since = known.since.or(known.myself);
    }

    pub(super) fn heard_another(&self) {
        self.known().others = Some(Instant::now());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who speaks, and what it has changed: its id and those of entities, in hexadecimal digits between blanks.
fn messages(speaker: Uuid, changed: &[Uuid]) -> Vec<String> {
    let message = |ids: &[Uuid]| {
        let ids = ids.iter().map(|id| format!(" {}", id.simple()));
        ids.fold(speaker.simple().to_string(), |message, id| message + &id)
    };
    // Whoever has nothing to say is there all the same.
    if changed.is_empty() { vec![message(&[])] } else { changed.chunks(AT_ONCE).map(message).collect() }
}

/// `None` for what no instance says.
fn read(message: &str) -> Option<(Uuid, Vec<Uuid>)> {
    let mut ids = message.split(' ').map(|id| Uuid::try_parse(id).ok());
    Some((ids.next()??, ids.collect::<Option<_>>()?))
}

impl<E: Entity> EntityCache<E> {
    /// Tells other instances what is changed here, and hears what they change, until it is stopped. Only while it runs
    /// is anything kept that may change. An instance that keeps nothing tells all the same. `pool` is the module's,
    /// whose database is meant: two connections of its own are opened to it, so that a busy module does not turn deaf.
    pub async fn hear(self, pool: PgPool, stop: CancellationToken) {
        let pool = PgPoolOptions::new()
            // One to listen on, one to speak.
            .max_connections(2)
            .test_before_acquire(false)
            .connect_lazy_with((*pool.connect_options()).clone());
        Self::show();
        self.inner.hearing.speaking(true);
        let (channel, me) = (format!("vostro.cache.{}", E::NAME), Uuid::now_v7());
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen(&pool, &channel, me) => {}
            () = self.speak(&pool, &channel, me) => {}
        }
        self.inner.hearing.speaking(false);
        self.deafen();
        pool.close().await;
    }

    async fn listen(&self, pool: &PgPool, channel: &str, me: Uuid) {
        const PAUSE: Duration = Duration::from_secs(1);
        loop {
            if let Err(error) = self.listen_while_connected(pool, channel, me).await {
                debug!(cache = E::NAME, %error, "cannot hear other instances just now");
            }
            self.deafen();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn listen_while_connected(&self, pool: &PgPool, channel: &str, me: Uuid) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.eager_reconnect(false);
        listener.listen(channel).await?;
        while let Some(notification) = listener.try_recv().await? {
            match read(notification.payload()) {
                Some((speaker, _)) if speaker == me => self.inner.hearing.heard_myself(),
                Some((_, changed)) => {
                    self.inner.hearing.heard_another();
                    self.inner.shelf.forget(&changed);
                }
                // Of a later release, perhaps: it says that something is different, but not what.
                None => self.inner.shelf.forget_all(),
            }
        }
        Ok(())
    }

    async fn speak(&self, pool: &PgPool, channel: &str, me: Uuid) {
        let hearing = &self.inner.hearing;
        loop {
            let to_tell: Vec<Uuid> = std::mem::take(&mut hearing.known().to_tell).into_iter().collect();
            if let Err(error) = say(pool, channel, &messages(me, &to_tell)).await {
                // What was not said ends with its time to live.
                debug!(cache = E::NAME, %error, "cannot tell other instances just now");
            }
            let _ = tokio::time::timeout(BEAT, hearing.something_to_tell.notified()).await;
        }
    }

    /// What others change is not heard any more.
    pub(super) fn deafen(&self) {
        self.inner.hearing.lost();
        self.inner.shelf.forget_all();
    }
}

/// A message that is lost is bounded harm, so the disk is not waited for.
async fn say(pool: &PgPool, channel: &str, messages: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        r#"select set_config('synchronous_commit', 'off', true), pg_notify($1, message)::text
           from unnest($2::text[]) as message"#,
        channel,
        messages
    )
    .fetch_all(pool)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_fits_a_notification() {
        let speaker = Uuid::now_v7();
        let changed: Vec<Uuid> = (0..AT_ONCE * 2 + 1).map(|_| Uuid::now_v7()).collect();
        let said = messages(speaker, &changed);
        assert!(said.iter().all(|message| message.len() < 8_000));
        let heard: Vec<(Uuid, Vec<Uuid>)> = said.iter().map(|message| read(message).expect("readable")).collect();
        assert!(heard.iter().all(|(from, _)| *from == speaker));
        assert_eq!(heard.into_iter().flat_map(|(_, ids)| ids).collect::<Vec<_>>(), changed);
        assert_eq!(read(&messages(speaker, &[])[0]), Some((speaker, Vec::new())));
        assert_eq!((read(""), read("nobody"), read(&format!("{speaker} x"))), (None, None, None));
    }
}
