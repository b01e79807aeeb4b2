//! The rules, as functions of their arguments: nothing in here waits, reads a clock or knows a database.

mod email;
mod keys;
mod lockout;
mod name_match;
mod password;
mod profile;
mod session;
mod user;

pub(crate) use email::{Email, identifier};
pub(crate) use keys::{KeyPlan, KeyPolicy, KeyRecord, KeyState};
pub(crate) use lockout::LockoutPolicy;
pub(crate) use name_match::{NameMatch, compare, masked};
pub(crate) use password::{Password, Weakness};
pub(crate) use profile::{display_name, locale};
pub(crate) use session::{RefreshOutcome, RefreshRecord, SessionPolicy};
pub use user::{User, UserStatus};
