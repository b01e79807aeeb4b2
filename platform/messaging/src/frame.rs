use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::OutboxRow;

/// One message on the wire: one or more events with the same routing key.
///
/// A quorum-queue message costs the machine 60–110 µs whatever is in it; under load the relay finds many events of the
/// same type and lane waiting and sends them as one CloudEvents batch. A lone event travels alone, in binary mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub exchange: String,
    pub routing_key: String,
    pub event_type: String,
    /// The id of the first event; the broker's message id.
    pub message_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    /// The events in structured mode, in order. Never empty.
    pub events: Vec<Vec<u8>>,
    /// The outbox rows of the events, in the same order.
    pub rows: Vec<i64>,
}

/// At most this many events travel in one frame, so that one consumer transaction can take a frame whole.
const MOST_EVENTS: usize = 64;
/// A frame stays far below what the broker takes for a message; a single larger event still travels, alone.
const MOST_BYTES: usize = 48 * 1024;

/// Packs outbox rows (in id order) into as few frames as possible without changing the order of any aggregate.
///
/// Rows of different types and lanes go to different frames, so a row may only join the open frame of its routing key if
/// no later frame already holds an event of the same aggregate.
///
/// `lanes` is into how many lanes the slots are gathered on the wire: a slot travels in the lane `slot mod lanes`, which is
/// the last word of the routing key.
pub fn frames(module: &str, lanes: i16, rows: Vec<OutboxRow>) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut sizes: Vec<usize> = Vec::new();
    let mut open: HashMap<(String, i16), usize> = HashMap::new();
    let mut last_of_aggregate: HashMap<Uuid, usize> = HashMap::new();
    for row in rows {
        let key = (row.event_type, row.slot % lanes);
        let latest = last_of_aggregate.get(&row.aggregate_id).copied().unwrap_or(0);
        let joinable = open.get(&key).copied().filter(|index| {
            *index >= latest
                && frames[*index].events.len() < MOST_EVENTS
                && sizes[*index] + row.event.len() <= MOST_BYTES
        });
        let index = joinable.unwrap_or_else(|| {
            frames.push(Frame {
                exchange: format!("ev.{module}"),
                routing_key: format!("{}.s{:02}", key.0, key.1),
                event_type: key.0.clone(),
                message_id: row.event_id,
                occurred_at: row.occurred_at,
                events: Vec::new(),
                rows: Vec::new(),
            });
            sizes.push(0);
            open.insert(key, frames.len() - 1);
            frames.len() - 1
        });
        sizes[index] += row.event.len();
        frames[index].events.push(row.event);
        frames[index].rows.push(row.id);
        last_of_aggregate.insert(row.aggregate_id, index);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(id: i64, event_type: &str, slot: i16, aggregate: u128) -> OutboxRow {
        OutboxRow {
            id,
            event_id: Uuid::from_u128(u128::from(id.unsigned_abs())),
            event_type: event_type.to_owned(),
            slot,
            aggregate_id: Uuid::from_u128(aggregate),
            occurred_at: DateTime::UNIX_EPOCH,
            event: id.to_be_bytes().to_vec(),
        }
    }

    #[test]
    fn events_of_one_type_and_lane_share_a_frame() {
        let rows = vec![row(1, "a.x.v1", 0, 1), row(2, "a.x.v1", 1, 2), row(3, "a.x.v1", 2, 3)];
        let frames = frames("a", 2, rows);
        assert_eq!(frames.iter().map(|frame| frame.events.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(frames[0].routing_key, "a.x.v1.s00");
        assert_eq!(frames[0].exchange, "ev.a");
    }

    #[test]
    fn a_frame_is_bounded_in_events_and_bytes() {
        let many = (0..200).map(|id| row(id, "a.x.v1", 0, 7)).collect();
        assert!(frames("a", 2, many).iter().all(|frame| frame.events.len() <= MOST_EVENTS));
        let mut large = row(1, "a.x.v1", 0, 7);
        large.event = vec![b'x'; MOST_BYTES];
        assert_eq!(frames("a", 2, vec![large.clone(), large]).len(), 2);
    }

    proptest! {
        #[test]
        fn packing_loses_nothing_and_keeps_the_order_of_every_aggregate(
            shape in prop::collection::vec((0..3_usize, 0..2_i16, 0..4_u128), 0..300),
        ) {
            let types = ["a.x.v1", "a.y.v1", "a.z.v1"];
            let rows = shape.iter().zip(1..).map(|((kind, slot, aggregate), id)| {
                // An aggregate lives in one slot.
                row(id, types[*kind], slot + 2 * i16::try_from(aggregate % 2).expect("small"), *aggregate * 2 + slot.unsigned_abs() as u128)
            }).collect::<Vec<_>>();
            let aggregate_of = rows.iter().map(|row| (row.id, row.aggregate_id)).collect::<HashMap<_, _>>();
            let sent = frames("a", 2, rows.clone()).into_iter().flat_map(|frame| frame.events)
                .map(|bytes| i64::from_be_bytes(bytes.try_into().expect("eight bytes"))).collect::<Vec<_>>();
            prop_assert_eq!(sent.len(), rows.len());
            let mut last: HashMap<Uuid, i64> = HashMap::new();
            for id in sent {
                let previous = last.insert(aggregate_of[&id], id);
                prop_assert!(previous.is_none_or(|previous| previous < id));
            }
        }
    }
}
