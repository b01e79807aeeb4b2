//! What the module does when it hears of something.

mod on_statement_term_ended;
mod on_transaction_initiated;
mod on_user_registered;

pub(crate) use on_statement_term_ended::StatementTerms;
pub(crate) use on_transaction_initiated::Postings;
pub(crate) use on_user_registered::Registrations;
