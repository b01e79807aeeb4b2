//! Compliance: what happened, provably.
//!
//! The module keeps every event of every module exactly once, in one hash chain that shows tampering; reports events that
//! are missing between others; answers audit queries; and looks at completed payments with its live rules. It never stands
//! in the way of a payment.
//!
//! The way of an event: the `archive` subscription hands a batch to `consume::Archive`, which locks the end of the
//! chain, tells new events from repeated ones, seals and stores them, notes gaps, lets the rules look, and moves the
//! end of the chain. All of it is one transaction with a constant number of statements, apart from every business
//! transaction.

mod config;
mod consume;
mod domain;
mod error;
mod evidence;
mod facade;
mod following;
mod manifest;
mod proof;
mod publish;
mod replay;
mod store;
mod watch;

pub use config::{Config, LargeTransferConfig, RapidTransfersConfig, RulesConfig};
pub use domain::{Break, BreakReason, Hash, LARGE_TRANSFER, LARGEST_EVIDENCE, Outcome, RAPID_TRANSFERS};
pub use error::{ComplianceError, ComplianceErrorCode};
pub use evidence::{Attached, EvidenceAttach};
pub use facade::{AuditEntry, AuditFilter, Compliance};
pub use following::{Position, ViolationUpdate};
pub use manifest::manifest;
pub use proof::AuditProof;
pub use replay::{ArchivePoint, ArchivedEvent};
pub use store::counts::EventCount;
pub use store::evidence::Evidence;
pub use store::gaps::EventGap;
pub use store::violations::Violation;

/// The module's tables. Applied in its schema after the messaging tables.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/compliance");
