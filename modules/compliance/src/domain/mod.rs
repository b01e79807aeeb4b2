//! The rules of this module, as functions of their arguments: what is stored of an event, how the chain is computed, what
//! is new and what is missing in a batch, and what the live rules find.

mod chain;
mod evidence;
mod intake;
mod record;
mod rules;
mod velocity;

pub use chain::{Break, BreakReason, ChainCheck, Hash, seal};
pub use evidence::{LARGEST_EVIDENCE, Unfit, examine};
pub use intake::{Intake, Key, Kind, Known, Numbered, sort};
pub use record::{Outcome, Record, Refusal, actor_kind, actor_number, refusal_of, storable};
pub use rules::{Finding, LARGE_TRANSFER, LargeTransfer, Payment, RAPID_TRANSFERS, RapidTransfers, Rules};
pub use velocity::Velocity;
