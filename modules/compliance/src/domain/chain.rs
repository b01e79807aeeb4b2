use std::fmt;

use sha2::{Digest as _, Sha256};

use super::Record;

/// A link of the chain.
pub type Hash = [u8; 32];

/// What the first event is chained to.
pub const GENESIS: Hash = [0; 32];

/// The leaf prefix of RFC 6962, so that the links can become the leaves of a Merkle tree without being computed anew.
const LEAF: u8 = 0;
/// The length that says "no value", which is not the same as an empty one.
const ABSENT: u32 = u32::MAX;

/// The hash of an event chained to the one before it:
/// `SHA-256(0x00 | previous | field | field | …)`.
///
/// A field is its length (four bytes, big endian) and its bytes; [`ABSENT`] as the length means no value. Numbers are
/// eight bytes, big endian; instants are microseconds since 1970; ids are their 16 bytes; texts are UTF-8; kinds are
/// their names. The fields are, in this order: position, event id, event type, module, aggregate type, aggregate id,
/// sequence, partition key, occurred at, recorded at, correlation id, causation id, actor kind, actor id, outcome,
/// command, code, subject id, data. The encoding is fixed for ever.
///
/// `buffer` is scratch space that saves an allocation per event.
pub fn seal(previous: &Hash, record: &Record<'_>, buffer: &mut Vec<u8>) -> Hash {
    buffer.clear();
    buffer.push(LEAF);
    buffer.extend_from_slice(previous);
    let mut writer = Writer(buffer);
    writer.number(record.position);
    writer.bytes(record.event_id.as_bytes());
    writer.bytes(record.event_type.as_bytes());
    writer.bytes(record.module.as_bytes());
    writer.bytes(record.aggregate_type.as_bytes());
    writer.bytes(record.aggregate_id.as_bytes());
    writer.number(record.sequence);
    writer.optional(record.partition_key.as_ref().map(|id| id.as_bytes().as_slice()));
    writer.number(record.occurred_at.timestamp_micros());
    writer.number(record.recorded_at.timestamp_micros());
    writer.bytes(record.correlation_id.as_bytes());
    writer.bytes(record.causation_id.as_bytes());
    writer.bytes(record.actor_kind.as_str().as_bytes());
    writer.optional(record.actor_id.as_ref().map(|id| id.as_bytes().as_slice()));
    writer.bytes(record.outcome.as_str().as_bytes());
    writer.optional(record.command.map(str::as_bytes));
    writer.optional(record.code.map(str::as_bytes));
    writer.optional(record.subject_id.as_ref().map(|id| id.as_bytes().as_slice()));
    writer.bytes(record.data.as_bytes());
    Sha256::digest(buffer).into()
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("a message is far below 4 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.0.extend_from_slice(&ABSENT.to_be_bytes()),
        }
    }
}

/// The first place where the stored events are not what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    pub position: i64,
    pub reason: BreakReason,
}

/// What is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakReason {
    /// The row, or the row before it, is not as it was sealed.
    ContentChanged,
    /// There is no row, though there are later ones.
    PositionMissing,
    /// There is no row, nor any after it, though the head says there were.
    TailTruncated,
    /// The row is not part of the chain: before its beginning or behind its head.
    ExtraRow,
    /// The rows are consistent, but the head remembers another hash.
    HeadMismatch,
    /// The head itself is gone.
    HeadMissing,
}

impl BreakReason {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContentChanged => "CONTENT_CHANGED",
            Self::PositionMissing => "POSITION_MISSING",
            Self::TailTruncated => "TAIL_TRUNCATED",
            Self::ExtraRow => "EXTRA_ROW",
            Self::HeadMismatch => "HEAD_MISMATCH",
            Self::HeadMissing => "HEAD_MISSING",
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ContentChanged => "this event, or the one before it, is not as it was stored",
            Self::PositionMissing => "this event was removed",
            Self::TailTruncated => "this event and all after it were removed",
            Self::ExtraRow => "this row was added outside of the chain",
            Self::HeadMismatch => "the events are consistent, but the chain's head remembers another last hash",
            Self::HeadMissing => "the chain's head was removed",
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}: {} ({})", self.position, self.reason.meaning(), self.reason.as_str())
    }
}

/// Follows the chain, row by row in the order of their positions.
#[derive(Debug, Clone)]
pub struct ChainCheck {
    /// How many rows were found to be in order; also the position of the last of them.
    pub checked: i64,
    /// The hash of the last of them.
    pub hash: Hash,
    buffer: Vec<u8>,
}

impl Default for ChainCheck {
    fn default() -> Self {
        Self { checked: 0, hash: GENESIS, buffer: Vec::with_capacity(1024) }
    }
}

impl ChainCheck {
    /// Takes the next row. `record` is `None` for a row that no event can have been stored as.
    ///
    /// # Errors
    /// The break, when the row is not what has to follow.
    pub fn next(&mut self, position: i64, record: Option<&Record<'_>>, stored: &[u8]) -> Result<(), Break> {
        let expected = self.checked + 1;
        if position < expected {
            return Err(Break { position, reason: BreakReason::ExtraRow });
        }
        if position > expected {
            return Err(Break { position: expected, reason: BreakReason::PositionMissing });
        }
        let hash = record.map(|record| seal(&self.hash, record, &mut self.buffer));
        match hash.filter(|hash| hash == stored) {
            Some(hash) => {
                self.checked = position;
                self.hash = hash;
                Ok(())
            }
            None => Err(Break { position, reason: BreakReason::ContentChanged }),
        }
    }

