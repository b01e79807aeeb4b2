use std::collections::{HashMap, HashSet, VecDeque};

use async_trait::async_trait;
use futures::{Stream, TryStreamExt as _, stream};
use sqlx::PgPool;
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::{Listener, LiveFeed, Look, Missed, UpdateKind};

use super::{Notifications, person};
use crate::NotificationError;
use crate::consume::Arrivals;
use crate::domain::Notification;
use crate::store::{Stored, notifications};

/// A notification that comes to a client.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub notification: Notification,
    /// Whether it was there when the stream began.
    pub kind: UpdateKind,
    /// From where to go on behind it. Not always its own sequence: one that was committed late comes after higher ones.
    pub resume_after: i64,
}

impl Notifications {
    /// The caller's in-app notifications as they come, each once per stream.
    ///
    /// It begins with what no client has received yet and, when the caller says how far it had come, with everything
    /// after that. The two together leave no gap: a notification whose number is below `after` although it was committed
    /// later is still undelivered. A listener that is too slow goes on from where it is, so nothing is ever passed over.
    /// What the stream yields counts as delivered.
    ///
    /// # Errors
    /// The stream ends with a database fault; the caller resumes with the last sequence it saw.
    pub fn received(
        &self,
        context: &RequestContext,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Arrival, NotificationError>> + Send + use<>, NotificationError> {
        let user = person(context)?;
        let inbox = Inbox {
            module: self.clone(),
            context: context.clone(),
            user,
            // Listening begins before the first look into the database, so nothing falls in between.
            live: self.0.arrivals.listen(user),
            phase: Phase::Undelivered { after: 0 },
            resume_after: after,
            newest: after,
            has_begun: false,
            snapshot_through: None,
            seen: HashSet::new(),
            overlap: 0,
            recent: Recent::default(),
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
    live: Listener<Uuid, Arrivals>,
    phase: Phase,
    /// Where to catch up from after the undelivered ones; `None` when there is nothing to catch up with.
    resume_after: Option<i64>,
    /// The highest sequence the client has; before the first look of a client that has none, `None`.
    newest: Option<i64>,
    has_begun: bool,
    /// Up to which sequence a new client is told how things were when it came; everything else is a change.
    snapshot_through: Option<i64>,
    /// What was yielded while catching up, and may also be among the live news of that time.
    seen: HashSet<Uuid>,
    /// How many live news of that time are still to come.
    overlap: usize,
    /// What was yielded last, here or before the client came back: a look of the whole process may find it once more.
    recent: Recent,
    ready: VecDeque<Notification>,
}

/// The last few ids.
#[derive(Default)]
struct Recent {
    known: HashSet<Uuid>,
    in_order: VecDeque<Uuid>,
}

impl Recent {
    /// More than a mailbox of news and a page of the database.
    const MOST: usize = 1_024;

    /// Whether it was not among them.
    fn add(&mut self, id: Uuid) -> bool {
        let is_new = self.known.insert(id);
        if is_new {
            self.in_order.push_back(id);
            if self.in_order.len() > Self::MOST
                && let Some(oldest) = self.in_order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        is_new
    }
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

    async fn next(mut self) -> Result<Option<(Arrival, Self)>, NotificationError> {
        if !self.has_begun {
            self.begin().await?;
        }
        loop {
            if let Some(notification) = self.ready.pop_front() {
                let resume_after = self.newest.unwrap_or(0).max(notification.sequence);
                self.newest = Some(resume_after);
                let kind = match self.snapshot_through {
                    Some(through) if notification.sequence <= through => UpdateKind::Snapshot,
                    _ => UpdateKind::Change,
                };
                return Ok(Some((Arrival { notification, kind, resume_after }, self)));
            }
            let found = match self.phase {
                Phase::Undelivered { after } => self.undelivered(after).await?,
                Phase::Since { after } => self.since(after).await?,
                Phase::Live => match self.live.recv().await {
                    Ok(news) => self.arrived(&news).await?,
                    Err(Missed) => {
                        // Too much happened to be told one by one: look again, from where the stream is.
                        self.resume_after = self.newest;
                        self.snapshot_through = None;
                        self.phase = Phase::Undelivered { after: 0 };
                        continue;
                    }
                },
            };
            self.take(found).await;
        }
    }

    /// Notes what is behind the stream: what the client has or, when it is new, what others of the person's clients
    /// have received. A look that was under way when it came may be about to tell that.
    async fn begin(&mut self) -> sqlx::Result<()> {
        let newest = match self.newest {
            Some(newest) => newest,
            None => {
                let latest = notifications::latest(self.pool(), &[self.user]).await?.pop();
                let latest = latest.map_or(0, |(_, sequence)| sequence);
                self.snapshot_through = Some(latest);
                latest
            }
        };
        for id in notifications::received(self.pool(), self.user, newest, ArrivedElsewhere::MOST).await? {
            self.recent.add(id);
        }
        (self.newest, self.has_begun) = (Some(newest), true);
        Ok(())
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
        self.snapshot_through = None;
        let is_new = |id: &Uuid| !self.seen.contains(id) && !self.recent.known.contains(id);
        let new = news.iter().copied().filter(is_new).collect::<Vec<_>>();
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
        found.retain(|stored| self.recent.add(stored.id));
        if !found.is_empty() {
            self.ready.extend(self.module.hand_out(&self.context, self.user, found).await);
        }
    }

    fn pool(&self) -> &sqlx::PgPool {
        &self.module.0.foundation.pool
    }
}

/// What arrives by way of other instances for people who listen here.
pub(crate) struct ArrivedElsewhere {
    pool: PgPool,
    feed: LiveFeed<Uuid, Arrivals>,
    /// Up to which notification was looked, by person.
    seen: HashMap<Uuid, i64>,
}

impl ArrivedElsewhere {
    /// Notifications of one person that one look tells at most; the next one goes on behind them.
    const MOST: i64 = 256;

    pub(crate) fn new(pool: PgPool, feed: LiveFeed<Uuid, Arrivals>) -> Self {
        Self { pool, feed, seen: HashMap::new() }
    }
}

#[async_trait]
impl Look<Uuid, Arrivals> for ArrivedElsewhere {
    /// Between the first look of a listener and the first one for it here, another client of the person may have received
    /// something at another instance. So whoever is new looks once more for itself.
    async fn look(&mut self, people: Vec<Uuid>) -> sqlx::Result<Vec<(Uuid, Arrivals)>> {
        let new: Vec<Uuid> = people.iter().copied().filter(|person| !self.seen.contains_key(person)).collect();
        let latest: HashMap<Uuid, i64> = notifications::latest(&self.pool, &new).await?.into_iter().collect();
        let known: Vec<i64> =
            people.iter().map(|id| self.seen.get(id).or_else(|| latest.get(id)).copied().unwrap_or(0)).collect();
        let arrived = notifications::arrived(&self.pool, &people, &known, Self::MOST).await?;

        new.iter().for_each(|person| self.feed.miss(person));
        self.seen = people.into_iter().zip(known).collect();
        let mut news: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (person, sequence, id) in arrived {
            news.entry(person).or_default().push(id);
            self.seen.entry(person).and_modify(|seen| *seen = sequence.max(*seen));
        }
        Ok(news.into_iter().map(|(person, ids)| (person, ids.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use futures::{FutureExt as _, StreamExt as _};
    use tokio_util::sync::CancellationToken;
    use vostro_events::auth::{LoginMethod, UserLoggedInV1};
    use vostro_kernel::{Actor, Roles, SystemIds};
    use vostro_messaging::{ContactKey, Incoming, Module as _};
    use vostro_testkit::{Database, deliver, incoming};

    use super::*;
    use crate::{Config, MIGRATIONS};

    fn login(user: Uuid) -> Incoming {
        incoming(&UserLoggedInV1 { user_id: user, session_id: Uuid::now_v7(), method: LoginMethod::Password }, 2)
    }

    fn module(database: &Database) -> Notifications {
        let key = Arc::new(ContactKey::derive("secret"));
        Notifications::new(database.foundation(), Config::default(), key).expect("valid")
    }

    #[tokio::test]
    async fn a_stream_that_fell_far_behind_catches_up_without_a_gap_or_a_repetition() {
        let database = Database::create("notification", &MIGRATIONS).await;
        let module = module(&database);
        let handler = module.handlers().remove(0).handler;
        let user = Uuid::now_v7();
        let context = RequestContext::of(Actor::person(user, Roles::NONE, None), &SystemIds);
        let mut stream = pin!(module.received(&context, None).expect("a stream"));

        let first = login(user);
        deliver(database.pool(), &handler, std::slice::from_ref(&first)).await.expect("handled");
        let received = stream.next().await.expect("open").expect("a notification");
        assert_eq!(received.notification.source_event_id, first.envelope.id);
        let later = (0..300).map(|_| login(user)).collect::<Vec<_>>();
        // More pieces of news than are kept for one listener.
        for login in later.chunks(1) {
            deliver(database.pool(), &handler, login).await.expect("handled");
        }
        let mut resume_after = received.resume_after;
        for expected in &later {
            let received = stream.next().await.expect("open").expect("a notification");
            assert_eq!(received.notification.source_event_id, expected.envelope.id);
            assert!(received.resume_after > resume_after);
            resume_after = received.resume_after;
        }
        assert!(stream.next().now_or_never().is_none(), "nothing twice");
    }

    #[tokio::test]
    async fn what_arrives_while_a_new_client_is_told_how_things_were_is_a_change() {
        let database = Database::create("notification", &MIGRATIONS).await;
        let module = module(&database);
        let handler = module.handlers().remove(0).handler;
        let user = Uuid::now_v7();
        let context = RequestContext::of(Actor::person(user, Roles::NONE, None), &SystemIds);
        deliver(database.pool(), &handler, &[login(user)]).await.expect("handled");
        let mut stream = pin!(module.received(&context, None).expect("a stream"));
        let first = stream.next().await.expect("open").expect("a notification");
        // It looks once more before it knows that it has told everything, and finds this one.
        deliver(database.pool(), &handler, &[login(user)]).await.expect("handled");
        let second = stream.next().await.expect("open").expect("a notification");
        assert_eq!((first.kind, second.kind), (UpdateKind::Snapshot, UpdateKind::Change));
    }

    #[tokio::test]
    async fn clients_at_two_instances_both_get_everything_once() {
        let database = Database::create("notification", &MIGRATIONS).await;
        let (here, there) = (module(&database), module(&database));
        let handler = there.handlers().remove(0).handler;
        let user = Uuid::now_v7();
        let context = RequestContext::of(Actor::person(user, Roles::NONE, None), &SystemIds);
        let old = login(user);
        deliver(database.pool(), &handler, std::slice::from_ref(&old)).await.expect("handled");
        let mut at_there = pin!(there.received(&context, None).expect("a stream"));
        let received = at_there.next().await.expect("open").expect("a notification");
        assert_eq!((received.notification.source_event_id, received.kind), (old.envelope.id, UpdateKind::Snapshot));

        let mut at_here = pin!(here.received(&context, Some(received.resume_after)).expect("a stream"));
        here.0.foundation.company.set(1);
        let stop = CancellationToken::new();
        let feed = here.0.arrivals.clone();
        let look = ArrivedElsewhere::new(database.pool().clone(), feed.clone());
        let looking = tokio::spawn(feed.look_around(look, stop.clone()));
        for _ in 0..5 {
            let new = login(user);
            deliver(database.pool(), &handler, std::slice::from_ref(&new)).await.expect("handled");
            // Whichever is first: what one client has received is still news to the other.
            for stream in [&mut at_there, &mut at_here] {
                let received = stream.next().await.expect("open").expect("a notification");
                assert_eq!(received.notification.source_event_id, new.envelope.id);
            }
        }
        assert!(at_here.next().now_or_never().is_none() && at_there.next().now_or_never().is_none());
        stop.cancel();
        looking.await.expect("stopped");
    }

    #[tokio::test]
    async fn who_comes_back_while_a_look_is_under_way_gets_nothing_twice() {
        let database = Database::create("notification", &MIGRATIONS).await;
        let module = module(&database);
        let handler = module.handlers().remove(0).handler;
        let user = Uuid::now_v7();
        let context = RequestContext::of(Actor::person(user, Roles::NONE, None), &SystemIds);
        let logins = [login(user), login(user), login(user)];
        let [first, second, third] = &logins;
        let mut after = None;
        let mut known = Vec::new();
        for login in [first, second] {
            deliver(database.pool(), &handler, std::slice::from_ref(login)).await.expect("handled");
            let mut stream = pin!(module.received(&context, after).expect("a stream"));
            let received = stream.next().await.expect("open").expect("a notification");
            after = Some(received.resume_after);
            known.push(received.notification.id);
        }

        let mut stream = pin!(module.received(&context, after).expect("a stream"));
        assert!(stream.next().now_or_never().is_none(), "it begins");
        // What the look had found before the client came back.
        module.0.arrivals.tell(&user, known.into());
        deliver(database.pool(), &handler, std::slice::from_ref(third)).await.expect("handled");
        let received = stream.next().await.expect("open").expect("a notification");
        assert_eq!(received.notification.source_event_id, third.envelope.id);
        assert!(stream.next().now_or_never().is_none(), "nothing twice");
    }

    #[tokio::test]
    async fn a_new_client_that_missed_something_gets_nothing_of_before_it_came() {
        let database = Database::create("notification", &MIGRATIONS).await;
        let module = module(&database);
        let handler = module.handlers().remove(0).handler;
        let user = Uuid::now_v7();
        let context = RequestContext::of(Actor::person(user, Roles::NONE, None), &SystemIds);
        let logins = [login(user), login(user), login(user)];
        let [old, new, newer] = &logins;
        deliver(database.pool(), &handler, std::slice::from_ref(old)).await.expect("handled");
        let mut earlier = pin!(module.received(&context, None).expect("a stream"));
        earlier.next().await.expect("open").expect("a notification");

        let mut stream = pin!(module.received(&context, None).expect("a stream"));
        for expected in [new, newer] {
            let news = deliver(database.pool(), &handler, std::slice::from_ref(expected));
            let (received, handled) = tokio::join!(stream.next(), news);
            handled.expect("handled");
            let received = received.expect("open").expect("a notification");
            assert_eq!(received.notification.source_event_id, expected.envelope.id);
            module.0.arrivals.miss(&user);
        }
    }
}
