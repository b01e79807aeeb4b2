use std::collections::{HashMap, VecDeque};

use async_trait::async_trait;
use futures::{Stream, TryStreamExt as _, stream};
use sqlx::PgPool;
use uuid::Uuid;
use vostro_kernel::RequestContext;
use vostro_messaging::{Listener, Look, Missed, UpdateKind};

use super::{Notifications, person};
use crate::NotificationError;
use crate::consume::Arrived;
use crate::domain::Notification;
use crate::store::{Stored, notifications};

/// A notification that comes to a client. Its sequence is from where to go on behind it.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub notification: Notification,
    /// Whether it was there when the stream began.
    pub kind: UpdateKind,
}

/// With what a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// What no client of the person has received yet.
    Unreceived,
    /// Everything behind the last one that an earlier stream told.
    After(i64),
    /// Everything behind a number wherever it is from, and before that what no client has received up to there.
    UnreceivedAndAfter(i64),
}

impl Notifications {
    /// The caller's in-app notifications as they come, each once and in the order of their sequences. Whoever comes back
    /// with the last one it saw gets everything behind it: a person's numbers become visible in their order, so none can
    /// come before it later. A listener that is too slow goes on from where it is, so nothing is ever passed over. What
    /// the stream yields counts as delivered.
    ///
    /// # Errors
    /// The stream ends with a database fault; the caller resumes with the last sequence it saw.
    pub fn received(
        &self,
        context: &RequestContext,
        start: Start,
    ) -> Result<impl Stream<Item = Result<Arrival, NotificationError>> + Send + use<>, NotificationError> {
        let user = person(context)?;
        let (stage, position) = match start {
            Start::Unreceived => (Stage::New, 0),
            Start::After(position) => (Stage::CatchingUp, position),
            Start::UnreceivedAndAfter(through) => (Stage::Unreceived { through }, 0),
        };
        let inbox = Inbox {
            module: self.clone(),
            context: context.clone(),
            user,
            // Listening begins before the first look into the database, so nothing falls in between.
            live: self.0.arrivals.listen(user),
            stage,
            position,
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
    live: Listener<Uuid, Arrived>,
    stage: Stage,
    /// What has a number up to this one was made ready, or is not to be told.
    position: i64,
    ready: VecDeque<Arrival>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Nothing has been looked at.
    New,
    /// What no client has received is told, up to this number.
    Unreceived { through: i64 },
    /// There may be something behind the position.
    CatchingUp,
    /// There is nothing behind the position that is not going to be heard of.
    Live,
}

impl Inbox {
    /// Notifications read at once.
    const PAGE: i64 = 100;

    async fn next(mut self) -> Result<Option<(Arrival, Self)>, NotificationError> {
        loop {
            if let Some(arrival) = self.ready.pop_front() {
                return Ok(Some((arrival, self)));
            }
            match self.stage {
                Stage::New => {
                    let latest = notifications::latest(self.pool(), &[self.user]).await?.pop();
                    self.stage = Stage::Unreceived { through: latest.map_or(0, |(_, sequence)| sequence) };
                }
                Stage::Unreceived { through } => self.unreceived(through).await?,
                Stage::CatchingUp => self.catch_up().await?,
                Stage::Live => match self.live.recv().await {
                    // Seen already, when the database was read for what was heard before.
                    Ok(latest) if latest <= self.position => {}
                    Ok(_) | Err(Missed) => self.stage = Stage::CatchingUp,
                },
            }
        }
    }

    async fn unreceived(&mut self, through: i64) -> sqlx::Result<()> {
        let found = notifications::undelivered(self.pool(), self.user, self.position, through, Self::PAGE).await?;
        if found.is_empty() {
            (self.stage, self.position) = (Stage::CatchingUp, through);
        }
        self.make_ready(found, UpdateKind::Snapshot).await;
        Ok(())
    }

    async fn catch_up(&mut self) -> sqlx::Result<()> {
        let found = notifications::since(self.pool(), self.user, self.position, Self::PAGE).await?;
        if i64::try_from(found.len()).is_ok_and(|found| found < Self::PAGE) {
            self.stage = Stage::Live;
        }
        self.make_ready(found, UpdateKind::Change).await;
        Ok(())
    }

    async fn make_ready(&mut self, found: Vec<Stored>, kind: UpdateKind) {
        let Some(last) = found.last() else { return };
        self.position = last.sequence;
        let handed_out = self.module.hand_out(&self.context, self.user, found).await;
        self.ready.extend(handed_out.into_iter().map(|notification| Arrival { notification, kind }));
    }

    fn pool(&self) -> &PgPool {
        &self.module.0.foundation.pool
    }
}

/// What arrives by way of other instances for people who listen here.
pub(crate) struct ArrivedElsewhere {
    pool: PgPool,
    /// What was told last, by person.
    told: HashMap<Uuid, Arrived>,
}

impl ArrivedElsewhere {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, told: HashMap::new() }
    }
}

