//! The Berka data set: a real Czech bank of 1993 and 1994, anonymised, replayed through the public API.
//!
//! Clients become users, accounts become accounts in CZK, and each line of `trans.asc` becomes a deposit, a withdrawal
//! or a transfer against one of the bank's own accounts, in date order. The file's `balance` column is the judge.

/// What the bank of the data set needs: its currency, and cheap hashes, because thousands of people with made-up passwords
/// register within a minute.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("VOSTRO__ACCOUNT__DEFAULT_CURRENCY", "CZK"),
    ("VOSTRO__AUTH__ALLOW_WEAK_HASHING", "true"),
    ("VOSTRO__AUTH__MEMORY_KIB", "1024"),
    ("VOSTRO__AUTH__ITERATIONS", "1"),
];

mod compare;
mod files;
mod replay;

pub use compare::Comparison;
pub use replay::play;
