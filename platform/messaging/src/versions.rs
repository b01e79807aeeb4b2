//! What manifests say about versions of events, checked before anything is made of them: by the tests, by the generator and
//! at every start.

use std::collections::{BTreeMap, BTreeSet};

use vostro_events::{EventType, reads_all_history};

use crate::Manifest;

/// One copy of an event is the newer one of two. With three versions at once nobody could tell which of them are there.
const MOST_PUBLISHED: usize = 2;

/// At most two versions of each event are published, and they follow one another.
///
/// # Errors
/// What is wrong, for whoever wrote the manifest.
pub fn check_published(manifest: &Manifest) -> Result<(), String> {
    for (event, majors) in by_event(manifest.publishes) {
        let (first, last) = (majors.first().copied().unwrap_or_default(), majors.last().copied().unwrap_or_default());
        if majors.len() > MOST_PUBLISHED || usize::from(last - first) + 1 != majors.len() {
            return Err(format!(
                "it publishes the versions {majors:?} of {event}; two that follow one another are the most"
            ));
        }
    }
    Ok(())
}

/// Each event that is taken is published, taken in one version, and read in all that were ever released.
///
/// # Errors
/// What is wrong, to be continued after "subscribes to".
pub fn check_taken(types: &[&'static str], published: &BTreeSet<&str>) -> Result<(), String> {
    if let Some((event, majors)) = by_event(types).into_iter().find(|(_, majors)| majors.len() > 1) {
        return Err(format!("the versions {majors:?} of {event}; name the newest one, it reads the others"));
    }
    for event_type in types {
        if !published.contains(event_type) {
            return Err(unpublished(event_type, published));
        }
        reads_all_history(event_type).map_err(|missing| format!("{event_type}, and {missing}"))?;
    }
    Ok(())
}

fn unpublished(event_type: &'static str, published: &BTreeSet<&str>) -> String {
    let taken = EventType::of(event_type);
    let other = published.iter().filter_map(|other| EventType::parse(other).ok());
    match other.filter(|other| other.event() == taken.event()).max_by_key(EventType::major) {
        Some(other) if other.major() > taken.major() => format!(
            "{event_type}, which is published no more: let it take {other}, or its owner publish both until it does"
        ),
        _ => format!("{event_type}, which no module publishes"),
    }
}

fn by_event(types: &[&'static str]) -> BTreeMap<String, BTreeSet<u16>> {
    let mut events: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for event_type in types {
        let event_type = EventType::of(event_type);
        events.entry(event_type.event().to_owned()).or_default().insert(event_type.major());
    }
    events
}
