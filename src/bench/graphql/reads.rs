use std::time::{Duration, Instant};

use anyhow::bail;
use hdrhistogram::Histogram;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vostro_schema::stitch::PLANS;

use super::stitching::THREE_MODULES;
use crate::bench::figures::{histogram, micros};
use crate::bench::scrape;
use crate::bench::setup::Town;
use crate::client::{Connection, documents};
use crate::config::Config;
use crate::demo::bar;

const ONE_ACCOUNT: &str = "query Account($id: ID!) { account(id: $id) { id number status owner { displayName }
  balance { posted { amount currency } available { amount } } } }";

/// What customers look at, through the public door, and how often the bank knew it already.
pub struct Reads {
    /// Microseconds from the request to the answer.
    pub took: Histogram<u64>,
    pub lasted: Duration,
    pub plans: HitRatio,
    /// `None` in a bank without a cache of entities.
    pub entities: Option<HitRatio>,
}

impl Reads {
    pub fn per_second(&self) -> u64 {
        self.took.len() * 1_000_000 / micros(self.lasted).max(1)
    }
}

/// How often something was found where it is remembered.
#[derive(Debug, Clone, Copy)]
pub struct HitRatio {
    pub hits: u64,
    pub misses: u64,
}

impl HitRatio {
    const fn since(self, before: Self) -> Self {
        Self { hits: self.hits.saturating_sub(before.hits), misses: self.misses.saturating_sub(before.misses) }
    }

    pub fn per_mille(self) -> u64 {
        self.hits * 1000 / (self.hits + self.misses).max(1)
    }
}

/// Of all that is kept.
const CACHES: &str = "vostro_cache_requests_total";
/// Tokens that were verified are kept too, and are no entities.
const TOKENS: &str = "cache=\"verified_tokens\",";

/// Customers read, each one thing after the other.
pub async fn reads(config: &Config, town: &Town, count: u32) -> anyhow::Result<Reads> {
    let mut observer = Connection::open(config.http.address).await?;
    let before = known(&mut observer).await?;
    let progress = bar("Customers look", usize::try_from(count)?);
    let each = count.div_ceil(u32::try_from(town.customers.len())?);
    let (mut looking, started) = (JoinSet::new(), Instant::now());
    for (token, accounts) in town.customers.clone() {
        let mut connection = Connection::open(config.http.address).await?;
        connection.log_in_with(&token);
        let progress = progress.clone();
        looking.spawn(async move {
            let mut took = histogram();
            for _ in 0..each {
                took.saturating_record(look(&mut connection, &accounts).await?);
                progress.inc(1);
            }
            anyhow::Ok(took)
        });
    }
    let mut took = histogram();
    while let Some(looked) = looking.join_next().await {
        took.add(looked??)?;
    }
    progress.finish();
    let lasted = started.elapsed();
    let [plans, entities] = known(&mut observer).await?;
    let entities = entities.since(before[1]);
    let entities = (entities.hits + entities.misses > 0).then_some(entities);
    Ok(Reads { took, lasted, plans: plans.since(before[0]), entities })
}

/// Plans and entities, since the bank began.
async fn known(observer: &mut Connection) -> anyhow::Result<[HitRatio; 2]> {
    let plans = ratio(observer, PLANS, "").await?;
    let (all, tokens) = (ratio(observer, CACHES, "").await?, ratio(observer, CACHES, TOKENS).await?);
    Ok([plans, all.since(tokens)])
}

/// Of the series whose labels begin so.
async fn ratio(observer: &mut Connection, name: &str, labels: &str) -> anyhow::Result<HitRatio> {
    let hits = scrape::counter(observer, name, &format!("{labels}result=\"hit\"")).await?;
    let misses = scrape::counter(observer, name, &format!("{labels}result=\"miss\"")).await?;
    Ok(HitRatio { hits, misses })
}

/// Of ten looks four are at an account, two at all of them, two at payments, one at its movements, one at what is new.
/// Returns how long the answer took, in microseconds.
async fn look(connection: &mut Connection, accounts: &[String]) -> anyhow::Result<u64> {
    let account = &accounts[rand::rng().random_range(0..accounts.len())];
    let (document, variables) = match rand::rng().random_range(0..10) {
        0..4 => (ONE_ACCOUNT, json!({"id": account})),
        4..6 => (documents::MY_ACCOUNTS, json!({"first": 10})),
        6..8 => (THREE_MODULES, json!({"first": 10})),
        8 => (documents::ENTRIES, json!({"account": account, "first": 10})),
        _ => (documents::MY_NOTIFICATIONS, json!({})),
    };
    loop {
        let started = Instant::now();
        let answer = connection.answer(document, variables.clone()).await?;
        let took = micros(started.elapsed());
        let Some(error) = answer["errors"].get(0) else { return Ok(took) };
        match retry_after(error) {
            // The customer's budget of points is spent for the moment.
            Some(wait) => tokio::time::sleep(wait).await,
            None => bail!("a read failed: {answer}"),
        }
    }
}

fn retry_after(error: &Value) -> Option<Duration> {
    let extensions = &error["extensions"];
    (extensions["code"] == "RATE_LIMITED")
        .then(|| Duration::from_millis(extensions["retryAfterMs"].as_u64().unwrap_or(100)))
}
