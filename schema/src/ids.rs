//! Ids at the edge: `ID!` values with a type prefix outside, plain UUIDs inside.

use async_graphql::{ID, Result};
use uuid::Uuid;
pub use vostro_kernel::ids::IdKind;

use crate::faults::bad_user_input;

/// Writes an id for a client: `acc_01890a5d-ac96-774b-bcce-b302099a8057`.
pub fn encode(kind: IdKind, id: Uuid) -> ID {
    ID(kind.encode(id))
}

/// Reads an id of this kind from a client.
///
/// # Errors
/// `BAD_USER_INPUT` saying what an id of this kind looks like.
pub fn decode(kind: IdKind, id: &ID) -> Result<Uuid> {
    kind.decode(id).map_err(|error| bad_user_input(error.to_string()))
}

/// Reads an optional id of this kind, for filters.
///
/// # Errors
/// As [`decode`].
pub fn decode_opt(kind: IdKind, id: Option<&ID>) -> Result<Option<Uuid>> {
    id.map(|id| decode(kind, id)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_is_bad_user_input() {
        let account = encode(IdKind::Account, Uuid::nil());
        assert_eq!(account.as_str(), "acc_00000000-0000-0000-0000-000000000000");
        assert_eq!(decode(IdKind::Account, &account), Ok(Uuid::nil()));
        let error = decode(IdKind::Transaction, &account).expect_err("another kind");
        assert!(error.message.contains("txn_"), "{}", error.message);
        assert_eq!(decode_opt(IdKind::User, None), Ok(None));
    }
}
