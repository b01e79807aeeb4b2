//! The module's own tables. Set-based: a batch costs the same few statements whatever is in it.

pub(crate) mod accounts;
pub(crate) mod email_settlement;
pub(crate) mod emails;
pub(crate) mod notifications;
pub(crate) mod preferences;
pub(crate) mod rebuild;
pub(crate) mod recipients;

use std::error::Error;
use std::str::FromStr;

use vostro_events::notification::Channel;

use crate::domain::Locale;

pub(crate) use accounts::AccountTail;
pub(crate) use emails::Claimed;
pub(crate) use notifications::Stored;
pub(crate) use recipients::Contact;

/// A projection, or the one that is built again beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Live,
    Rebuilt,
}

/// The same statement for both tables, each checked against the database when it is compiled. The first part ends with the
/// live table's name.
macro_rules! execute_on {
    ($table:expr, $connection:expr, $before:literal, $after:literal, $($argument:expr),+ $(,)?) => {
        match $table {
            Table::Live => sqlx::query!($before + $after, $($argument),+).execute($connection).await,
            Table::Rebuilt => {
                sqlx::query!($before + "_rebuild" + $after, $($argument),+).execute($connection).await
            }
        }
    };
}
use execute_on;

/// Reads a name the table's CHECK allows only from a closed list.
fn named<T: FromStr<Err: Error + Send + Sync + 'static>>(text: &str) -> sqlx::Result<T> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn channel(text: &str) -> sqlx::Result<Channel> {
    let unknown = || sqlx::Error::Decode(format!("unknown channel {text:?}").into());
    Channel::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or_else(unknown)
}

/// The language a row was written in. A row of a release that spoke a language this one does not is read in English.
fn locale(text: &str) -> Locale {
    Locale::of(text).unwrap_or(Locale::En)
}
