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

/// Which event is stored under which key.
pub type Known = HashMap<Key, Uuid>;

/// What a batch brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Indexes of the events to store, in the order of the batch.
    pub fresh: Vec<usize>,
    /// Those of them whose predecessor is neither stored nor in the batch.
    pub orphans: Vec<Orphan>,
}

/// An event that came before the event before it.
pub type Orphan = Key;

/// Another event is stored under the same key: the producer numbered two events alike, or gave one event two ids.
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
pub fn sort(batch: &[(Key, Uuid)], known: &Known) -> Result<Intake, Conflict> {
    let mut seen: Known = HashMap::with_capacity(batch.len());
    let mut fresh = Vec::with_capacity(batch.len());
    for (index, (key, event)) in batch.iter().enumerate() {
        match known.get(key).or_else(|| seen.get(key)) {
            Some(stored) if stored == event => {}
            Some(stored) => return Err(Conflict { event: *event, stored: *stored, sequence: key.sequence }),
            None => {
                seen.insert(*key, *event);
                fresh.push(index);
            }
        }
    }
    let mut reported = HashSet::new();
    let orphans = fresh
        .iter()
        .map(|index| batch[*index].0)
        .filter(|key| key.before().is_some_and(|before| !known.contains_key(&before) && !seen.contains_key(&before)))
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
    fn event(aggregate: u128, sequence: i64) -> (Key, Uuid) {
        (key(aggregate, sequence), Uuid::from_u128(aggregate << 64 | u128::from(sequence.unsigned_abs())))
    }

    #[test]
    fn a_repeated_event_is_stored_once_wherever_its_first_copy_is() {
        let known = Known::from([event(1, 1)]);
        let intake = sort(&[event(1, 1), event(1, 2), event(1, 2)], &known).expect("no conflict");
        assert_eq!(intake, Intake { fresh: vec![1], orphans: vec![] });
    }

    #[test]
    fn another_event_with_the_same_number_is_a_conflict() {
        let (taken, stored) = event(1, 1);
        let other = Uuid::from_u128(99);
        let conflict = Conflict { event: other, stored, sequence: 1 };
        assert_eq!(sort(&[(taken, other)], &Known::from([(taken, stored)])), Err(conflict));
        assert_eq!(sort(&[(taken, stored), (taken, other)], &Known::new()), Err(conflict));
    }

    #[test]
    fn an_event_without_its_predecessor_is_an_orphan() {
        let batch = [event(1, 1), event(2, 2), event(3, 3), event(3, 2), event(4, 5)];
        let intake = sort(&batch, &Known::from([event(4, 4)])).expect("no conflict");
        assert_eq!(intake.orphans, [key(2, 2), key(3, 2)]);
    }

    proptest! {
        #[test]
        fn whatever_the_order_and_the_batches_every_event_is_stored_once_and_no_gap_stays(
            order in Just((1..=12_i64).flat_map(|n| [event(1, n), event(2, n), event(1, n)]).collect::<Vec<_>>()).prop_shuffle(),
            size in 1_usize..10,
        ) {
            let mut known = Known::new();
            let mut open = HashSet::new();
            let mut stored = 0;
            for batch in order.chunks(size) {
                let intake = sort(batch, &known).expect("no conflict");
                for index in &intake.fresh {
                    let (key, id) = batch[*index];
                    known.insert(key, id);
                    open.remove(&Key { sequence: key.sequence + 1, ..key });
                }
                stored += intake.fresh.len();
                open.extend(intake.orphans);
                for key in &open {
                    prop_assert!(!known.contains_key(&key.before().expect("orphans are not first")));
                }
            }
            prop_assert_eq!(stored, 24);
            prop_assert!(open.is_empty());
        }
    }
}
