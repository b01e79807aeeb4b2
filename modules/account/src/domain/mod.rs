//! The rules, as functions of their arguments: no I/O, no clock, no randomness.

mod account;
mod balance;
mod chart;
mod iban;
mod ledger;
mod posting_refusal;
mod product;
mod statement;
mod text;

pub use account::{Account, Lifecycle, MAX_OVERDRAFT_MINOR, transition};
pub use balance::Balance;
pub use chart::InternalRole;
pub use iban::{IbanScheme, InvalidIbanScheme};
pub use ledger::{Booking, Decision, LedgerAccount, LedgerState, PostingRequest, decide};
pub use posting_refusal::PostingRefusal;
pub use product::{Product, Terms, UnknownProduct};
pub use statement::{
    Period, Statement, StatementFailure, StatementLine, StatementStatus, UnknownFailure, UnknownStatus,
};
pub use text::{account_name, idempotency_key, reason};