#[async_trait]
impl Look<Uuid, Arrived> for ArrivedElsewhere {
    async fn look(&mut self, people: Vec<Uuid>) -> sqlx::Result<Vec<(Uuid, Arrived)>> {
        let latest = notifications::latest(&self.pool, &people).await?;
        let before = std::mem::replace(&mut self.told, latest.iter().copied().collect());
        Ok(latest.into_iter().filter(|(person, latest)| before.get(person) != Some(latest)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

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
        let mut stream = pin!(module.received(&context, Start::Unreceived).expect("a stream"));

        let first = login(user);
        deliver(database.pool(), &handler, std::slice::from_ref(&first)).await.expect("handled");
        let received = stream.next().await.expect("open").expect("a notification");
        assert_eq!(received.notification.source_event_id, first.envelope.id);
        let later = (0..300).map(|_| login(user)).collect::<Vec<_>>();
        // More pieces of news than are kept for one listener.
        for login in later.chunks(1) {
            deliver(database.pool(), &handler, login).await.expect("handled");
        }
        let mut before = received.notification.sequence;
        for expected in &later {
            let received = stream.next().await.expect("open").expect("a notification");
            assert_eq!(received.notification.source_event_id, expected.envelope.id);
            assert!(received.notification.sequence > before);
            before = received.notification.sequence;
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
        let mut stream = pin!(module.received(&context, Start::Unreceived).expect("a stream"));
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
        let mut at_there = pin!(there.received(&context, Start::Unreceived).expect("a stream"));
        let received = at_there.next().await.expect("open").expect("a notification");
        assert_eq!((received.notification.source_event_id, received.kind), (old.envelope.id, UpdateKind::Snapshot));

        let after = Start::After(received.notification.sequence);
        let mut at_here = pin!(here.received(&context, after).expect("a stream"));
        here.0.foundation.company.set(1);
        let stop = CancellationToken::new();
        let feed = here.0.arrivals.clone();
        let look = ArrivedElsewhere::new(database.pool().clone());
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
        let mut known = Vec::new();
        for login in [first, second] {
            deliver(database.pool(), &handler, std::slice::from_ref(login)).await.expect("handled");
            let after = known.last().map_or(Start::Unreceived, |last| Start::After(*last));
            let mut stream = pin!(module.received(&context, after).expect("a stream"));
            known.push(stream.next().await.expect("open").expect("a notification").notification.sequence);
        }

        let mut stream = pin!(module.received(&context, Start::After(known[1])).expect("a stream"));
        assert!(stream.next().now_or_never().is_none(), "it begins");
        // What the look had found before the client came back.
        known.iter().for_each(|sequence| module.0.arrivals.tell(&user, *sequence));
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
        let mut earlier = pin!(module.received(&context, Start::Unreceived).expect("a stream"));
        earlier.next().await.expect("open").expect("a notification");

        let mut stream = pin!(module.received(&context, Start::Unreceived).expect("a stream"));
        for expected in [new, newer] {
            let news = deliver(database.pool(), &handler, std::slice::from_ref(expected));
            let (received, handled) = tokio::join!(stream.next(), news);
            handled.expect("handled");
            let received = received.expect("open").expect("a notification");
            assert_eq!(received.notification.source_event_id, expected.envelope.id);
            // More than is kept for one listener.
            (0..300).for_each(|_| module.0.arrivals.tell(&user, 0));
        }
    }

    /// Numbers without a pattern, the same ones each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    /// Transactions that tell the person and others something, each batch in an order of its own, and that commit sooner or
    /// later.
    async fn write(database: PgPool, module: Notifications, people: Vec<Uuid>, batches: usize, mut dice: Dice) {
        let handler = module.handlers().remove(0).handler;
        for _ in 0..batches {
            let mut batch = people.clone();
            for place in 1..batch.len() {
                let other = dice.below(u64::try_from(place).expect("few") + 1);
                batch.swap(place, usize::try_from(other).expect("few"));
            }
            let batch: Vec<_> = batch.into_iter().map(login).collect();
            let mut transaction = vostro_messaging::begin(&database).await.expect("begun");
            let news = handler.handle_in_tx(&mut transaction, &batch).await.expect("nobody waits in a circle");
            tokio::time::sleep(Duration::from_millis(dice.below(8))).await;
            transaction.commit().await.expect("committed");
            news.expect("there is news")();
        }
    }

    /// Listens by turns at the instances until so many notifications have come, and loses what is on its way each time.
    async fn listen(instances: [Notifications; 2], user: Uuid, enough: usize, mut dice: Dice) -> (Vec<i64>, usize) {
        let context = RequestContext::of(Actor::person(user, Roles::NONE, None), &SystemIds);
        let (mut seen, mut connections) = (Vec::new(), 0);
        while seen.len() < enough {
            let instance = &instances[connections % 2];
            connections += 1;
            let after = Start::After(seen.last().copied().unwrap_or(0));
            let mut stream = pin!(instance.received(&context, after).expect("a stream"));
            for _ in 0..=dice.below(5) {
                if seen.len() < enough {
                    seen.push(stream.next().await.expect("open").expect("a notification").notification.sequence);
                }
            }
            let until_it_breaks = Duration::from_millis(dice.below(4));
            let _lost = tokio::time::timeout(until_it_breaks, stream.next()).await;
        }
        (seen, connections)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_cut_off_at_any_moment_is_told_everything_once_and_in_order_while_many_write() {
        const WRITERS: u64 = 6;
        const BATCHES: usize = 15;
        let enough = usize::try_from(WRITERS).expect("few") * BATCHES;
        let database = Database::create("notification", &MIGRATIONS).await;
        let instances = [module(&database), module(&database)];
        let stop = CancellationToken::new();
        let looking: Vec<_> = instances
            .each_ref()
            .map(|instance| {
                instance.0.foundation.company.set(1);
                let look = ArrivedElsewhere::new(database.pool().clone());
                tokio::spawn(instance.0.arrivals.clone().look_around(look, stop.clone()))
            })
            .into();
        let people: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
        let clients: Vec<_> =
            (1..=4).map(|number| tokio::spawn(listen(instances.clone(), people[0], enough, Dice(number)))).collect();
        let writers: Vec<_> = (1..=WRITERS)
            .map(|number| {
                let module = instances[usize::from(number % 2 == 0)].clone();
                tokio::spawn(write(database.pool().clone(), module, people.clone(), BATCHES, Dice(number << 32)))
            })
            .collect();
        for writer in writers {
            writer.await.expect("everything is written");
        }
        let all: Vec<i64> = notifications::since(database.pool(), people[0], 0, i64::MAX)
            .await
            .expect("readable")
            .into_iter()
            .map(|stored| stored.sequence)
            .collect();
        assert_eq!(all.len(), enough);
        let within = Duration::from_secs(60);
        for client in clients {
            let finished = tokio::time::timeout(within, client).await.expect("everything comes, or nothing was lost");
            let (seen, connections) = finished.expect("not panicked");
            assert_eq!(seen, all, "each once, in order");
            assert!(connections > 10, "cut off often");
        }
        stop.cancel();
        for looking in looking {
            looking.await.expect("stopped");
        }
    }
}
