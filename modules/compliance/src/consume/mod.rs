//! What the module does with events.

mod archive;
mod on_transaction_completed;

pub use archive::Archive;
