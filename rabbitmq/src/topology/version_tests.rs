//! What versions of events mean for the topology.

use vostro_messaging::{EventSelector, versions};

use super::Topology;
use super::check::check;
use super::samples::{manifest, subscription};

const ONE: &str = "account.account-updated.v1";
const TWO: &str = "account.account-updated.v2";

fn problem(published: &'static [&'static str], taken: &'static [&'static str]) -> Option<String> {
    let taking = vec![subscription("a", "s", EventSelector::Types(taken))];
    let manifests = [manifest("account", published, vec![]), manifest("a", &[], taking)];
    check(&manifests).err().map(|invalid| invalid.problem)
}

#[test]
fn a_version_is_not_retired_while_somebody_takes_it() {
    assert_eq!(problem(&[ONE, TWO], &[ONE]), None);
    assert_eq!(problem(&[ONE, TWO], &[TWO]), None);
    assert_eq!(problem(&[TWO], &[TWO]), None);
    let refused = problem(&[TWO], &[ONE]).expect("somebody takes the first version");
    assert!(refused.contains("account.account-updated.v1, which is published no more"), "{refused}");
    assert!(refused.contains("let it take account.account-updated.v2"), "{refused}");
}

#[test]
fn an_event_is_taken_in_one_version_and_published_in_two_at_most() {
    let refused = problem(&[ONE, TWO], &[ONE, TWO]).expect("two versions of one event");
    assert!(refused.contains("name the newest one"), "{refused}");
    for versions in [&["account.x.v1", "account.x.v2", "account.x.v3"][..], &["account.x.v1", "account.x.v3"]] {
        let manifest = manifest("account", versions, vec![]);
        assert!(versions::check_published(&manifest).is_err(), "{versions:?}");
    }
}

#[test]
fn earlier_versions_stay_bound_to_whoever_takes_the_newest() {
    let taking = vec![subscription("a", "s", EventSelector::Types(&[TWO]))];
    let manifests = [manifest("account", &[TWO], vec![]), manifest("a", &[], taking)];
    let topology = Topology::of(&manifests).expect("valid");
    let keys: Vec<&str> = topology
        .bindings
        .iter()
        .filter(|binding| binding.queue == "q.a.s")
        .map(|binding| binding.routing_key.as_str())
        .collect();
    assert_eq!(keys, ["account.account-updated.v1.#", "account.account-updated.v2.#"]);
}