    /// Compares with the head, when the row of its position has been taken or no row is left.
    ///
    /// # Errors
    /// The break, when rows are missing at the end or the hashes differ.
    pub fn arrive(&self, head_position: i64, head_hash: &[u8]) -> Result<(), Break> {
        if self.checked < head_position {
            return Err(Break { position: self.checked + 1, reason: BreakReason::TailTruncated });
        }
        if self.hash.as_slice() != head_hash {
            return Err(Break { position: head_position, reason: BreakReason::HeadMismatch });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Outcome;
    use chrono::DateTime;
    use uuid::Uuid;
    use vostro_kernel::ActorKind;

    fn record(position: i64) -> Record<'static> {
        Record {
            position,
            event_id: Uuid::from_u128(1),
            event_type: "account.balance-changed.v1",
            module: "account",
            aggregate_type: "balance",
            aggregate_id: Uuid::from_u128(2),
            sequence: 7,
            partition_key: None,
            occurred_at: DateTime::from_timestamp_micros(1_790_000_000_123_456).expect("a time"),
            recorded_at: DateTime::from_timestamp_micros(1_790_000_000_200_000).expect("a time"),
            correlation_id: Uuid::from_u128(3),
            causation_id: Uuid::from_u128(4),
            actor_kind: ActorKind::User,
            actor_id: Some(Uuid::from_u128(5)),
            outcome: Outcome::Accepted,
            command: Some("transferCreate"),
            code: None,
            subject_id: None,
            data: r#"{"n":1}"#,
        }
    }

    fn sealed(record: &Record<'_>) -> Hash {
        seal(&GENESIS, record, &mut Vec::new())
    }

    /// Computed once by an independent program from the description of [`seal`]; it must never change.
    #[test]
    fn the_encoding_is_fixed() {
        let hex = sealed(&record(1)).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex, "57c97bde3e95ddbe71e8235b09745b602d530d49f8045cae756c3780adb29769");
    }

    #[test]
    fn every_field_counts() {
        let id = Uuid::from_u128(99);
        let changes: [fn(&mut Record<'_>, Uuid); 19] = [
            |record, _| record.position = 2,
            |record, id| record.event_id = id,
            |record, _| record.event_type = "account.balance-changed.v2",
            |record, _| record.module = "accounts",
            |record, _| record.aggregate_type = "account",
            |record, id| record.aggregate_id = id,
            |record, _| record.sequence = 8,
            |record, id| record.partition_key = Some(id),
            |record, _| record.occurred_at += chrono::TimeDelta::microseconds(1),
            |record, _| record.recorded_at += chrono::TimeDelta::microseconds(1),
            |record, id| record.correlation_id = id,
            |record, id| record.causation_id = id,
            |record, _| record.actor_kind = ActorKind::Staff,
            |record, _| record.actor_id = None,
            |record, _| record.outcome = Outcome::Event,
            |record, _| record.command = None,
            |record, _| record.code = Some(""),
            |record, id| record.subject_id = Some(id),
            |record, _| record.data = r#"{"n":2}"#,
        ];
        let mut hashes = vec![sealed(&record(1))];
        for change in changes {
            let mut changed = record(1);
            change(&mut changed, id);
            hashes.push(sealed(&changed));
        }
        let distinct: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
        assert_ne!(seal(&[1; 32], &record(1), &mut Vec::new()), sealed(&record(1)), "the previous hash counts too");
    }

    #[test]
    fn bytes_cannot_move_from_one_field_to_the_next() {
        let (mut left, mut right) = (record(1), record(1));
        (left.command, left.code) = (Some("ab"), Some("c"));
        (right.command, right.code) = (Some("a"), Some("bc"));
        assert_ne!(sealed(&left), sealed(&right));
    }

    #[test]
    fn a_check_names_what_is_wrong_with_the_next_row() {
        let mut check = ChainCheck::default();
        let first = sealed(&record(1));
        assert_eq!(check.next(1, Some(&record(1)), &first), Ok(()));
        let broken = |position, reason| Err(Break { position, reason });
        let (second, third) = (record(2), record(3));
        let hash = seal(&first, &second, &mut Vec::new());
        assert_eq!(check.next(1, Some(&record(1)), &first), broken(1, BreakReason::ExtraRow));
        assert_eq!(check.next(3, Some(&third), &hash), broken(2, BreakReason::PositionMissing));
        assert_eq!(check.next(2, None, &hash), broken(2, BreakReason::ContentChanged));
        assert_eq!(check.next(2, Some(&second), &first), broken(2, BreakReason::ContentChanged));
        assert_eq!(check.arrive(2, &hash), broken(2, BreakReason::TailTruncated));
        assert_eq!(check.next(2, Some(&second), &hash), Ok(()));
        assert_eq!(check.arrive(2, &first), broken(2, BreakReason::HeadMismatch));
        assert_eq!(check.arrive(2, &hash), Ok(()));
    }
}
