//! What happens when other modules' events arrive: one small function per event, one handler per subscription.

mod accounts;
mod on_account_created;
mod on_account_updated;
mod on_balance_changed;
mod on_posting_applied;
mod on_posting_rejected;
mod postings;

pub(crate) use accounts::{AccountsHandler, apply_in_tx};
pub(crate) use postings::PostingsHandler;
