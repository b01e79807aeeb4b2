use std::collections::{HashMap, HashSet};

use uuid::Uuid;

/// An event's number in its aggregate: what makes it the same event when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub aggregate_id: Uuid,
    /// The code of the stream: module and kind of aggregate.
    pub stream: i16,
    /// From 1 without gaps.
    pub sequence: i64,
}

impl Key {
    /// The event before this one in its aggregate; the first has none.
    pub const fn before(self) -> Option<Self> {
        if self.sequence > 1 { Some(Self { sequence: self.sequence - 1, ..self }) } else { None }
    }
}

/// Which event it is, whatever the version, and which version of it: codes of event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The same for all major versions of an event.
    pub event: i16,
    pub event_type: i16,
}

/// An event with what tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    pub key: Key,
    pub event_id: Uuid,
    pub kind: Kind,
}

/// Which events are stored under which key. A key has one event, and a copy of it for each further major version that its
/// producer publishes beside the first.
#[derive(Debug, Default, Clone)]
pub struct Known {
    first: HashMap<Key, (Uuid, Kind)>,
    copies: HashMap<(Key, i16), Uuid>,
}

impl Known {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { first: HashMap::with_capacity(capacity), copies: HashMap::new() }
    }

    pub fn insert(&mut self, event: &Numbered) {
        let Numbered { key, event_id, kind } = *event;
        let (_, first) = *self.first.entry(key).or_insert((event_id, kind));
        if first != kind {
            self.copies.insert((key, kind.event_type), event_id);
        }
    }

    /// Whether the event is there, in any version.
    pub fn contains(&self, key: &Key) -> bool {
        self.first.contains_key(key)
    }

    fn has_version(&self, key: &Key, event_type: i16) -> bool {
        let first = self.first.get(key).is_some_and(|(_, kind)| kind.event_type == event_type);
        first || self.copies.contains_key(&(*key, event_type))
    }

    /// The event in the place that this one would take: itself, or one that it contradicts.
    fn in_place_of(&self, event: &Numbered) -> Option<Uuid> {
        let (first, kind) = *self.first.get(&event.key)?;
        if kind != event.kind && kind.event == event.kind.event {
            return self.copies.get(&(event.key, event.kind.event_type)).copied();
        }
        Some(first)
    }
}

impl FromIterator<Numbered> for Known {
    fn from_iter<I: IntoIterator<Item = Numbered>>(events: I) -> Self {
        let mut known = Self::default();
        events.into_iter().for_each(|event| known.insert(&event));
        known
    }
}

/// What a batch brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Indexes of the events to store, in the order of the batch.
    pub fresh: Vec<usize>,
    /// Those of them whose predecessor is neither stored nor in the batch.
    pub orphans: Vec<Orphan>,
}

impl Intake {
    /// Indexes of those new events that are of these versions of one event, each event once: in the version that came first.
    /// What is acted upon in one version must not be acted upon again in another.
    pub fn first_of(&self, versions: &[i16], batch: &[Numbered], known: &Known) -> Vec<usize> {
        let mut seen = HashSet::new();
        let is_first = |index: &usize| {
            let Numbered { key, kind, .. } = &batch[*index];
            versions.contains(&kind.event_type)
                && !versions.iter().any(|version| known.has_version(key, *version))
                && (versions.len() == 1 || seen.insert(*key))
        };
        self.fresh.iter().copied().filter(is_first).collect()
    }
}

/// An event that came before the event before it.
pub type Orphan = Key;

/// Another event is stored under the same key, and it is no other version of this one: the producer numbered two events
/// alike, or gave one event two ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {stored} is already stored as number {sequence} of this aggregate")]
pub struct Conflict {
    pub event: Uuid,
    pub stored: Uuid,
    pub sequence: i64,
}

