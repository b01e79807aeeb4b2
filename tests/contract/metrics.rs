//! What rules and dashboards ask for is what a running bank shows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use vostro::client::Connection;
use vostro_testkit::Redis;

use crate::support::{Person, Staff, World};

/// What there is only after something has gone wrong, or has been used that this test leaves alone. That the bank has
/// them at all is what `scripts/tests/monitoring_test.sh` looks at.
const LATER: [&str; 7] = [
    "vostro_certificate_expiry_timestamp_seconds",
    "vostro_commands_turned_away_total",
    "vostro_lease_takeovers_total",
    "vostro_parked_total",
    "vostro_rpc_breaker_state",
    "vostro_rpc_calls_total",
    "vostro_spans_total",
];

fn files() -> Vec<PathBuf> {
    let monitoring = Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring");
    let dashboards = std::fs::read_dir(monitoring.join("grafana/provisioning/dashboards")).expect("the folder exists");
    let dashboards = dashboards.map(|entry| entry.expect("readable").path());
    let dashboards = dashboards.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    dashboards.chain([monitoring.join("rules.yml")]).collect()
}

/// The bank's own metrics in a text, without what Prometheus adds to the name of a histogram.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_lowercase() && character != '_');
    let ours = words.filter(|word| word.starts_with("vostro_"));
    let base = |word: &str| {
        let suffix = ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| word.strip_suffix(suffix));
        suffix.unwrap_or(word).to_owned()
    };
    ours.map(base).collect()
}

#[test]
fn names_are_found_with_and_without_suffixes() {
    let text = "rate(vostro_a_seconds_bucket[5m]) / \"vostro_b_total{x=\\\"vostro\\\"}\" rabbitmq_c";
    assert_eq!(names_in(text), ["vostro_a_seconds", "vostro_b_total"].map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_rules_and_dashboards_ask_for_is_shown_by_a_running_bank() {
    let mut wanted = BTreeSet::new();
    for path in files() {
        let names = names_in(&std::fs::read_to_string(&path).expect("readable"));
        assert!(names.len() > 10, "{}: {names:?}", path.display());
        wanted.extend(names);
    }
    let stale: Vec<_> = LATER.iter().filter(|name| !wanted.contains(**name)).collect();
    assert!(stale.is_empty(), "nobody asks for {stale:?}");
    let (mut world, redis) = (World::create().await, Redis::start().await);
    world.config.cache.redis_url = Some(redis.url().into());
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    let ada = Person::with_money(&world, &staff, "ada", "10.00").await;
    let bob = Person::join(&world, "bob").await;
    let read = "query Read($id: ID!) { transaction(id: $id) { status } }";
    let mut connection = Connection::open(bank.address()).await.expect("the bank listens");
    let deadline = Instant::now() + Duration::from_secs(120);
    for number in 0.. {
        // What a slow machine has not left in Redis in time is not left there later: each time another payment is read.
        let paid = ada.transfer(&format!("shown-{number}"), &bob.account, "0.01").await;
        ada.connection().await.data(read, json!({"id": paid["transaction"]["id"]})).await.expect("an answer");
        let (_, page) = connection.get("/metrics").await.expect("an answer");
        let page = std::str::from_utf8(&page).expect("text");
        let is_shown = |name: &&String| page.contains(&format!("# TYPE {name} ")) || LATER.contains(&name.as_str());
        let missing: Vec<_> = wanted.iter().filter(|name| !is_shown(name)).collect();
        let mut written = page.lines().filter(|line| line.starts_with("vostro_cache_shared_writes_total{"));
        let is_shared = written.any(|line| line.contains("\"written\"") && !line.ends_with(" 0"));
        if missing.is_empty() && is_shared {
            break;
        }
        assert!(Instant::now() < deadline, "not shown within two minutes: {missing:?}; in Redis: {is_shared}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bank.stop().await;
}
