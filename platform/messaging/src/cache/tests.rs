//! The rules of keeping, with a database in memory and a clock that only moves when told to.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use tokio::time::advance;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thing {
    id: Uuid,
    edition: i64,
    is_settled: bool,
}

impl Entity for Thing {
    const NAME: &'static str = "things";

    fn id(&self) -> Uuid {
        self.id
    }

    fn edition(&self) -> i64 {
        self.edition
    }

    fn is_settled(&self) -> bool {
        self.is_settled
    }
}

const LIFE: Duration = Duration::from_secs(60);

/// One thing in a database, and an instance that keeps it.
struct Bench {
    cache: EntityCache<Thing>,
    row: Mutex<Thing>,
    asked: AtomicUsize,
}

impl Bench {
    /// An instance that hears others.
    async fn new() -> Self {
        let bench = Self::deaf(LIFE);
        bench.keep_hearing(Duration::ZERO).await;
        bench
    }

    fn deaf(time_to_live: Duration) -> Self {
        let cache = EntityCache::new(&Caching { entities: 100, time_to_live, ..Caching::OFF });
        let row = Mutex::new(Thing { id: Uuid::now_v7(), edition: 1, is_settled: false });
        Self { cache, row, asked: AtomicUsize::new(0) }
    }

    /// Lets time pass in which the instance goes on hearing.
    async fn keep_hearing(&self, time: Duration) {
        for _ in 0..=(time.as_secs() + 1) {
            self.cache.inner.hearing.heard_myself();
            advance(Duration::from_secs(1)).await;
            self.cache.inner.hearing.heard_myself();
        }
    }

    fn id(&self) -> Uuid {
        self.row.lock().expect("unpoisoned").id
    }

    fn row(&self) -> Thing {
        self.asked.fetch_add(1, Ordering::SeqCst);
        *self.row.lock().expect("unpoisoned")
    }

    /// What another instance commits.
    fn changed_elsewhere(&self) {
        self.row.lock().expect("unpoisoned").edition += 1;
    }

    fn told_by_another(&self) {
        self.cache.inner.shelf.forget(&[self.id()]);
    }

    async fn change(&self) {
        let changing = self.cache.changing(vec![self.id()]);
        self.changed_elsewhere();
        drop(changing);
    }

    async fn read(&self) -> i64 {
        self.read_while(async || ()).await
    }

