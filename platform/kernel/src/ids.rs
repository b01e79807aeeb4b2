//! Identifiers as clients see them: a type prefix and a UUIDv7, such as `acc_01890a5d-ac96-774b-bcce-b302099a8057`.
//!
//! Inside the bank ids are plain [`Uuid`]s; the prefix is put on and taken off at the edges, so that an account id can
//! never be taken for a transaction id by a caller.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The kinds of objects clients can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    User,
    Account,
    Transaction,
    Notification,
    Violation,
    Statement,
    Evidence,
}

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: ids of this kind look like {prefix}_01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidId {
    expected: &'static str,
    prefix: &'static str,
}

impl IdKind {
    pub const ALL: [Self; 7] = [
        Self::User,
        Self::Account,
        Self::Transaction,
        Self::Notification,
        Self::Violation,
        Self::Statement,
        Self::Evidence,
    ];

    pub const fn prefix(self) -> &'static str {
        match self {
            Self::User => "usr",
            Self::Account => "acc",
            Self::Transaction => "txn",
            Self::Notification => "ntf",
            Self::Violation => "vio",
            Self::Statement => "stm",
            Self::Evidence => "evd",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::User => "a user id",
            Self::Account => "an account id",
            Self::Transaction => "a transaction id",
            Self::Notification => "a notification id",
            Self::Violation => "a violation id",
            Self::Statement => "a statement id",
            Self::Evidence => "an evidence id",
        }
    }

    /// Writes an id for a client.
    pub fn encode(self, id: Uuid) -> String {
        format!("{}_{}", self.prefix(), id.as_hyphenated())
    }

    /// Reads an id of this kind from a client. Exactly one spelling is accepted, so ids can be compared as text.
    ///
    /// # Errors
    /// [`InvalidId`] for another prefix or a malformed UUID.
    pub fn decode(self, text: &str) -> Result<Uuid, InvalidId> {
        let invalid = || InvalidId { expected: self.noun(), prefix: self.prefix() };
        let uuid = text.strip_prefix(self.prefix()).and_then(|rest| rest.strip_prefix('_')).ok_or_else(invalid)?;
        let parsed = Uuid::try_parse(uuid).map_err(|_| invalid())?;
        let mut canonical = [0_u8; uuid::fmt::Hyphenated::LENGTH];
        if parsed.as_hyphenated().encode_lower(&mut canonical) == uuid { Ok(parsed) } else { Err(invalid()) }
    }

    /// Reads an id of any kind, for audit queries that ask about whatever a client can name.
    pub fn decode_any(text: &str) -> Option<(Self, Uuid)> {
        Self::ALL.into_iter().find_map(|kind| kind.decode(text).ok().map(|id| (kind, id)))
    }
}

/// An id that follows from names alone: the same inputs give the same UUID on every machine (UUIDv8, RFC 9562 §5.8).
/// For objects that must exist exactly once without coordination, such as the cash account of a currency.
pub fn derived(namespace: &str, name: &str) -> Uuid {
    let digest = Sha256::new().chain_update(namespace).chain_update([0]).chain_update(name).finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_by_its_own_kind_only() {
        let id = Uuid::now_v7();
        let text = IdKind::Account.encode(id);
        assert_eq!(IdKind::Account.decode(&text), Ok(id));
        assert!(IdKind::Transaction.decode(&text).is_err());
        assert_eq!(IdKind::decode_any(&text), Some((IdKind::Account, id)));
    }

    #[test]
    fn other_spellings_of_an_id_are_refused() {
        let id = Uuid::now_v7();
        let spellings = [
            format!("acc_{}", id.simple()),
            format!("acc_{}", id.to_string().to_uppercase()),
            id.to_string(),
            "acc_".into(),
        ];
        for text in spellings {
            assert!(IdKind::Account.decode(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn derived_ids_depend_on_every_part_of_the_name() {
        assert_eq!(derived("account", "CASH:EUR"), derived("account", "CASH:EUR"));
        assert_ne!(derived("account", "CASH:EUR"), derived("account", "CASH:CZK"));
        assert_ne!(derived("account", "CASH"), derived("accountC", "ASH"));
    }
}
