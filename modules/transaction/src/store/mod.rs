//! The SQL of this module: its own schema only, a constant number of statements however many rows.

pub(crate) mod accounts;
pub(crate) mod history;
pub(crate) mod outcomes;
pub(crate) mod overdue;
pub(crate) mod rebuild;
mod row;
mod shared;
pub(crate) mod transactions;

pub(crate) use row::decode;
pub(crate) use shared::{FORM, read, write};
