//! What the updates of all subscriptions have in common: what kind they are, and the cursor to come back with.
//!
//! A client that lost its connection subscribes again with the `cursor` of the last update it has as `after`, at whichever
//! instance, and gets everything that happened since, once, before it goes on live. Where too much happened for that it gets
//! the state now, marked as `LAGGED`.

use async_graphql::{Enum, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::Cursor;
use crate::faults::bad_user_input;

/// What an update of a subscription stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_messaging::UpdateKind")]
pub enum UpdateKind {
    /// The state when the subscription began.
    Snapshot,
    /// What happened next.
    Change,
    /// The state now, in place of changes that were passed over, because the client was too slow for them or away for too
    /// long. Whoever needs each of them asks for the list.
    Lagged,
}

/// The cursor behind an update of the named stream.
pub fn cursor<K: Serialize>(stream: &str, position: &K) -> String {
    Cursor::of(stream, position).into()
}

/// Where a client wants to go on; `None` to begin.
///
/// # Errors
/// `BAD_USER_INPUT` for a text that is no cursor of this stream.
pub fn position<K: DeserializeOwned>(stream: &str, after: Option<&str>) -> Result<Option<K>> {
    let invalid = |_| bad_user_input("`after` is not the `cursor` of an update of this subscription.");
    after.map(|text| Cursor::key(stream, text)).transpose().map_err(invalid)
}

/// The same for streams that also take the bare number of the last update.
///
/// # Errors
/// As [`position`], and for both at once.
pub fn sequence(stream: &str, after: Option<&str>, after_sequence: Option<i64>) -> Result<Option<i64>> {
    match (after, after_sequence) {
        (Some(_), Some(_)) => Err(bad_user_input("Name either `after` or `afterSequence`.")),
        (after, None) => position(stream, after),
        (None, sequence) => Ok(sequence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_taken_by_its_own_stream_only() {
        let cursor = cursor("balanceChanged:1", &7_i64);
        assert_eq!(position("balanceChanged:1", Some(&cursor)).expect("its own"), Some(7_i64));
        assert!(position::<i64>("balanceChanged:2", Some(&cursor)).is_err());
        assert_eq!(position::<i64>("balanceChanged:1", None).expect("nothing"), None);
        assert_eq!(sequence("balanceChanged:1", Some(&cursor), None).expect("a cursor"), Some(7));
        assert_eq!(sequence("balanceChanged:1", None, Some(3)).expect("a number"), Some(3));
        assert!(sequence("balanceChanged:1", Some(&cursor), Some(7)).is_err());
    }
}