/// Tells new events from repeated ones and finds the gaps they leave. `known` holds whatever is stored of the batch's own
/// keys and of their predecessors.
///
/// # Errors
/// [`Conflict`] for the first event that contradicts what is stored, or an earlier event of the batch.
pub fn sort(batch: &[Numbered], known: &Known) -> Result<Intake, Conflict> {
    let mut seen = Known::with_capacity(batch.len());
    let mut fresh = Vec::with_capacity(batch.len());
    for (index, event) in batch.iter().enumerate() {
        // The two hold different versions of an event when one of them came in an earlier batch.
        match known.in_place_of(event).or_else(|| seen.in_place_of(event)) {
            Some(stored) if stored == event.event_id => {}
            Some(stored) => {
                return Err(Conflict { event: event.event_id, stored, sequence: event.key.sequence });
            }
            None => {
                seen.insert(event);
                fresh.push(index);
            }
        }
    }
    let mut reported = HashSet::new();
    let orphans = fresh
        .iter()
        .map(|index| batch[*index].key)
        // A further version of an event that is stored leaves no gap that is not known already.
        .filter(|key| !known.contains(key))
        .filter(|key| key.before().is_some_and(|before| !known.contains(&before) && !seen.contains(&before)))
        .filter(|key| reported.insert(*key))
        .collect();
    Ok(Intake { fresh, orphans })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(aggregate: u128, sequence: i64) -> Key {
        Key { aggregate_id: Uuid::from_u128(aggregate), stream: 1, sequence }
    }

    /// Event `sequence` of an aggregate, with an id that follows from both.
    fn event(aggregate: u128, sequence: i64) -> Numbered {
        let event_id = Uuid::from_u128(aggregate << 64 | u128::from(sequence.unsigned_abs()));
        Numbered { key: key(aggregate, sequence), event_id, kind: Kind { event: 7, event_type: 7 } }
    }

    fn known(events: &[Numbered]) -> Known {
        events.iter().copied().collect()
    }

    /// The same event in its second version: an event of its own to brokers and inboxes.
    fn second_version(of: Numbered) -> Numbered {
        let event_id = Uuid::from_u128(of.event_id.as_u128() | 1 << 127);
        Numbered { event_id, kind: Kind { event_type: 8, ..of.kind }, ..of }
    }

    #[test]
    fn a_repeated_event_is_stored_once_wherever_its_first_copy_is() {
        let known = known(&[event(1, 1)]);
        let intake = sort(&[event(1, 1), event(1, 2), event(1, 2)], &known).expect("no conflict");
        assert_eq!(intake, Intake { fresh: vec![1], orphans: vec![] });
    }

    #[test]
    fn another_event_with_the_same_number_is_a_conflict() {
        let stored = event(1, 1);
        let other = Numbered { event_id: Uuid::from_u128(99), ..stored };
        let conflict = Conflict { event: other.event_id, stored: stored.event_id, sequence: 1 };
        assert_eq!(sort(&[other], &known(&[stored])), Err(conflict));
        assert_eq!(sort(&[stored, other], &Known::default()), Err(conflict));
        let of_another_type = Numbered { kind: Kind { event: 9, event_type: 9 }, ..other };
        assert_eq!(sort(&[of_another_type], &known(&[stored])), Err(conflict));
    }

    #[test]
    fn two_versions_of_an_event_share_its_number_and_each_is_stored_once() {
        let (one, two) = (event(1, 1), second_version(event(1, 1)));
        for (batch, stored, fresh) in [
            (vec![one, two, two, one], vec![], vec![0, 1]),
            (vec![two, one], vec![], vec![0, 1]),
            (vec![two], vec![one], vec![0]),
            (vec![one], vec![two], vec![0]),
            (vec![two, one], vec![one, two], vec![]),
            (vec![one, two], vec![two, one], vec![]),
        ] {
            let intake = sort(&batch, &known(&stored)).expect("no conflict");
            assert_eq!(intake, Intake { fresh, orphans: vec![] }, "{batch:?} after {stored:?}");
        }
        let another = Numbered { event_id: Uuid::from_u128(99), ..two };
        let conflict = Conflict { event: another.event_id, stored: two.event_id, sequence: 1 };
        assert_eq!(sort(&[another], &known(&[one, two])), Err(conflict));
        assert_eq!(sort(&[one, two, another], &Known::default()), Err(conflict));
    }

    #[test]
    fn either_version_is_the_predecessor_and_a_gap_is_opened_once() {
        let second = |sequence| second_version(event(1, sequence));
        let intake = sort(&[second(1), event(1, 2), second(3)], &Known::default()).expect("no conflict");
        assert_eq!(intake.orphans, []);
        let intake = sort(&[event(1, 5), second(5)], &Known::default()).expect("no conflict");
        assert_eq!(intake.orphans, [key(1, 5)]);
        let intake = sort(&[second(5)], &known(&[event(1, 5)])).expect("no conflict");
        assert_eq!(intake, Intake { fresh: vec![0], orphans: vec![] });
    }

    #[test]
    fn whoever_acts_on_events_meets_each_once_in_whichever_versions_it_comes() {
        let (one, two) = (event(1, 1), second_version(event(1, 1)));
        let of_another_event = Numbered { kind: Kind { event: 9, event_type: 9 }, ..event(2, 1) };
        for (batch, stored, versions, first) in [
            (vec![one, two], vec![], &[7, 8][..], vec![0]),
            (vec![two, one, two], vec![], &[7, 8], vec![0]),
            (vec![two], vec![one], &[7, 8], vec![]),
            (vec![one], vec![two], &[7, 8], vec![]),
            // Who knows one version only must not miss it because another came first.
            (vec![two, one], vec![], &[7], vec![1]),
            (vec![one], vec![two], &[7], vec![0]),
            (vec![one], vec![one], &[7], vec![]),
            (vec![of_another_event, one], vec![], &[7, 8], vec![1]),
            (vec![one, second_version(event(1, 2))], vec![], &[7, 8], vec![0, 1]),
        ] {
            let known = known(&stored);
            let intake = sort(&batch, &known).expect("no conflict");
            assert_eq!(intake.first_of(versions, &batch, &known), first, "{batch:?} after {stored:?} in {versions:?}");
        }
    }

    #[test]
    fn an_event_without_its_predecessor_is_an_orphan() {
        let batch = [event(1, 1), event(2, 2), event(3, 3), event(3, 2), event(4, 5)];
        let intake = sort(&batch, &known(&[event(4, 4)])).expect("no conflict");
        assert_eq!(intake.orphans, [key(2, 2), key(3, 2)]);
    }

    proptest! {
        #[test]
        fn whatever_the_order_and_the_batches_every_event_is_stored_once_and_no_gap_stays(
            order in Just((1..=12_i64).flat_map(|n| [event(1, n), event(2, n), event(1, n), second_version(event(2, n))]).collect::<Vec<_>>()).prop_shuffle(),
            size in 1_usize..10,
        ) {
            let mut known = Known::default();
            let mut open = HashSet::new();
            let mut stored = 0;
            for batch in order.chunks(size) {
                let intake = sort(batch, &known).expect("no conflict");
                for index in &intake.fresh {
                    let key = batch[*index].key;
                    known.insert(&batch[*index]);
                    open.remove(&Key { sequence: key.sequence + 1, ..key });
                }
                stored += intake.fresh.len();
                open.extend(intake.orphans);
                for key in &open {
                    prop_assert!(!known.contains(&key.before().expect("orphans are not first")));
                }
            }
            prop_assert_eq!(stored, 36);
            prop_assert!(open.is_empty());
        }
    }
}
