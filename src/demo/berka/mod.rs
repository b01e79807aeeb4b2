//! The Berka data set: a real Czech bank of 1993 and 1994, anonymised, replayed through the public API.
//!
//! Clients become users, accounts become accounts in CZK, and each line of `trans.asc` becomes a deposit, a withdrawal
//! or a transfer against one of the bank's own accounts, in date order. The file's `balance` column is the judge.

mod compare;
mod files;
mod replay;

pub use compare::Comparison;
pub use replay::play;
