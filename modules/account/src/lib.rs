//! Accounts and the ledger: which accounts exist, how they stand, and every movement of money there ever was.
//!
//! This module is the only writer of money. It books what the transaction module has accepted
//! (`transaction.initiated.v1`), in batches, each transfer decided by one pure function, [`domain::decide`], from a
//! closed list of refusals in a fixed order. What it has booked is append-only; a balance is never anything but the fold
//! of its account's entries, which the database enforces and [`Accounts::verify_ledger`] proves.
//!
//! Start reading at [`Accounts`], the facade; the rules are in [`domain`], the tables in `migrations/account`.

mod config;
mod consume;
pub mod domain;
mod error;
mod facade;
mod manifest;
mod publish;
mod respond;
mod statement_writer;
mod store;

pub use config::Config;
pub use error::{AccountError, AccountErrorCode};
pub use facade::{
    AccountFilter, AccountUpdate, Accounts, BalanceChange, Divergence, Entry, EntryPage, GenerateStatement,
    LedgerProof, OpenAccount, ProofProgress, ProofRule, StatementPage, StatementUpdate, TrialBalanceLine,
};
pub use manifest::manifest;

/// The module's own tables; the messaging tables of [`vostro_messaging::MIGRATIONS`] come first.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/account");