    /// Reads, and something happens between the database's answer and its arrival.
    async fn read_while(&self, meanwhile: impl AsyncFnOnce()) -> i64 {
        let ask = async |_| {
            let row = self.row();
            meanwhile().await;
            Ok::<_, Infallible>(vec![row])
        };
        self.cache.read(&[self.id()], ask).await.expect("readable")[0].edition
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    fn nobody_is_under_way(&self) -> bool {
        self.cache.inner.shelf.is_quiet()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_kept() {
    let bench = Bench::new().await;
    assert_eq!((bench.read().await, bench.read().await, bench.asked()), (1, 1, 1));
    let id = bench.id();
    let twice = bench.cache.read(&[id, id], async |_| Ok::<_, Infallible>(Vec::new())).await.expect("readable");
    assert_eq!(twice.len(), 1);
    assert!(bench.nobody_is_under_way());
}

#[tokio::test(start_paused = true)]
async fn a_row_that_arrives_after_the_news_of_its_change_is_not_kept() {
    let bench = Bench::new().await;
    let old = bench
        .read_while(async || {
            bench.changed_elsewhere();
            bench.told_by_another();
        })
        .await;
    assert_eq!((old, bench.read().await), (1, 2));
    bench.told_by_another();
    let old = bench.read_while(async || bench.change().await).await;
    assert_eq!((old, bench.read().await), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn whoever_begins_to_read_after_the_news_may_keep_it_however_many_read_since_before() {
    let bench = Bench::new().await;
    let slow = bench
        .read_while(async || {
            bench.changed_elsewhere();
            bench.told_by_another();
            assert_eq!(bench.read().await, 2);
        })
        .await;
    bench.asked();
    assert_eq!((slow, bench.read().await, bench.asked()), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn while_it_is_changed_here_everybody_reads_the_database_and_nothing_is_kept() {
    let bench = Bench::new().await;
    bench.read().await;
    let changing = bench.cache.changing(vec![bench.id()]);
    bench.asked();
    assert_eq!((bench.read().await, bench.read().await, bench.asked()), (1, 1, 2));
    bench.changed_elsewhere();
    assert_eq!(bench.read().await, 2, "committed, and not told yet");
    drop(changing);
    assert_eq!((bench.read().await, bench.read().await), (2, 2));
    assert_eq!(bench.asked(), 2);
    assert!(bench.nobody_is_under_way());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_does_not_put_back_what_is_over_though_nobody_told() {
    let bench = Bench::new().await;
    let slow = bench
        .read_while(async || {
            bench.changed_elsewhere();
            let anew = bench.cache.read_anew(&[bench.id()], async |_| Ok::<_, Infallible>(vec![bench.row()])).await;
            assert_eq!(anew.expect("readable")[0].edition, 2);
        })
        .await;
    assert_eq!((slow, bench.read().await), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_change_nobody_told_of_is_seen_when_the_time_is_over() {
    let bench = Bench::new().await;
    bench.read().await;
    bench.changed_elsewhere();
    bench.keep_hearing(LIFE - Duration::from_secs(10)).await;
    assert_eq!(bench.read().await, 1);
    bench.keep_hearing(Duration::from_secs(10)).await;
    assert_eq!(bench.read().await, 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_nobody_keeps_nothing_that_may_change() {
    let bench = Bench::deaf(LIFE);
    assert_eq!((bench.read().await, bench.read().await, bench.asked()), (1, 1, 2));
    bench.cache.inner.hearing.heard_myself();
    assert_eq!((bench.read().await, bench.read().await, bench.asked()), (1, 1, 2), "others do not know of it yet");
    bench.keep_hearing(Duration::ZERO).await;
    assert_eq!((bench.read().await, bench.read().await, bench.asked()), (1, 1, 1));
    advance(Duration::from_secs(3)).await;
    bench.changed_elsewhere();
    assert_eq!((bench.read().await, bench.asked()), (2, 1), "it does not hear itself any more");
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_row_may_not_be_kept_is_not_given_an_older_one_afterwards() {
    let bench = Bench::new().await;
    let ask = async |_| {
        bench.changed_elsewhere();
        bench.told_by_another();
        assert_eq!(bench.read().await, 2, "kept, as it was read after the news");
        bench.changed_elsewhere();
        Ok::<_, Infallible>(vec![bench.row()])
    };
    let read = bench.cache.read(&[bench.id()], ask).await.expect("readable");
    assert_eq!((read[0].edition, bench.read().await), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_again_does_not_give_what_is_older_than_what_was_read_meanwhile() {
    let bench = Bench::new().await;
    bench.read().await;
    advance(Duration::from_secs(3)).await;
    bench.changed_elsewhere();
    assert_eq!(bench.read().await, 2, "it hears nobody");
    bench.keep_hearing(Duration::ZERO).await;
    assert_eq!(bench.read().await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_before_the_connection_was_lost_is_forgotten() {
    let bench = Bench::new().await;
    bench.read().await;
    bench.changed_elsewhere();
    bench.cache.deafen();
    bench.keep_hearing(Duration::ZERO).await;
    assert_eq!(bench.read().await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_kept_for_ever_and_by_everybody() {
    let bench = Bench::deaf(LIFE);
    bench.row.lock().expect("unpoisoned").is_settled = true;
    bench.read().await;
    advance(LIFE * 100).await;
    assert_eq!((bench.read().await, bench.asked()), (1, 1));
}

#[tokio::test]
async fn nothing_is_kept_when_it_is_switched_off() {
    let bench = Bench { cache: EntityCache::new(&Caching::OFF), ..Bench::deaf(LIFE) };
    bench.row.lock().expect("unpoisoned").is_settled = true;
    drop(bench.cache.changing(vec![bench.id()]));
    assert_eq!((bench.read().await, bench.read().await, bench.asked()), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_is_given_up_leaves_nothing_behind() {
    let bench = Bench::new().await;
    let given_up = bench.read_while(async || std::future::pending().await).now_or_never();
    assert_eq!(given_up, None);
    let failed = bench.cache.read(&[bench.id()], async |_| Err::<Vec<Thing>, _>("away")).await;
    assert!(failed.is_err());
    assert!(bench.nobody_is_under_way());
}

#[tokio::test(start_paused = true)]
async fn others_are_told_unless_there_certainly_are_none() {
    let bench = Bench::new().await;
    let hearing = &bench.cache.inner.hearing;
    bench.change().await;
    assert_eq!(hearing.waiting(), 0, "nobody tells yet");
    hearing.speaking(true);
    bench.change().await;
    assert_eq!(hearing.waiting(), 0, "it is alone");
    hearing.heard_another();
    bench.change().await;
    assert_eq!(hearing.waiting(), 1);
    let deaf = Bench::deaf(LIFE);
    deaf.cache.inner.hearing.speaking(true);
    deaf.change().await;
    assert_eq!(deaf.cache.inner.hearing.waiting(), 1, "it cannot know that it is alone");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_there_is_room_for() {
    let cache = EntityCache::new(&Caching { entities: 10, time_to_live: LIFE, ..Caching::OFF });
    for _ in 0..100 {
        let thing = Thing { id: Uuid::now_v7(), edition: 1, is_settled: true };
        cache.read(&[thing.id], async |_| Ok::<_, Infallible>(vec![thing])).await.expect("readable");
    }
    assert!(cache.inner.shelf.kept() <= 10);
}

/// Things with ascending ids, of which every third moves, and what is asked of the database that has them.
fn newest_of(
    things: &[Thing],
    asked: &Mutex<Vec<i64>>,
) -> impl Fn(Option<Uuid>, i64) -> Ready<Result<Vec<Thing>, Infallible>> {
    move |before, limit| {
        asked.lock().expect("unpoisoned").push(limit);
        let below = things.iter().rev().filter(|thing| before.is_none_or(|before| thing.id < before));
        ready(Ok(below.take(usize::try_from(limit).expect("positive")).copied().collect()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_settled_of_the_newest_is_warm_and_nothing_else() {
    let things: Vec<Thing> =
        (1..=600).map(|number| Thing { id: Uuid::from_u128(number), edition: 1, is_settled: number % 3 > 0 }).collect();
    let (asked, caching) = (Mutex::default(), Caching { entities: 1_000, time_to_live: LIFE, ..Caching::OFF });
    let cache = EntityCache::new(&Caching { warm: 300, ..caching.clone() });
    assert_eq!(cache.warm(newest_of(&things, &asked)).await, 200);
    assert_eq!(asked.lock().expect("unpoisoned").drain(..).collect::<Vec<_>>(), [200, 100], "in parts");
    let ids: Vec<Uuid> = things.iter().map(Entity::id).collect();
    let missing = Mutex::default();
    let ask = async |ids: Vec<Uuid>| {
        *missing.lock().expect("unpoisoned") = ids;
        Ok::<_, Infallible>(Vec::new())
    };
    let found = cache.read(&ids, ask).await.expect("readable");
    assert!(found.len() == 200 && found.iter().all(|thing| thing.is_settled && thing.id > Uuid::from_u128(300)));
    assert_eq!(missing.lock().expect("unpoisoned").len(), 400);

    let all = EntityCache::new(&Caching { warm: 10_000, ..caching.clone() });
    assert_eq!(all.warm(newest_of(&things, &asked)).await, 400, "there are no more");
    let small = EntityCache::new(&Caching { warm: 10_000, entities: 30, ..caching });
    small.warm(newest_of(&things, &asked)).await;
    assert_eq!(asked.lock().expect("unpoisoned").last(), Some(&30), "no more than there is room for");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_fails_leaves_the_rest_cold() {
    let cache = EntityCache::<Thing>::new(&Caching { entities: 100, warm: 50, ..Caching::OFF });
    assert_eq!(cache.warm(|_, _| ready(Err("away"))).await, 0);
    let thing = Thing { id: Uuid::now_v7(), edition: 1, is_settled: true };
    let read = cache.read(&[thing.id], async |_| Ok::<_, Infallible>(vec![thing])).await.expect("readable");
    assert_eq!(*read[0], thing);
}
