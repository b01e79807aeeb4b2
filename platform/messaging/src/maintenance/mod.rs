//! Long work that operators order: publishing a module's events once more, building a projection again.
//!
//! An order is a row in the schema of the module it is about: who wants what done and why, what a second person said to it,
//! how far it is, and what came of it. Commands and the API order at the same [`MaintenanceDesk`]. Whoever finds a job that
//! is due works on it: every running bank has a [`MaintenanceWorker`] per module, and so has a command that waits for what
//! it ordered, so that it works without a bank, too.
//!
//! A worker that ends, in whatever way, costs some seconds: its lease on the row expires by the database's clock, and the
//! next one goes on. Two that believe to have it harm nothing. A page of events enters the outbox in the transaction that
//! moves the job's position from where its reader found it; a projection is swapped in the transaction that ends the job.

mod archive;
mod desk;
mod desks;
mod error;
mod job;
mod republish;
mod store;
mod worker;

pub use archive::{ArchivePoint, EventArchive};
pub use desk::{MaintenanceDesk, MaintenanceOrder, Ordered};
pub use desks::MaintenanceDesks;
pub use error::MaintenanceError;
pub use job::{JobState, MaintenanceJob, Work};
pub use republish::Republication;
pub(crate) use store::done_in_tx;
pub use worker::MaintenanceWorker;
