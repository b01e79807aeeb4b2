//! The module on a database of its own.

mod account_updates;
mod balance_changes;
mod cache;
mod decisions;
mod fixture;
mod lifecycle;
mod openings;
mod postings;
mod proof;
mod properties;
mod queries;
mod statements;
mod what_the_database_refuses;
