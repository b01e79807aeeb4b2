use std::time::Duration;

use vostro_events::command::CommandRefusedV1;
use vostro_events::compliance::{ComplianceEvidenceAttachedV1, ComplianceViolationDetectedV1};
use vostro_events::query::account::CLAIM;
use vostro_messaging::{EventSelector, InboxMode, Manifest, Subscription};

/// The module's name: its folder, its schema, its exchange.
pub(crate) const MODULE: &str = "compliance";

/// Everything anybody tells, this module's own events included.
pub(crate) const ARCHIVE: Subscription = Subscription {
    module: MODULE,
    name: "archive",
    events: EventSelector::All,
    batch: 1000,
    linger: Duration::from_millis(50),
    // The event store knows what it has stored; an inbox would be a second copy of its keys.
    inbox: InboxMode::Handler,
};

/// What compliance is to the other modules. Nobody needs it to work, and it needs nobody.
pub fn manifest() -> Manifest {
    Manifest {
        module: MODULE,
        version: env!("CARGO_PKG_VERSION"),
        purpose: "Keeps every event once, in a chain that shows tampering, and looks at them with its rules.",
        publishes: &[
            ComplianceViolationDetectedV1::TYPE,
            ComplianceEvidenceAttachedV1::TYPE,
            CommandRefusedV1::TYPES[4],
            "compliance.operator-acted.v1",
        ],
        claimed: &[],
        subscribes: vec![ARCHIVE],
        // The archive is complete by itself: what did not travel with an event is stored with it.
        calls: &[CLAIM],
        serves: &[],
        depends_on: &[],
        publish_linger: Duration::from_millis(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_its_events_is_published_and_nothing_else() {
        let declared: Vec<_> = vostro_events::catalog()
            .into_iter()
            .map(|event| event.event_type)
            .filter(|event_type| event_type.split('.').next() == Some(MODULE))
            .collect();
        assert_eq!(declared, manifest().publishes);
    }

    #[test]
    fn the_archive_takes_what_this_release_does_not_know() {
        assert!(ARCHIVE.takes("card.card-issued.v7"));
    }
}
