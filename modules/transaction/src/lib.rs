//! Payments: accepts transfers, deposits and withdrawals exactly once, follows each to the ledger's outcome, and keeps
//! their history.
//!
//! A command is accepted when its row and its event are committed; commands that arrive together share a commit. What
//! this module knows of accounts comes from events and serves to refuse early. Whether there are funds is decided by the
//! ledger alone, which answers with an event; a transaction has exactly one outcome.
//!
//! [`Transactions`] is the facade: one method per use case.

mod config;
mod consume;
mod decisions;
pub mod domain;
mod ending;
mod error;
mod facade;
mod manifest;
mod projection;
mod publish;
mod store;

pub use config::Config;
pub use decisions::{DecisionWatch, Reach};
pub use error::{TransactionError, TransactionErrorCode};
pub use facade::{
    CashMovement, Filter, Initiated, InvalidPosition, Position, Since, Subject, Transactions, TransferCreate, Update,
    WaitFor,
};
pub use manifest::manifest;

/// The tables of the module's own schema, applied after the messaging tables.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/transaction");
