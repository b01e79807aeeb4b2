//! Manifests for the tests of the topology.

use std::time::Duration;

use vostro_messaging::{EventSelector, InboxMode, Manifest, Subscription};

pub(super) fn subscription(module: &'static str, name: &'static str, events: EventSelector) -> Subscription {
    Subscription { module, name, events, batch: 64, linger: Duration::ZERO, inbox: InboxMode::Rows }
}

pub(super) fn manifest(
    module: &'static str,
    publishes: &'static [&'static str],
    subscribes: Vec<Subscription>,
) -> Manifest {
    Manifest { publishes, subscribes, ..vostro_testkit::manifest(module) }
}

/// Two modules and an observer of everything.
pub(super) fn manifests() -> Vec<Manifest> {
    let registered = EventSelector::Types(&["auth.user-registered.v1"]);
    vec![
        manifest("auth", &["auth.user-registered.v1", "auth.user-updated.v1"], vec![]),
        manifest("account", &["account.account-created.v1"], vec![subscription("account", "customers", registered)]),
        manifest("compliance", &[], vec![subscription("compliance", "audit", EventSelector::All)]),
    ]
}

/// account answers two questions, auth asks one of them.
pub(super) fn with_questions() -> Vec<Manifest> {
    let mut manifests = manifests();
    manifests[0].calls = &["account.double.v1"];
    manifests[1].serves = &["account.double.v1", "account.half.v1"];
    manifests
}
