use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How many slots keys are spread over. Fixed for ever: it is part of every outbox row, and every lane is made of slots.
pub const SLOTS: u8 = 64;

/// The part of the key space an aggregate belongs to. All its messages carry the same slot, so a partition of the
/// consumers, and later a shard of the data, is a set of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// The slot of a partition key: the first eight bytes of its SHA-256, big endian, modulo [`SLOTS`].
    /// A UUIDv7 must be hashed, never truncated: its leading bits are the time.
    pub fn of(partition_key: Uuid) -> Self {
        let digest = Sha256::digest(partition_key.as_bytes());
        let first = digest.iter().take(8).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let slot = first % u64::from(SLOTS);
        Self(u8::try_from(slot).expect("a remainder of SLOTS fits its own type"))
    }

    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Slot {
    /// `s00` … `s63`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{:02}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors that every other implementation of the slot function must reproduce.
    #[test]
    fn slots_match_the_published_vectors() {
        let slot = |text: &str| Slot::of(Uuid::parse_str(text).expect("a UUID")).to_string();
        assert_eq!(slot("00000000-0000-0000-0000-000000000000"), "s21");
        assert_eq!(slot("01890a5d-ac96-774b-bcce-b302099a8057"), "s49");
        assert_eq!(slot("ffffffff-ffff-ffff-ffff-ffffffffffff"), "s09");
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0_u32; SLOTS as usize];
        for number in 0..128_000_u128 {
            counts[usize::from(Slot::of(Uuid::from_u128(number)).number())] += 1;
        }
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
    }
}
