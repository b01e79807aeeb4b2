use std::collections::{HashSet, VecDeque};

use futures::{Stream, TryStreamExt as _, stream};
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::Listener;

use super::{Notifications, person};
use crate::NotificationError;
use crate::consume::Arrivals;
use crate::domain::Notification;
use crate::store::{Stored, notifications};

impl Notifications {
    /// The caller's in-app notifications as they come, each once per stream.
    ///
    /// It begins with what no client has received yet and, when the caller says how far it had come, with everything
    /// after that. The two together leave no gap: a notification whose number is below `after` although it was committed
    /// later is still undelivered. What the stream yields counts as delivered.
    ///
    /// # Errors
    /// The stream ends with a database fault; the caller resumes with the last sequence it saw.
    pub fn received(
        &self,
        context: &RequestContext,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Notification, NotificationError>> + Send + use<>, NotificationError> {
        let user = person(context)?;
        let inbox = Inbox {
            module: self.clone(),
            context: context.clone(),
            user,
            // Listening begins before the first look into the database, so nothing falls in between.
            live: self.0.arrivals.listen(),
            phase: Phase::Undelivered { after: 0 },
            resume_after: after,
            newest: after.unwrap_or(0),
            seen: HashSet::new(),
            overlap: 0,
            ready: VecDeque::new(),
        };
        Ok(stream::try_unfold(inbox, Inbox::next).into_stream())
    }
}

/// One open stream.
struct Inbox {
    module: Notifications,
    context: RequestContext,
    user: Uuid,
    live: Listener<Arrivals>,
    phase: Phase,
    /// Where to catch up from after the undelivered ones; `None` when there is nothing to catch up with.
    resume_after: Option<i64>,
    /// The highest sequence yielded.
    newest: i64,
    /// What was yielded while catching up, and may also be among the live news of that time.
    seen: HashSet<Uuid>,
    /// How many live news of that time are still to come.
    overlap: usize,
    ready: VecDeque<Notification>,
}

#[derive(Clone, Copy)]
enum Phase {
    Undelivered { after: i64 },
    Since { after: i64 },
    Live,
}

impl Inbox {
    /// Notifications read at once while catching up.
    const PAGE: i64 = 100;

    async fn next(mut self) -> Result<Option<(Notification, Self)>, NotificationError> {
        loop {
            if let Some(notification) = self.ready.pop_front() {
                self.newest = self.newest.max(notification.sequence);
                return Ok(Some((notification, self)));
            }
            let found = match self.phase {
                Phase::Undelivered { after } => self.undelivered(after).await?,
                Phase::Since { after } => self.since(after).await?,
                Phase::Live => match self.live.recv().await {
                    Ok(news) => self.arrived(&news).await?,
                    Err(RecvError::Lagged(_)) => {
                        // Too much happened to be told one by one: look again, from where the stream is.
                        self.resume_after = Some(self.newest);
                        self.phase = Phase::Undelivered { after: 0 };
                        continue;
                    }
                    Err(RecvError::Closed) => return Ok(None),
                },
            };
            self.take(found).await;
        }
    }

    async fn undelivered(&mut self, after: i64) -> sqlx::Result<Vec<Stored>> {
        let found = notifications::undelivered(self.pool(), self.user, after, Self::PAGE).await?;
        self.phase = match (found.last(), self.resume_after) {
            (Some(last), _) => Phase::Undelivered { after: last.sequence },
            (None, Some(after)) => Phase::Since { after },
            (None, None) => self.caught_up(),
        };
        Ok(found)
    }

    async fn since(&mut self, after: i64) -> sqlx::Result<Vec<Stored>> {
        let found = notifications::since(self.pool(), self.user, after, Self::PAGE).await?;
        self.phase = match found.last() {
            Some(last) => Phase::Since { after: last.sequence },
            None => self.caught_up(),
        };
        Ok(found)
    }

    /// What was told live until now may have been read from the database as well; what comes later cannot.
    fn caught_up(&mut self) -> Phase {
        self.overlap = self.live.len();
        if self.overlap == 0 {
            self.seen.clear();
        }
        Phase::Live
    }

    async fn arrived(&mut self, news: &Arrivals) -> sqlx::Result<Vec<Stored>> {
        let ids = news.get(&self.user).map_or(&[][..], Vec::as_slice);
        let new = ids.iter().copied().filter(|id| !self.seen.contains(id)).collect::<Vec<_>>();
        if self.overlap > 0 {
            self.overlap -= 1;
            if self.overlap == 0 {
                self.seen.clear();
            }
        }
        if new.is_empty() {
            return Ok(Vec::new());
        }
        notifications::by_ids(self.pool(), self.user, &new).await
    }

    /// Makes ready what was found. While catching up, the same may be found twice: as undelivered and as later than.
    async fn take(&mut self, mut found: Vec<Stored>) {
        if !matches!(self.phase, Phase::Live) {
            found.retain(|stored| self.seen.insert(stored.id));
        }
        if !found.is_empty() {
            self.ready.extend(self.module.hand_out(&self.context, self.user, found).await);
        }
    }

    fn pool(&self) -> &sqlx::PgPool {
        &self.module.0.foundation.pool
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::pin::pin;
    use std::sync::Arc;

    use futures::{FutureExt as _, StreamExt as _};
    use vostro_events::auth::{LoginMethod, UserLoggedInV1};
    use vostro_kernel::{Actor, Roles, SystemIds};
    use vostro_messaging::{ContactKey, Incoming, Module as _};
    use vostro_testkit::{Database, deliver, incoming};

    use super::*;
    use crate::{Config, MIGRATIONS};

    fn login(user: Uuid) -> Incoming {
        incoming(&UserLoggedInV1 { user_id: user, session_id: Uuid::now_v7(), method: LoginMethod::Password }, 2)
    }

    #[tokio::test]
    async fn a_stream_that_fell_far_behind_catches_up_without_a_gap_or_a_repetition() {
        let database = Database::create("notification", &MIGRATIONS).await;
        let key = Arc::new(ContactKey::derive("secret"));
        let module = Notifications::new(database.foundation(), Config::default(), key).expect("valid");
        let handler = module.handlers().remove(0).handler;
        let user = Uuid::now_v7();
        let context = RequestContext::of(Actor::person(user, Roles::NONE, None), &SystemIds);
        let mut stream = pin!(module.received(&context, None).expect("a stream"));

        let first = login(user);
        deliver(database.pool(), &handler, std::slice::from_ref(&first)).await.expect("handled");
        let received = stream.next().await.expect("open").expect("a notification");
        assert_eq!(received.source_event_id, first.envelope.id);
        let later = (0..5).map(|_| login(user)).collect::<Vec<_>>();
        deliver(database.pool(), &handler, &later).await.expect("handled");
        // News about others, more than the feed keeps for one listener: the news about `later` is lost.
        for _ in 0..10_000 {
            module.0.arrivals.tell(Arc::new(HashMap::new()));
        }
        for expected in &later {
            let received = stream.next().await.expect("open").expect("a notification");
            assert_eq!(received.source_event_id, expected.envelope.id);
        }
        assert!(stream.next().now_or_never().is_none(), "nothing twice");
    }
}
