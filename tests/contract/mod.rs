//! What modules, brokers and clients rely on, and what is generated from it.

mod asyncapi;
mod metrics;

use std::collections::BTreeSet;
use std::path::Path;

use vostro::app;
use vostro_events::catalog;
use vostro_messaging::EventSelector;
use vostro_rabbitmq::Topology;

#[test]
fn every_event_is_published_by_the_module_that_owns_it_and_by_no_other() {
    for manifest in app::manifests() {
        let owned: BTreeSet<&str> =
            catalog().iter().filter(|event| event.module() == manifest.module).map(|event| event.event_type).collect();
        let published: BTreeSet<&str> = manifest.publishes.iter().copied().collect();
        assert_eq!(published, owned, "{}", manifest.module);
    }
}

#[test]
fn whoever_subscribes_to_an_event_subscribes_to_one_that_exists() {
    let known: BTreeSet<&str> = catalog().iter().map(|event| event.event_type).collect();
    for subscription in app::manifests().into_iter().flat_map(|manifest| manifest.subscribes) {
        if let EventSelector::Types(types) = subscription.events {
            for event_type in types {
                assert!(known.contains(event_type), "{} subscribes to {event_type}", subscription.group());
            }
        }
    }
}

#[test]
fn the_committed_definitions_are_what_the_manifests_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rabbitmq/definitions.json");
    let committed = std::fs::read_to_string(&path).expect("rabbitmq/definitions.json exists");
    let generated = Topology::of(&app::manifests()).expect("the manifests agree").definitions("vostro");
    assert_eq!(committed.trim(), generated.trim(), "stale: run `make gen`");
}

#[test]
fn the_event_map_in_the_documentation_is_what_the_manifests_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let committed = std::fs::read_to_string(&path).expect("docs/events.md exists");
    let generated = vostro_rabbitmq::topology::event_flow(&app::manifests());
    assert!(committed.contains(generated.trim()), "stale: run `make gen`");
}
