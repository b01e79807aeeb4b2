//! How two versions of what happened are told to be the same thing.
//!
//! While an event moves from one major version to the next, its producer publishes both. The older copy has the id that
//! it would have had alone, a UUIDv7; the id of the newer one is the same but for the version digit, which is 8: a
//! UUIDv8, whose bits are its maker's to define. So nobody has to look anything up: whoever sees a copy knows the id of its
//! original, and that there is one, also when it comes out of the archive years later.
//!
//! At most two versions are published of one event, so there is at most one copy.

use uuid::Uuid;

/// The version digit of a UUID, and what stands in it.
const DIGIT: u128 = 0xF << 76;
const ORIGINAL: u128 = 7 << 76;
const COPY: u128 = 8 << 76;

/// The id of the newer version of an event that is published in two, from the id of the older one (a UUIDv7).
pub const fn copy_of(original: Uuid) -> Uuid {
    Uuid::from_u128(original.as_u128() & !DIGIT | COPY)
}

/// Whether this is the id of a newer version beside which the older one is published too.
pub const fn is_copy(id: Uuid) -> bool {
    id.as_u128() & DIGIT == COPY
}

/// What an event is known by in whichever version it comes: the id of its older copy, or its own when there is no other.
pub const fn identity_of(id: Uuid) -> Uuid {
    if is_copy(id) { Uuid::from_u128(id.as_u128() & !DIGIT | ORIGINAL) } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_another_id_of_the_same_identity() {
        let original = Uuid::now_v7();
        let copy = copy_of(original);
        assert_ne!(copy, original);
        assert_eq!((copy.get_version_num(), copy.get_variant()), (8, uuid::Variant::RFC4122));
        assert!(is_copy(copy) && !is_copy(original));
        assert_eq!((identity_of(copy), identity_of(original)), (original, original));
        assert_eq!(copy_of(original), copy, "publishing again gives the same id");
    }

    #[test]
    fn copies_of_different_events_differ() {
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        assert_ne!(copy_of(one), copy_of(two));
    }
}
