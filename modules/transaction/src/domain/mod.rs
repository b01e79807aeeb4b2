//! The rules of payments. Pure: no I/O, no clock, no randomness.

mod account_view;
mod command;
mod initiate;
mod keys;
mod payee;
mod transaction;

pub use account_view::AccountView;
pub use command::{Channel, Command, Instruction, UnknownChannel};
pub use initiate::{Draft, admit, decide_initiate};
pub use keys::{Claim, Earlier, KeyScope, Verdict, first_accepted, needs_lookup, verdicts};
pub use payee::PayeeCheck;
pub use transaction::{Outcome, Status, Transaction, UnknownStatus};
pub use vostro_events::transaction::TransactionKind;
