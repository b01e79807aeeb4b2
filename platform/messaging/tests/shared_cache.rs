//! What instances share in a Redis, and what they do without it.

use std::time::Duration;

use redis::AsyncCommands as _;
use tokio::time::timeout;
use uuid::Uuid;
use vostro_messaging::{Caching, Entity, EntityCache, SharedEntity, SharedStore};
use vostro_testkit::{Redis, eventually};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thing<const FORM: u16> {
    id: Uuid,
    is_settled: bool,
}

impl<const FORM: u16> Entity for Thing<FORM> {
    const NAME: &'static str = "things";

    fn id(&self) -> Uuid {
        self.id
    }

    fn edition(&self) -> i64 {
        1
    }

    fn is_settled(&self) -> bool {
        self.is_settled
    }
}

impl<const FORM: u16> SharedEntity for Thing<FORM> {
    const FORM: u16 = FORM;

    fn write(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn read(written: &[u8]) -> Option<Self> {
        Some(Self { id: Uuid::from_slice(written).ok()?, is_settled: true })
    }
}

fn settled() -> Thing<1> {
    Thing { id: Uuid::now_v7(), is_settled: true }
}

#[derive(Debug)]
struct DatabaseAsked;

/// One of the bank's instances on a Redis.
struct Instance {
    store: SharedStore,
}

impl Instance {
    fn on(redis: &Redis) -> Self {
        Self::with_secret(redis, "a secret of the bank")
    }

    fn with_secret(redis: &Redis, secret: &str) -> Self {
        Self { store: SharedStore::new(&redis.url(), secret, Duration::from_secs(60)).expect("an address") }
    }

    /// A cache that has kept nothing itself.
    fn cache<const FORM: u16>(&self) -> EntityCache<Thing<FORM>> {
        let shared = Some(self.store.clone());
        EntityCache::sharing(&Caching { entities: 100, shared, ..Caching::OFF })
    }

    /// What is read when the database has these.
    async fn read(&self, things: &[Thing<1>]) -> Vec<Thing<1>> {
        let ids: Vec<Uuid> = things.iter().map(Entity::id).collect();
        let ask = async |missing: Vec<Uuid>| {
            Ok::<_, DatabaseAsked>(things.iter().copied().filter(|thing| missing.contains(&thing.id)).collect())
        };
        let read = self.cache().read(&ids, ask).await.expect("readable");
        read.into_iter().map(|thing| *thing).collect()
    }

    /// What is read without a database.
    async fn find<const FORM: u16>(&self, id: Uuid) -> Result<Thing<FORM>, DatabaseAsked> {
        let found = self.cache().read(&[id], async |_| Err(DatabaseAsked)).await?;
        Ok(*found[0])
    }

    /// Waits until these things were read here and are found without a database by `other`.
    async fn shares(&self, things: &[Thing<1>], other: &Self) {
        for thing in things {
            eventually("what one instance has read is found by another", || async {
                self.read(things).await;
                other.find::<1>(thing.id).await.ok()
            })
            .await;
        }
    }
}

fn name(thing: &Thing<1>) -> String {
    format!("vostro:things:1:{}", thing.id.simple())
}

async fn connection(redis: &Redis) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(redis.url()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("it listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_has_read_another_need_not_and_only_what_is_settled_is_there_for_a_time() {
    let redis = Redis::start().await;
    let (here, there) = (Instance::on(&redis), Instance::on(&redis));
    let (thing, moving) = (settled(), Thing { is_settled: false, ..settled() });
    eventually("what one instance has read is found by another", || async {
        here.read(&[thing, moving]).await;
        there.find(thing.id).await.ok().filter(|found| *found == thing)
    })
    .await;
    assert!(there.find::<1>(moving.id).await.is_err());
    let mut redis = connection(&redis).await;
    let names: Vec<String> = redis.keys("*").await.expect("an answer");
    assert_eq!(names, [name(&thing)]);
    let seconds: i64 = redis.ttl(&names[0]).await.expect("an answer");
    assert!((1..=60).contains(&seconds), "{seconds}");
    let value: Vec<u8> = redis.get(&names[0]).await.expect("an answer");
    assert!(!value.windows(16).any(|part| part == thing.id.as_bytes()), "it is sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bank_did_not_write_under_this_name_is_not_believed_and_replaced() {
    let redis = Redis::start().await;
    let (here, there) = (Instance::on(&redis), Instance::on(&redis));
    let (thing, other) = (settled(), settled());
    here.shares(&[thing, other], &there).await;
    let mut connection = connection(&redis).await;
    let others: Vec<u8> = connection.get(name(&other)).await.expect("an answer");
    let mut cut = others.clone();
    cut.pop();
    for wrong in [Vec::new(), b"garbage".to_vec(), vec![0; 100], cut, others] {
        // What was read before may still be on its way there.
        eventually("it is not believed", || async {
            let _: () = connection.clone().set(name(&thing), &wrong).await.expect("an answer");
            there.find::<1>(thing.id).await.is_err().then_some(())
        })
        .await;
        assert_eq!(there.read(&[thing]).await, [thing]);
        here.shares(&[thing], &there).await;
    }
    let stranger = Instance::with_secret(&redis, "another secret");
    assert!(stranger.find::<1>(thing.id).await.is_err());
    assert_eq!(stranger.read(&[thing]).await, [thing]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_does_not_find_what_another_wrote_in_its_own_form() {
    let redis = Redis::start().await;
    let (here, there) = (Instance::on(&redis), Instance::on(&redis));
    let thing = settled();
    here.shares(&[thing], &there).await;
    assert!(there.find::<2>(thing.id).await.is_err());
    here.shares(&[thing], &there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_read_while_redis_is_away_or_hangs_and_found_there_when_it_is_back() {
    /// Many more than answers are waited for before nobody asks Redis.
    const READS: usize = 300;
    const LIMIT: Duration = Duration::from_secs(30);
    let mut redis = Redis::start().await;
    let (here, there) = (Instance::on(&redis), Instance::on(&redis));
    let read_on = async || {
        for _ in 0..READS {
            let thing = settled();
            assert_eq!(there.read(&[thing]).await, [thing]);
        }
    };
    here.shares(&[settled()], &there).await;
    redis.kill();
    timeout(LIMIT, read_on()).await.expect("readers do not wait for a Redis that is away");
    redis.restart().await;
    here.shares(&[settled()], &there).await;
    redis.hang();
    timeout(LIMIT, read_on()).await.expect("readers do not wait for a Redis that hangs");
    redis.go_on();
    here.shares(&[settled()], &there).await;
}

#[tokio::test]
async fn nothing_is_read_from_or_written_to_redis_when_nothing_is_kept() {
    let redis = Redis::start().await;
    let instance = Instance::on(&redis);
    let thing = settled();
    instance.shares(&[thing], &instance).await;
    let off = EntityCache::<Thing<1>>::sharing(&Caching { shared: Some(instance.store.clone()), ..Caching::OFF });
    assert!(off.read(&[thing.id], async |_| Err(DatabaseAsked)).await.is_err());
    let unseen = settled();
    off.read(&[unseen.id], async |_| Ok::<_, DatabaseAsked>(vec![unseen])).await.expect("readable");
    instance.shares(&[settled()], &instance).await;
    assert!(instance.find::<1>(unseen.id).await.is_err());
}
