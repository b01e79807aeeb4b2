//! Words of the tables as words of the domain.

use vostro_events::account::{AccountKind, AccountStatus};

/// A stored word the program does not know: the row was written by a newer release or by hand.
#[derive(Debug, thiserror::Error)]
#[error("column {column} holds {text:?}, which this release does not know")]
struct UnknownWord {
    column: &'static str,
    text: String,
}

fn unknown(column: &'static str, text: &str) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(UnknownWord { column, text: text.to_owned() }))
}

pub(super) fn parse<T: std::str::FromStr>(column: &'static str, text: &str) -> sqlx::Result<T> {
    text.parse().map_err(|_| unknown(column, text))
}

pub(super) const fn kind_word(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Customer => "CUSTOMER",
        AccountKind::Internal => "INTERNAL",
    }
}

pub(super) fn kind(text: &str) -> sqlx::Result<AccountKind> {
    match text {
        "CUSTOMER" => Ok(AccountKind::Customer),
        "INTERNAL" => Ok(AccountKind::Internal),
        _ => Err(unknown("kind", text)),
    }
}

pub(super) fn status(text: &str) -> sqlx::Result<AccountStatus> {
    match text {
        "ACTIVE" => Ok(AccountStatus::Active),
        "FROZEN" => Ok(AccountStatus::Frozen),
        "CLOSED" => Ok(AccountStatus::Closed),
        _ => Err(unknown("status", text)),
    }
}
