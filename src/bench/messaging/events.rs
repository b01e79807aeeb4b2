use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chrono::Utc;
use rand::RngCore as _;
use serde_json::value::RawValue;
use uuid::Uuid;
use vostro_events::{Cause, Envelope, EventType};
use vostro_kernel::ActorKind;
use vostro_messaging::{Foundation, NewEvent};

use super::ground::{ALSO_MEASURED, MEASURED};

/// How events are laid out for the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// An aggregate each, as most events of a bank: the relay puts as many into a frame as fit.
    Company,
    /// One aggregate whose events alternate between two types. Order forbids any two of them to share a frame, so that
    /// the same relay sends one event a message.
    Alone,
}

/// Makes events that carry their number, from 0.
pub struct Events {
    bytes: usize,
    layout: Layout,
    aggregate: Uuid,
    next: u64,
}

/// Event numbers are kept in this many low bits of the event's id.
const NUMBER_BITS: u32 = 40;

impl Events {
    /// Each with this many bytes of data.
    pub fn new(bytes: usize, layout: Layout) -> Self {
        Self { bytes, layout, aggregate: Uuid::now_v7(), next: 0 }
    }

    /// How many have been made.
    pub const fn made(&self) -> u64 {
        self.next
    }

    pub fn take(&mut self, count: u64) -> Vec<NewEvent> {
        (0..count).map(|_| self.one()).collect()
    }

    fn one(&mut self) -> NewEvent {
        let number = self.next;
        self.next += 1;
        let (aggregate_id, event_type) = match self.layout {
            Layout::Company => (Uuid::now_v7(), MEASURED),
            Layout::Alone if number.is_multiple_of(2) => (self.aggregate, MEASURED),
            Layout::Alone => (self.aggregate, ALSO_MEASURED),
        };
        let envelope = Envelope {
            id: id_of(number),
            event_type: EventType::of(event_type),
            occurred_at: Utc::now(),
            aggregate_type: "measurement".into(),
            aggregate_id,
            sequence: i64::try_from(number).unwrap_or(i64::MAX - 1) + 1,
            partition_key: aggregate_id,
            cause: Cause {
                correlation_id: aggregate_id,
                causation_id: aggregate_id,
                command: None,
                actor_kind: ActorKind::System,
                actor_id: None,
                traceparent: None,
            },
            dataref: None,
        };
        NewEvent::again(envelope, &data(self.bytes))
    }
}

/// A UUIDv7 with the number in its random part: the time and the version, then random bits, then the number.
fn id_of(number: u64) -> Uuid {
    const TIME_AND_VERSION: u128 = !0 << 76;
    const NUMBER: u128 = (1 << NUMBER_BITS) - 1;
    let (time, random) = (Uuid::now_v7().as_u128(), Uuid::new_v4().as_u128());
    Uuid::from_u128((time & TIME_AND_VERSION) | (random & !TIME_AND_VERSION & !NUMBER) | (u128::from(number) & NUMBER))
}

/// The number of the event with this id.
pub fn number_of(id: Uuid) -> u64 {
    u64::try_from(id.as_u128() & ((1 << NUMBER_BITS) - 1)).unwrap_or_default()
}

/// JSON of exactly this many bytes (at least 16). Random, because repetitions would flatter the compression of frames.
fn data(bytes: usize) -> Box<RawValue> {
    const AROUND: usize = r#"{"filler":""}"#.len();
    let length = bytes.max(AROUND + 3) - AROUND;
    let mut random = vec![0; length];
    rand::rng().fill_bytes(&mut random);
    let mut text = STANDARD_NO_PAD.encode(random);
    text.truncate(length);
    RawValue::from_string(format!(r#"{{"filler":"{text}"}}"#)).expect("base64 in quotes is JSON")
}

/// Commits events in transactions of a thousand, as a backlog. The relay is not woken.
pub async fn fill(meter: &Foundation, events: &mut Events, mut count: u64, progress: impl Fn(u64)) -> sqlx::Result<()> {
    while count > 0 {
        let part = count.min(1000);
        let mut transaction = vostro_messaging::begin(&meter.pool).await?;
        meter.outbox.append_in_tx(&mut transaction, events.take(part)).await?;
        transaction.commit().await?;
        progress(part);
        count -= part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_the_number_and_is_still_a_uuid_of_version_7() {
        for number in [0, 1, 255, 1_000_000] {
            assert_eq!(number_of(id_of(number)), number);
            assert_eq!(id_of(number).get_version_num(), 7);
        }
        assert_ne!(id_of(1), id_of(1), "two series do not share ids");
    }

    #[test]
    fn data_have_the_size_that_was_asked_for() {
        for bytes in [16, 600, 601, 4000] {
            assert_eq!(data(bytes).get().len(), bytes);
        }
    }
}
